#!/usr/bin/python3
"""What `meson install` leaves is all that a user needs: programs, headers that stand alone, libjobq shared (with nothing but
its API in it) and static, jobq.pc. A program outside of the tree is built against that copy and run against its broker."""

import os
import re
import shlex
import sys
import unittest

from installation import HERE, ROOT, Installation, run

sys.path.append(str(ROOT / "tests" / "docs"))
from blocks import blocks_of  # noqa: E402

# Headers of other libraries that a program must not get to see through ours; msgpack in two, which say so.
HIDDEN = re.compile(r"/(zmq|lmdb|msgpack|fmt/|spdlog/|nlohmann/|toml\+\+/|xxhash|libjobq/|broker/)")
WITH_MSGPACK = {"msgpack_body.hpp", "jobq.hpp"}


class Installed(Installation):
    def test_programs_and_settings_are_there(self):
        for name in ("jobq-broker", "jobq-worker", "jobq"):
            self.assertIn(name, run(self.prefix / "bin" / name, "--version"))
        (settings,) = self.root.rglob("etc/jobq/jobq-broker.toml")
        self.assertRegex(settings.read_text(encoding="utf-8"), r'(?m)^data = "/.*/lib/jobq"$')
        run(self.prefix / "bin" / "jobq-broker", "--config", settings, "--check-config")

    def test_units_name_the_installed_programs(self):
        units = self.prefix / "lib" / "systemd" / "system"
        for unit, name in (("jobq-broker.service", "jobq-broker"), ("jobq-worker@.service", "jobq-worker")):
            (started,) = re.findall(r"(?m)^ExecStart=(\S+)", (units / unit).read_text(encoding="utf-8"))
            self.assertTrue((self.root / started.lstrip("/")).samefile(self.prefix / "bin" / name), started)

    def test_man_pages_and_completion_know_every_command(self):
        top_level = set(re.findall(r"(?m)^  ([a-z]+)  +[A-Z]", run(self.prefix / "bin" / "jobq", "--help").split("Subcommands:")[-1]))
        self.assertLessEqual({"stats", "enqueue", "job", "dead", "queue", "worker", "task", "events", "top", "backup"}, top_level)
        for page in ("man1/jobq.1", "man1/jobq-worker.1", "man8/jobq-broker.8"):
            self.assertTrue((self.prefix / "share" / "man" / page).is_file(), page)
        manual = (self.prefix / "share" / "man" / "man1" / "jobq.1").read_text(encoding="utf-8")
        bash = (self.prefix / "share" / "bash-completion" / "completions" / "jobq").read_text(encoding="utf-8")
        zsh = (self.prefix / "share" / "zsh" / "site-functions" / "_jobq").read_text(encoding="utf-8")
        for command in top_level:
            for name, text in (("jobq.1", manual), ("bash completion", bash), ("zsh completion", zsh)):
                self.assertRegex(text, rf"\b{command}\b", f"{name} does not know `jobq {command}`")

    def test_headers_are_all_installed_and_stand_alone(self):
        for folder in sorted(path for path in (ROOT / "include" / "jobq").rglob("*.hpp")):
            name = folder.relative_to(ROOT / "include" / "jobq")
            installed = self.prefix / "include" / "jobq" / name
            self.assertTrue(installed.exists(), f"{name} is not installed: add it to libjobq/meson.build")
            source = self.directory / "alone.cpp"
            source.write_text(f'#include "jobq/{name}"\n', encoding="utf-8")
            seen = run(*self.compiler, "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-M", "-MG", source,
                       f"-I{self.prefix}/include")
            run(*self.compiler, "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", source,
                f"-I{self.prefix}/include")
            foreign = {part for part in seen.split() if HIDDEN.search(part.replace(str(self.prefix), ""))}
            if name.name in WITH_MSGPACK:
                foreign = {part for part in foreign if "/msgpack" not in part}
            self.assertEqual(foreign, set(), f"jobq/{name} lets other libraries' headers through")

    def test_the_shared_library_exports_its_api_and_nothing_else(self):
        library = self.libdir / "libjobq.so"
        self.assertEqual(os.readlink(library), "libjobq.so.0")
        self.assertRegex(run("objdump", "-p", library), r"SONAME\s+libjobq\.so\.0\n")
        symbols = [line.split(maxsplit=2)[-1] for line in run("nm", "-DC", "--defined-only", library).splitlines()]
        self.assertGreater(len(symbols), 40)
        api = re.compile(r"(vtable for |typeinfo (name )?for )?jobq::((Client|Worker|Context|Runtime|Error)(::|\[|@@|$)|to_string(\[abi:cxx11\])?\(|"
                         r"is_retryable\()|JOBQ_0$")
        self.assertEqual([symbol for symbol in symbols if not api.match(symbol)], [])
        for call in ("jobq::Client::try_enqueue", "jobq::Worker::run", "jobq::to_string[abi:cxx11](jobq::Code)", "jobq::is_retryable"):
            self.assertTrue(any(symbol.startswith(call) for symbol in symbols), call)

    def as_documented(self, static):
        """A program made by the command that docs/install.md shows; main.cpp is compiled once for all of them."""
        (command,) = [line[2:] for block in blocks_of((ROOT / "docs" / "install.md").read_text(encoding="utf-8"))
                      for line in block.text.splitlines() if line.startswith("$ g++") and ("--static" in line) == static]
        program = self.directory / f"outside-{'static' if static else 'shared'}"
        command = command.replace("g++", shlex.join(self.compiler), 1).replace("main.cpp", str(self.built_object()), 1)
        run("bash", "-c", f"{command} -o {program}")
        return program

    def test_what_is_shown_for_other_build_systems_is_what_is_built(self):
        shown = {block.language: block.text for block in blocks_of((ROOT / "docs" / "install.md").read_text(encoding="utf-8"))}
        for language, name in (("cmake", "CMakeLists.txt"), ("meson", "meson.build")):
            built = (HERE / "outside" / name).read_text(encoding="utf-8").splitlines()
            for line in shown[language].splitlines():
                self.assertIn(line.replace("shop", "outside"), built, f"{language}: subproject_test.py builds outside/{name}")

    def test_a_program_runs_with_the_shared_library(self):
        program = self.as_documented(False)
        self.assertIn("libjobq.so.0", run("objdump", "-p", program))
        self.check_program(program, LD_LIBRARY_PATH=str(self.libdir))

    def test_a_program_runs_with_the_static_library(self):
        program = self.as_documented(True)
        self.assertNotIn("libjobq", run("objdump", "-p", program))
        self.check_program(program)

    def test_a_test_of_a_user_runs_with_the_broker_inside(self):
        source = self.directory / "in_process.o"
        run(*self.compiler, "-std=c++20", "-c", HERE / "outside" / "in_process.cpp", "-o", source,
            *shlex.split(run("pkg-config", "--cflags", "jobq-testing")))
        shared = run("pkg-config", "--libs", "jobq-testing")
        static = run("pkg-config", "--static", "--libs", "jobq-testing").replace("-ljobq ", "-l:libjobq.a ")
        self.assertNotEqual(static, shared)
        for name, flags in (("shared", shared), ("static", static)):
            program = self.directory / f"in-process-{name}"
            run(*self.compiler, source, "-o", program, *shlex.split(flags))
            self.assertEqual(run(program, env={**os.environ, "LD_LIBRARY_PATH": str(self.libdir)}), "acked 1 failed 1\n", name)


if __name__ == "__main__":
    unittest.main()

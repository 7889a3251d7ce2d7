#!/usr/bin/python3
"""What is made of the command lines: completion as bash and (where it is there) zsh use it, man pages as man shows them."""

import json
import os
import pathlib
import shutil
import subprocess
import unittest

from processes import Workspace, program

MANUAL = pathlib.Path(program("JOBQ_MANUAL"))
PROGRAMS = {"jobq": ("JOBQ_CLI", "1"), "jobq-broker": ("JOBQ_BROKER", "8"), "jobq-worker": ("JOBQ_WORKER", "1")}


def definition(name):
    shown = subprocess.run([program(PROGRAMS[name][0]), "--print-definition"], capture_output=True, check=True, timeout=60)
    return json.loads(shown.stdout)


def leaves(app, path=()):
    path = (*path, app["name"])
    if not app["commands"]:
        yield path, app
    for command in app["commands"]:
        yield from leaves(command, path)


class Bash(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())

    def complete(self, *words):
        """What bash would offer for the last word."""
        name = words[0]
        script = f'''source "{MANUAL}/bash/{name}"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
spec=$(complete -p {name}); function=${{spec#*-F }}; ${{function%% *}}
printf '%s\\n' "${{COMPREPLY[@]}}"'''
        bin_directory = self.space.directory / "bin"
        bin_directory.mkdir(exist_ok=True)
        if not (bin_directory / "jobq").exists():
            (bin_directory / "jobq").symlink_to(program("JOBQ_CLI"))
        done = subprocess.run(["bash", "--norc", "-u", "-c", script, "bash", *words], capture_output=True, text=True,
                              check=False, timeout=60, cwd=self.space.directory,
                              env={**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}",
                                   "JOBQ_ENDPOINT": self.space.endpoint})
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return done.stdout.split()

    def test_commands_and_their_commands(self):
        self.assertEqual(sorted(self.complete("jobq", "")), sorted(c["name"] for c in definition("jobq")["commands"]))
        self.assertEqual(self.complete("jobq", "enq"), ["enqueue"])
        self.assertIn("pause", self.complete("jobq", "queue", ""))
        self.assertIn("pause", self.complete("jobq", "--endpoint", "ipc://x", "--json", "queue", "p"))

    def test_every_option_of_every_command_is_offered_where_it_may_stand(self):
        for name in PROGRAMS:
            app = definition(name)
            shared = {flag for option in app["options"] for flag in option["names"] if flag.startswith("--")}
            for path, command in leaves(app):
                with self.subTest(path):
                    own = {flag for option in command["options"] for flag in option["names"] if flag.startswith("--")}
                    self.assertEqual(set(self.complete(*path, "--")), own | shared)

    def test_values(self):
        (self.space.directory / "a-file").write_text("")
        (self.space.directory / "a-directory").mkdir()
        self.assertIn("a-file", self.complete("jobq", "enqueue", "q", "--body-file", "a"))
        self.assertEqual(self.complete("jobq", "compact", "a"), ["a-directory"])
        self.assertEqual(self.complete("jobq", "check", "x", "--repair", "a"), ["a-directory"])
        self.assertIn("a-file", self.complete("jobq", "restore", "a"))
        self.assertEqual(self.complete("jobq", "restore", "a-file", "a"), ["a-directory"])
        self.assertEqual(self.complete("jobq", "--timeout", ""), [])
        self.assertEqual(self.complete("jobq-broker", "--log-format", ""), ["human", "json"])
        self.assertEqual(self.complete("jobq-broker", "--data", "a"), ["a-directory"])

    def test_queues_are_those_of_the_broker(self):
        self.assertEqual(self.complete("jobq", "enqueue", ""), [])  # nobody answers: nothing, soon
        self.space.broker()
        for name in ("receipts", "reports", "mail"):
            self.space.jobq("enqueue", name, "--body", "x").check_returncode()
        self.assertEqual(sorted(self.complete("jobq", "enqueue", "re")), ["receipts", "reports"])
        self.assertEqual(self.complete("jobq", "queue", "pause", "m"), ["mail"])
        self.assertEqual(self.complete("jobq-worker", "--queue", "m"), ["mail"])


@unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
class Zsh(unittest.TestCase):
    def test_the_functions_load_and_complete(self):
        for name in PROGRAMS:
            with self.subTest(name):
                script = (f"fpath=({MANUAL}/zsh $fpath); autoload -Uz compinit; compinit -D -u; autoload +X _{name}; "
                          f"print -r -- $_comps[{name}]")
                done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, check=False, timeout=60)
                self.assertEqual((done.returncode, done.stdout.strip(), done.stderr), (0, f"_{name}", ""))


class ManPages(unittest.TestCase):
    def test_every_command_and_option_is_in_its_page(self):
        for name, (_, section) in PROGRAMS.items():
            page = (MANUAL / f"{name}.{section}").read_text()
            plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\e", "\\")
            app = definition(name)
            for heading in (".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", ".SH SEE ALSO"):
                self.assertIn(heading, page)
            for path, command in leaves(app):
                if path != (name,):
                    self.assertIn(f".SS {' '.join(path[1:])}\n", plain)
                for option in command["options"]:
                    for flag in option["names"]:
                        self.assertIn(flag, plain)
            for code in {"jobq": ("64", "130"), "jobq-broker": ("88",), "jobq-worker": ()}[name]:
                self.assertIn(code, plain[plain.index(".SH EXIT STATUS"):])

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_groff_has_nothing_to_complain_of(self):
        for name, (_, section) in PROGRAMS.items():
            with self.subTest(name):
                done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", MANUAL / f"{name}.{section}"],
                                      capture_output=True, text=True, check=False, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""The Debian packages: built by one command, installed by dpkg into a root of their own (never into this machine's), used,
upgraded, removed, purged. Dependencies are checked against the packages that this machine has."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

from installation import HERE, ROOT, Installation, run
from processes import Workspace

STATUS = "/var/lib/dpkg/status"


def installed_here():
    """What this machine's dpkg knows of its packages, by each name that a dependency may give them: {name: stanza}."""
    found = {}
    with open(STATUS, encoding="utf-8") as status:
        for stanza in status.read().split("\n\n"):
            if "\nStatus: install ok installed\n" in stanza:
                provides = re.search(r"(?m)^Provides: (.*)$", stanza)
                names = re.findall(r"(?:^|, )([^ ,]+)", provides[1]) if provides else []
                for name in (*names, re.match(r"Package: (\S+)", stanza)[1]):
                    found[name] = stanza
    return found


class Root:
    """A directory that dpkg takes for a machine: with these packages, as if they were installed in it."""

    def __init__(self, directory, packages):
        self.path = directory
        admin = directory / "var/lib/dpkg"
        for folder in ("info", "updates", "triggers"):
            (admin / folder).mkdir(parents=True)
        here = installed_here()
        stanzas = {here[package] for package in packages if package in here}
        (admin / "status").write_text("".join(f"{stanza}\n\n" for stanza in sorted(stanzas)), encoding="utf-8")
        for stanza in stanzas:
            name, architecture = (re.search(rf"(?m)^{field}: (\S+)", stanza)[1] for field in ("Package", "Architecture"))
            if "\nMulti-Arch: same" in stanza:
                name = f"{name}:{architecture}"
            (admin / "info" / f"{name}.list").touch()
        (directory / "etc").mkdir()
        for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n"), ("shadow", ""),
                           ("gshadow", "")):
            (directory / "etc" / name).write_text(text, encoding="utf-8")

    def dpkg(self, *arguments):
        return subprocess.run(["dpkg", f"--root={self.path}", "--force-script-chrootless", "--force-confold", *map(str, arguments)],
                              capture_output=True, text=True, check=False, timeout=300)

    def must(self, *arguments):
        done = self.dpkg(*arguments)
        if done.returncode != 0:
            raise AssertionError(f"dpkg {shlex.join(map(str, arguments))}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr


@unittest.skipUnless(os.geteuid() == 0, "dpkg installs as root only, also into a directory")
class Packages(Installation):
    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="jobq-deb."))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        said = run(ROOT / "tools" / "build_deb.sh", cls.directory / "dist", timeout=1700)
        cls.packages = {pathlib.Path(line).name.split("_")[0]: pathlib.Path(line) for line in said.splitlines()}
        cls.compiler = shlex.split(os.environ["JOBQ_CXX"])

    def depends(self, package):
        wanted = run("dpkg-deb", "-f", self.packages[package], "Depends")
        return [part.split()[0] for part in wanted.split(",")]

    def new_root(self, *packages):
        """With what the packages depend on, but for each other."""
        wanted = {name for package in packages for name in self.depends(package)}
        directory = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        directory.chmod(0o755)
        return Root(directory, sorted(wanted | {"passwd"}))

    def test_the_set_is_whole(self):
        self.assertEqual(sorted(self.packages), ["jobq", "libjobq-dev", "libjobq0"])
        for package, file in self.packages.items():
            owners = {line.split()[1] for line in run("dpkg-deb", "-c", file).splitlines()}
            self.assertEqual(owners, {"root/root"}, package)
            self.assertRegex(run("dpkg-deb", "-f", file, "Version"), r"^\d+\.\d+\.\d+\n$")

    def test_without_its_libraries_it_is_refused(self):
        root = Root(pathlib.Path(tempfile.mkdtemp(dir=self.directory)), [])
        done = root.dpkg("-i", self.packages["jobq"])
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("depends on libzmq5", done.stderr)

    def check_service_files(self, root):
        (unit,) = root.path.rglob("jobq-broker.service")
        command = re.search(r"(?m)^ExecStart=(\S+)", unit.read_text(encoding="utf-8"))[1]
        self.assertTrue((root.path / command.lstrip("/")).exists(), command)
        user, = [line.split(":") for line in (root.path / "etc/passwd").read_text(encoding="utf-8").splitlines()
                 if line.startswith("jobq:")]
        data = (root.path / "var/lib/jobq").stat()
        self.assertEqual((data.st_uid, data.st_mode & 0o777), (int(user[2]), 0o750))
        self.assertEqual((user[5], user[6]), ("/var/lib/jobq", "/usr/sbin/nologin"))
        self.assertTrue((root.path / "etc/jobq/workers").is_dir())

    def test_the_programs_live_through_install_upgrade_remove_and_purge(self):
        root = self.new_root("jobq")
        root.must("-i", self.packages["jobq"])
        self.check_service_files(root)
        settings = root.path / "etc/jobq/jobq-broker.toml"
        run(root.path / "usr/bin/jobq-broker", "--config", settings, "--check-config")
        for program in (root.path / "usr/bin").iterdir():
            self.assertNotIn(b"JOBQ_PLANTED_BUG", program.read_bytes(), f"{program}: bugs that are planted for the tests")
        os.environ["JOBQ_BROKER"] = str(root.path / "usr/bin/jobq-broker")
        os.environ["JOBQ_CLI"] = str(root.path / "usr/bin/jobq")
        with Workspace() as space:
            space.broker("--config", settings)
            space.jobq("enqueue", "q", "--body", "x").check_returncode()
            self.assertEqual(space.queue("q")["ready"], 1)

        changed = settings.read_text(encoding="utf-8") + "\n# ours\n"
        settings.write_text(changed, encoding="utf-8")
        (root.path / "var/lib/jobq/data.mdb").write_text("jobs", encoding="utf-8")
        root.must("-i", self.packages["jobq"])
        self.assertEqual(settings.read_text(encoding="utf-8"), changed, "an upgrade keeps what the operator wrote")

        root.must("-r", "jobq")
        self.assertFalse((root.path / "usr/bin/jobq").exists())
        self.assertTrue(settings.exists(), "settings stay until purged")
        said = root.must("-P", "jobq")
        self.assertFalse((root.path / "etc/jobq").exists())
        self.assertTrue((root.path / "var/lib/jobq/data.mdb").exists(), "jobs are never the package's to delete")
        self.assertIn("the jobs in /var/lib/jobq are kept", said)

    def test_a_program_is_built_with_the_development_package(self):
        root = self.new_root("jobq", "libjobq0", "libjobq-dev")
        root.must("-i", *self.packages.values())
        (pc_file,) = root.path.rglob("jobq.pc")
        os.environ["PKG_CONFIG_PATH"] = str(pc_file.parent)
        os.environ["PKG_CONFIG_SYSROOT_DIR"] = str(root.path)
        os.environ["JOBQ_BROKER"] = str(root.path / "usr/bin/jobq-broker")
        os.environ["JOBQ_CLI"] = str(root.path / "usr/bin/jobq")
        program = self.directory / "outside"
        run(*self.compiler, "-std=c++20", HERE / "outside" / "main.cpp", "-o", program,
            *shlex.split(run("pkg-config", "--cflags", "--libs", "jobq")))
        self.check_program(program, LD_LIBRARY_PATH=str(pc_file.parent.parent))
        in_process = self.directory / "in-process"
        run(*self.compiler, "-std=c++20", HERE / "outside" / "in_process.cpp", "-o", in_process,
            *shlex.split(run("pkg-config", "--cflags", "--libs", "jobq-testing")))
        self.assertEqual(run(in_process, env={**os.environ, "LD_LIBRARY_PATH": str(pc_file.parent.parent)}),
                         "acked 1 failed 1\n")


if __name__ == "__main__":
    unittest.main()

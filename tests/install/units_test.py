#!/usr/bin/python3
"""The systemd units of packaging/: systemd itself finds nothing wrong with them, and what they rest on is what the programs
and their documents say."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = ROOT / "packaging" / "systemd"
PROGRAMS = {"jobq-broker": "JOBQ_BROKER", "jobq-worker": "JOBQ_WORKER"}


def unit(name):
    return (UNITS / name).read_text(encoding="utf-8")


def setting(text, name):
    found = re.findall(rf"(?m)^{name}=(.*)$", text)
    return found[-1] if found else None


class Units(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "needs systemd-analyze")
    def test_systemd_finds_nothing_wrong(self):
        with tempfile.TemporaryDirectory(prefix="jobq-units.") as directory:
            for template, name in (("jobq-broker.service.in", "jobq-broker.service"),
                                   ("jobq-worker@.service.in", "jobq-worker@receipts.service")):
                text = unit(template).replace("@sysconfdir@", "/etc")
                for program, variable in PROGRAMS.items():
                    text = text.replace(f"@bindir@/{program}", os.environ[variable])
                # The account comes with the installation (jobq.sysusers.conf).
                path = pathlib.Path(directory) / name
                path.write_text(text.replace("User=jobq", "User=root").replace("Group=jobq", "Group=root"), encoding="utf-8")
                done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True,
                                      check=False, timeout=120)
                about_us = [line for line in (done.stdout + done.stderr).splitlines() if "jobq" in line]
                self.assertEqual((done.returncode, about_us), (0, []), done.stdout + done.stderr)

    def test_the_broker_is_not_restarted_when_a_person_is_needed(self):
        documented = re.search(r"RestartPreventExitStatus=([\d ]+)", (ROOT / "docs" / "configuration.md").read_text("utf-8"))
        self.assertEqual(setting(unit("jobq-broker.service.in"), "RestartPreventExitStatus"), documented.group(1).strip())

    def test_the_worker_unit_leaves_time_for_the_drain_and_drains_only_the_worker(self):
        text = unit("jobq-worker@.service.in")
        self.assertEqual(setting(text, "KillMode"), "mixed")
        drain = re.search(r"`--drain-timeout SPAN` \| (\d+)s", (ROOT / "docs" / "jobq_worker.md").read_text("utf-8"))
        kill_after = re.search(r"`--kill-after SPAN` \| (\d+)s", (ROOT / "docs" / "jobq_worker.md").read_text("utf-8"))
        self.assertGreater(int(setting(text, "TimeoutStopSec")), int(drain.group(1)) + 2 * int(kill_after.group(1)))
        self.assertEqual(setting(text, "RestartPreventExitStatus"), "64 126 127")

    def test_the_broker_may_do_what_listening_on_tcp_needs(self):
        # Without netlink libzmq aborts in getifaddrs(): seen under a running systemd, where nothing else told of it.
        families = setting(unit("jobq-broker.service.in"), "RestrictAddressFamilies").split()
        self.assertLessEqual({"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"}, set(families))

    def test_both_notify_and_have_a_watchdog(self):
        for name in ("jobq-broker.service.in", "jobq-worker@.service.in"):
            self.assertEqual(setting(unit(name), "Type"), "notify")
            self.assertGreater(int(setting(unit(name), "WatchdogSec")), 0)


class Container(unittest.TestCase):
    @unittest.skipUnless(shutil.which("dpkg-query") and shutil.which("objdump"), "needs Debian's tools")
    def test_the_image_has_every_library_that_the_programs_need(self):
        with open(ROOT / "packaging" / "container" / "runtime-packages", encoding="utf-8") as file:
            installed = set(file.read().split()) | {"libc6", "libstdc++6", "libgcc-s1"}  # apt needs these too
        said = subprocess.run(["objdump", "-p", *(os.environ[name] for name in ("JOBQ_BROKER", "JOBQ_WORKER", "JOBQ_CLI"))],
                              capture_output=True, text=True, check=True).stdout
        needed = sorted(set(re.findall(r"NEEDED\s+(\S+)", said)))
        self.assertGreater(len(needed), 5)
        found = subprocess.run(["dpkg-query", "-S", *(f"*/{library}" for library in needed)], capture_output=True, text=True,
                               check=False).stdout
        for library in needed:
            packages = {line.split(":")[0] for line in found.splitlines() if line.endswith(f"/{library}")}
            self.assertTrue(packages & installed, f"{library} of {packages} is needed: add it to runtime-packages")

    def test_the_container_file_copies_what_there_is(self):
        text = (ROOT / "packaging" / "container" / "Containerfile").read_text(encoding="utf-8")
        for source in re.findall(r"(?m)^COPY (?!--from)(\S+) ", text):
            self.assertTrue((ROOT / source).exists(), source)


if __name__ == "__main__":
    unittest.main()

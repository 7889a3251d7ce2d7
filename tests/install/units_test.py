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

    def test_both_notify_and_have_a_watchdog(self):
        for name in ("jobq-broker.service.in", "jobq-worker@.service.in"):
            self.assertEqual(setting(unit(name), "Type"), "notify")
            self.assertGreater(int(setting(unit(name), "WatchdogSec")), 0)


if __name__ == "__main__":
    unittest.main()

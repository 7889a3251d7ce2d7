#!/usr/bin/python3
"""The whole broker under load on a file system that is shut down beneath it: what was not written back is gone, as when the
power fails, and the file system's own journal recovers at the next mount. ext4 and XFS, each on a loop device in memory.

Needs root, loop devices and mkfs.ext4 / mkfs.xfs; where one is missing the test is skipped, loudly.

    JOBQ_SHUTDOWNS=60 JOBQ_SHUTDOWN_SECONDS=600 meson test file_system_shutdown     more than the usual few
"""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

from judged_load import SEED, JudgedLoad, processes, wait_until

SHUTDOWNS = int(os.environ.get("JOBQ_SHUTDOWNS", "60"))
SECONDS = int(os.environ.get("JOBQ_SHUTDOWN_SECONDS", "60"))  # for each file system
SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32): XFS_IOC_GOINGDOWN and EXT4_IOC_SHUTDOWN
LOG_IS_FLUSHED, NOTHING_IS_FLUSHED = 1, 2
DISK_BYTES = {"ext4": 320 << 20, "xfs": 320 << 20}
ENDS = (88, 87, -7)  # a commit failed, or already the opening; SIGBUS: a page that cannot be read any more


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)


class LoopDisk:
    """A file system in a file on a loop device."""

    def __init__(self, test, kind, directory):
        self.kind, self.place = kind, directory / "disk"
        self.place.mkdir()
        image = directory / "image"
        with open(image, "wb") as out:
            out.truncate(DISK_BYTES[kind])
        attached = run("losetup", "-f", "--show", image)
        if attached.returncode != 0:
            test.skipTest(f"LOUD: no loop device (root is needed): {attached.stderr.strip()}")
        self.device = attached.stdout.strip()
        test.addCleanup(run, "losetup", "-d", self.device)
        test.addCleanup(run, "umount", "-l", self.place)
        made = run(f"mkfs.{kind}", *(["-q", "-F"] if kind == "ext4" else ["-q", "-f"]), self.device)
        if made.returncode != 0:
            raise AssertionError(f"mkfs.{kind}: {made.stderr}")
        mounted = run("mount", "-t", kind, self.device, self.place)
        if mounted.returncode != 0:
            test.skipTest(f"LOUD: {kind} cannot be mounted: {mounted.stderr.strip()}")

    def shut_down(self, how):
        directory = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(directory)

    def mount_again(self):
        """Until it can be written: whoever else still holds the dead one (another mount namespace) keeps it alive."""
        def writable():
            run("umount", self.place)
            mounted = run("mount", "-t", self.kind, self.device, self.place)
            if mounted.returncode != 0:
                return False
            try:
                (self.place / "probe").write_text("alive")
            except OSError:
                return False
            return True

        wait_until(writable, f"{self.kind} is mounted again", seconds=60)


class FileSystemShutdown(JudgedLoad):
    def shut_down_again_and_again(self, kind):
        if shutil.which(f"mkfs.{kind}") is None:
            self.skipTest(f"LOUD: no mkfs.{kind}")
        with processes.Workspace() as space:
            disk = LoopDisk(self, kind, space.directory)
            config = space.directory / "small.toml"
            config.write_text("[store]\nmin_free = '16MiB'\n")
            self.begin(space, workers=2, place=disk.place, arguments=["--config", config])
            rounds, end = 0, time.monotonic() + SECONDS
            while rounds < SHUTDOWNS and (rounds < 3 or time.monotonic() < end):
                self.work_goes_on(f"work goes on after shutdown {rounds}")
                rounds += 1
                disk.shut_down(self.draw.choice((LOG_IS_FLUSHED, NOTHING_IS_FLUSHED)))
                # The power is gone: whether the process comes to its own end or not reaches nobody.
                if self.draw.randrange(2) == 0:
                    self.assertIn(self.broker.wait(), ENDS, self.broker.output())
                else:
                    self.broker.kill()
                self.note("broker", "crash", err=f"{kind} was shut down, {rounds}")
                disk.mount_again()
                processes.Process.start(self.broker)
            self.work_goes_on("work goes on after the last shutdown")
            self.end_and_judge(f"{rounds} shutdowns of {kind}, seed {SEED}")
            self.assertEqual(run("umount", disk.place).returncode, 0)

    def test_ext4(self):
        self.shut_down_again_and_again("ext4")

    def test_xfs(self):
        self.shut_down_again_and_again("xfs")


if __name__ == "__main__":
    if os.access("/dev/shm", os.W_OK):  # the loop device's image in memory: its own disk is not what is tested
        tempfile.tempdir = "/dev/shm"
    unittest.main()

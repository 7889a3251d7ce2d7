#!/usr/bin/python3
"""Backup, restore, compaction and repair with real processes: what an operator does, and kill -9 in the middle of it."""

import json
import os
import pathlib
import random
import signal
import subprocess
import time
import unittest

from processes import Workspace, program, wait_until

OK, REFUSED, USAGE, NO_INPUT, NO_BROKER, TRY_AGAIN, INTERRUPTED = 0, 1, 64, 66, 69, 75, 130


class StoreCase(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())
        self.data = self.space.directory / "data"

    def expect(self, code, *arguments, says=(), stdin=""):
        done = self.space.jobq(*arguments, stdin=stdin)
        shown = f"jobq {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        self.assertEqual(done.returncode, code, shown)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, done.stdout + done.stderr, shown)
        return done

    def fill(self, count, queue="numbers", body_bytes=0):
        lines = "".join(f"{number} {'x' * body_bytes}\n" for number in range(count))
        self.expect(OK, "enqueue", queue, "--lines", stdin=lines)

    def jobs_in(self, path):
        dumped = self.expect(OK, "check", path, "--dump").stdout
        return {row["id"] for row in map(json.loads, dumped.splitlines()) if row["kind"] == "job"}


class Backup(StoreCase):
    def test_a_backup_while_serving_is_restored_and_served(self):
        broker = self.space.broker()
        self.fill(2000)
        made = self.space.jobq_json("backup", "monday.mdb")["backup"]
        self.assertEqual((made["state"], made["verified"]), ("done", True))
        self.assertEqual(made["file"], str(self.data / "backups" / "monday.mdb"))
        self.assertEqual(os.stat(made["file"]).st_mode & 0o777, 0o640)
        self.fill(10, "later")
        broker.kill()
        home = self.space.directory / "restored"
        self.expect(OK, "restore", made["file"], home, says=["2,000 jobs in 1 queue", "as of", f"--data {home}"])
        self.data.rename(self.space.directory / "lost")
        home.rename(self.data)
        broker.start()
        self.assertEqual(self.space.queue("numbers")["ready"], 2000)
        self.assertIsNone(self.space.queue("later"))

    def test_where_a_backup_may_be_written(self):
        elsewhere = self.space.directory / "elsewhere"
        configuration = self.space.directory / "broker.toml"
        configuration.write_text(f'[store]\nbackup_directory = "{elsewhere}"\n')
        self.space.broker("--config", configuration)
        self.expect(OK, "backup", "one.mdb", says=str(elsewhere / "one.mdb"))
        self.expect(OK, "backup", elsewhere / "two.mdb", says="verified: 0 jobs")
        self.expect(REFUSED, "backup", "one.mdb", says=["exists", "never overwritten"])
        for name, says in [("/etc/passwd", str(elsewhere)), ("../up.mdb", "cannot be the name"), ("a/b.mdb", "cannot be the name"),
                           (".hidden", "cannot be the name"), ("x.part", "cannot be the name"), ("a b", "cannot be the name"),
                           ("x" * 300, "cannot be the name"), (elsewhere / ".." / "up.mdb", str(elsewhere))]:
            with self.subTest(name):
                self.expect(REFUSED, "backup", name, says=says)
        (elsewhere / "dangling.mdb").symlink_to("/tmp/jobq-nowhere")
        self.expect(REFUSED, "backup", "dangling.mdb", says="exists")
        self.assertEqual(sorted(os.listdir(elsewhere)), ["dangling.mdb", "one.mdb", "two.mdb"])

    def test_wrong_command_lines(self):
        for arguments in [[], ["a", "--show"], ["--show", "--cancel"], [""]]:
            with self.subTest(arguments):
                self.expect(USAGE, "backup", *arguments, says="--help")
        self.expect(NO_BROKER, "backup", "x", "--timeout", "200ms", says="no broker answered")

    def slow_backup(self, name):
        """A backup into a pipe that nobody empties: it goes on until the pipe is read or closed. The pipe's reader."""
        directory = self.data / "backups"
        directory.mkdir(exist_ok=True)
        os.mkfifo(directory / f"{name}.part")
        reader = os.open(directory / f"{name}.part", os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        return reader

    def drain(self, reader):
        os.set_blocking(reader, True)
        while os.read(reader, 1 << 20):
            pass

    def test_the_broker_serves_while_a_backup_goes_on_and_it_can_be_watched_and_stopped(self):
        self.space.broker()
        self.fill(3000, body_bytes=200)
        self.expect(REFUSED, "backup", "--cancel", says="no backup is running")
        self.expect(OK, "backup", "--show", says=["no backup since", str(self.data / "backups")])
        reader = self.slow_backup("slow.mdb")
        watcher = self.space.start("watcher", program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "backup", "slow.mdb")
        wait_until(lambda: "running" in self.space.jobq("backup", "--show").stdout, "the backup has begun")
        self.expect(REFUSED, "backup", "other.mdb", says=["already", "slow.mdb"])
        self.fill(100, "meanwhile")
        self.assertEqual(self.space.queue("meanwhile")["ready"], 100)
        watcher.send(signal.SIGINT)
        self.assertEqual(watcher.wait(), INTERRUPTED)
        self.assertIn("goes on in the broker", watcher.output())
        self.expect(OK, "backup", "--cancel", says="slow.mdb")
        self.drain(reader)
        wait_until(lambda: "cancelled" in self.space.jobq("backup", "--show").stdout, "the backup has been cancelled")
        self.assertEqual(os.listdir(self.data / "backups"), [])
        self.expect(OK, "backup", "other.mdb", says="verified: 3,100 jobs")

    def test_a_broker_that_is_told_to_stop_gives_the_backup_up(self):
        broker = self.space.broker()
        self.fill(3000, body_bytes=200)
        reader = self.slow_backup("slow.mdb")
        watcher = self.space.start("watcher", program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "backup", "slow.mdb",
                                   "--timeout", "1s")
        wait_until(lambda: "running" in self.space.jobq("backup", "--show").stdout, "the backup has begun")
        broker.send(signal.SIGTERM)
        self.drain(reader)
        self.assertEqual(broker.wait(), 0)
        self.assertIn(watcher.wait(), (NO_BROKER, TRY_AGAIN))
        self.assertEqual(os.listdir(self.data / "backups"), [])

    def test_kill_9_in_the_middle_of_a_backup_leaves_no_backup(self):
        broker = self.space.broker()
        self.fill(3000, body_bytes=200)
        self.slow_backup("slow.mdb")
        watcher = self.space.start("watcher", program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "backup", "slow.mdb",
                                   "--timeout", "60s")
        wait_until(lambda: "running" in self.space.jobq("backup", "--show").stdout, "the backup has begun")
        broker.kill()
        broker.start()
        self.assertEqual(watcher.wait(), TRY_AGAIN, watcher.output())
        self.assertIn("restarted", watcher.output())
        self.assertNotIn("slow.mdb", os.listdir(self.data / "backups"))
        self.assertEqual(self.space.queue("numbers")["ready"], 3000)
        os.unlink(self.data / "backups" / "slow.mdb.part")
        self.expect(OK, "backup", "slow.mdb", says="verified: 3,000 jobs")


class Offline(StoreCase):
    def filled(self, count=3000, body_bytes=300):
        """A store without a broker; its jobs."""
        broker = self.space.broker()
        self.fill(count, body_bytes=body_bytes)
        broker.stop()
        return self.jobs_in(self.data)

    def killed_at_random(self, seconds, *arguments):
        """Whether the command was killed before its end."""
        child = subprocess.Popen([program("JOBQ_CLI"), *map(str, arguments)], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
        killed = child.wait() == -signal.SIGKILL
        # Its reading process holds the lock too, and is ended by the kernel a moment later.
        wait_until(lambda: "in use by" not in self.space.jobq("check", arguments[-1]).stderr, "the lock is free")
        return killed

    def test_a_running_broker_is_left_alone_and_named(self):
        broker = self.space.broker()
        self.expect(REFUSED, "compact", self.data, says=[f"process {broker.child.pid}", "stop it first"])
        self.expect(REFUSED, "check", self.data, "--repair", self.space.directory / "new", says=f"process {broker.child.pid}")
        self.expect(REFUSED, "restore", self.data / "data.mdb", self.space.directory / "new", says=f"process {broker.child.pid}")
        self.assertFalse((self.space.directory / "new").exists())

    def test_compaction_gives_space_back(self):
        jobs = self.filled()
        before = os.stat(self.data / "data.mdb").st_size
        document = self.space.jobq_json("compact", self.data)
        self.assertEqual(document["counts"]["jobs"], 3000)
        self.assertEqual(document["bytes_after"], os.stat(self.data / "data.mdb").st_size)
        self.assertLess(document["bytes_after"], before)
        self.assertEqual(self.jobs_in(self.data), jobs)

    def test_kill_9_in_the_middle_of_a_compaction_leaves_a_whole_store(self):
        jobs = self.filled()
        seed = int(os.environ.get("JOBQ_SEED", time.time_ns()))
        chance = random.Random(seed)
        began = time.monotonic()
        self.expect(OK, "compact", self.data)
        whole = time.monotonic() - began
        kills = 0
        for _ in range(int(os.environ.get("JOBQ_KILLS", "12"))):
            killed = self.killed_at_random(chance.random() * whole * 1.1, "compact", self.data)
            kills += killed
            if not killed:
                whole *= 0.6  # this one was quicker than the first: aim earlier
            self.assertEqual(self.jobs_in(self.data), jobs, f"seed {seed}")
        self.assertGreater(kills, 0, "every run came to its end")
        self.expect(OK, "compact", self.data)
        self.assertNotIn("data.mdb.compacting", os.listdir(self.data))

    def test_kill_9_in_the_middle_of_a_restore_leaves_nothing_or_the_whole(self):
        jobs = self.filled()
        backup = self.space.directory / "backup.mdb"
        (self.data / "data.mdb").rename(backup)
        seed = int(os.environ.get("JOBQ_SEED", time.time_ns()))
        chance = random.Random(seed)
        began = time.monotonic()
        self.expect(OK, "restore", backup, self.space.directory / "first")
        whole = time.monotonic() - began
        home, kills, half = self.space.directory / "home", 0, 0
        for _ in range(int(os.environ.get("JOBQ_KILLS", "12"))):
            killed = self.killed_at_random(chance.random() * whole * 1.1, "restore", backup, home)
            kills += killed
            if not killed:
                whole *= 0.6  # this one was quicker than the first: aim earlier
            names = os.listdir(home) if home.exists() else []
            if "data.mdb" in names:
                self.assertEqual(self.jobs_in(home), jobs, f"seed {seed}")
                for name in names:
                    (home / name).unlink()
            elif "data.mdb.restoring" in names:
                half += 1
                started = subprocess.run([program("JOBQ_BROKER"), "--data", home, "--listen", self.space.endpoint],
                                         capture_output=True, text=True, check=False, timeout=60)
                self.assertNotEqual(started.returncode, 0)
                self.assertIn("cut short", started.stderr)
        self.assertGreater(kills, 0, "every run came to its end")
        self.expect(OK, "restore", backup, home)
        self.assertEqual(self.jobs_in(home), jobs)

    def test_sigint_leaves_nothing_over(self):
        self.filled(20000)
        for command in (["compact", self.data], ["check", self.data, "--repair", self.space.directory / "new"]):
            child = subprocess.Popen([program("JOBQ_CLI"), *map(str, command)], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
            children = pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children")
            wait_until(lambda: child.poll() is not None or children.read_text(encoding="ascii"), "it works in a child")
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=60)
            self.assertIn(child.returncode, (OK, INTERRUPTED), errors)
            self.assertFalse([name for name in os.listdir(self.data) if "compacting" in name])
        self.expect(OK, "check", self.data, says="20,000 jobs")

    def test_a_damaged_store_is_repaired_into_a_new_one(self):
        jobs = self.filled()
        self.expect(OK, "check", self.data, "--repair", self.space.directory / "same", says=["3,000 jobs", "nothing is lost"])
        self.assertEqual(self.jobs_in(self.space.directory / "same"), jobs)
        file = self.data / "data.mdb"
        # Every copy of the record: a page that a later commit wrote anew still has the old one in it.
        content = file.read_bytes()
        self.assertIn(b"1234 xxx", content)
        file.write_bytes(content.replace(b"1234 xxx", b"9999 xxx"))
        self.expect(REFUSED, "check", self.data, says=["its record is damaged", "--repair NEW_DIR"])
        new = self.space.directory / "new"
        done = self.space.jobq("check", self.data, "--repair", new)
        self.assertEqual(done.returncode, REFUSED, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"lost: job j\w+: it was ready, and its record is lost or damaged")
        self.assertIn("2,999 jobs", done.stdout)
        self.assertEqual(len(self.jobs_in(new)), 2999)
        self.assertLess(self.jobs_in(new), jobs)
        self.expect(REFUSED, "check", self.data, "--repair", new, says="not empty")
        self.data.rename(self.space.directory / "damaged")
        new.rename(self.data)
        self.space.broker()
        self.assertEqual(self.space.queue("numbers")["ready"], 2999)

    def test_nonsense_is_refused_by_name(self):
        nothing, text = self.space.directory / "nothing", self.space.directory / "text"
        text.write_text("this is no store\n" * 1000)
        new = self.space.directory / "new"
        (self.space.directory / "empty").write_text("")
        for code, arguments, says in [
            (NO_INPUT, ["restore", nothing, new], str(nothing)), (NO_INPUT, ["restore", self.space.directory, new], "is a directory"),
            (NO_INPUT, ["restore", text, new], "not a store"), (REFUSED, ["restore", self.space.directory / "empty", new], "empty"),
            (NO_INPUT, ["compact", nothing], str(nothing)), (NO_INPUT, ["compact", self.space.directory], "holds no store"),
            (NO_INPUT, ["check", nothing], str(nothing)), (NO_INPUT, ["check", text], "not a store"),
            (NO_INPUT, ["check", self.space.directory], "holds no store"), (NO_INPUT, ["check", "/dev/null"], "neither"),
            (NO_INPUT, ["check", text, "--repair", new], "not a store"), (USAGE, ["check", "--repair", new], "DIR"),
            (USAGE, ["check", "--dump"], "DIR"), (USAGE, ["check", text, "--ignore", "x"], "--ignore"),
            (USAGE, ["restore", text], "DIR"), (USAGE, ["compact"], "DIR"),
        ]:
            with self.subTest(arguments):
                self.expect(code, *arguments, says=says)
                self.assertFalse((new / "data.mdb").exists())


class Health(StoreCase):
    def check(self, code, *arguments, says=()):
        done = self.expect(code, "check", *arguments, says=says)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def test_the_states_and_their_exit_codes(self):
        self.check(2, "--timeout", "200ms", says=["JOBQ CRITICAL - no broker answered"])
        self.space.broker()
        self.assertRegex(self.check(0), r"^JOBQ OK - no problems; 0 ready, 0 leased, 0 dead in 0 queues \| ready=0 leased=0 "
                         r"scheduled=0 dead=0 oldest_ready=0ms store_used=\d+B disk_free=\d+B\n$")
        self.fill(3)
        self.check(2, says=["JOBQ CRITICAL - numbers: 3 ready jobs and no worker", "| ready=3"])
        document = json.loads(self.check(2, "--json"))
        self.assertEqual((document["status"], document["code"], document["problems"][0]["kind"]), ("CRITICAL", 2, "no_worker"))
        self.check(0, "--ignore", "no_worker", says="JOBQ OK")
        self.expect(OK, "queue", "pause", "numbers")
        shown = self.check(1, says="JOBQ WARNING - numbers:")
        self.assertNotIn("CRITICAL", shown)
        self.check(0, "--ignore", "paused_with_jobs", "--ignore", "no_worker")


if __name__ == "__main__":
    unittest.main()

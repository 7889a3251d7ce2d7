#!/usr/bin/python3
"""jobq-worker as its users and operators meet it: every exit code, limits with stubborn commands and their children, drains,
kill -9, no zombies and no leaked descriptors."""

import os
import pathlib
import signal
import socket
import subprocess
import unittest

from processes import Workspace, program, wait_until


def children_of(pid):
    """Every living descendant's pid, zombies too."""
    found, left = [], [pid]
    while left:
        for task in pathlib.Path(f"/proc/{left.pop()}/task").glob("*/children"):
            try:
                below = [int(child) for child in task.read_text().split()]
            except OSError:  # it has ended meanwhile
                continue
            found += below
            left += below
    return found


def state_of(pid):
    """The letter of /proc/PID/stat, or None when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def lives(pid):
    return state_of(pid) not in (None, "Z", "X")


def guardians_of(pid):
    return [child for child in children_of(pid)
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "jobq-guardian"]


class WorkerCase(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())
        self.broker = self.space.broker()

    def worker(self, *arguments, name="worker", env=None):
        return self.space.start(name, program("JOBQ_WORKER"), "--endpoint", self.space.endpoint, *arguments, env=env)

    def enqueue(self, body="", queue="q", **options):
        named = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        made = self.space.jobq("enqueue", queue, *named, stdin=body)
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()

    def count(self, what, queue="q"):
        row = self.space.queue(queue)
        return row[what] if row else 0

    def wait_count(self, what, number, queue="q", seconds=20.0):
        wait_until(lambda: self.count(what, queue) >= number, f"{what} of {queue} is {number}", seconds)

    def job(self, job_id):
        return self.space.jobq_json("job", "show", job_id)["job"]

    def error_of(self, job_id):
        return self.space.jobq_json("job", "show", job_id)["attempts"][-1]["error"]

    def twice(self, worker, number):
        """A second signal that is meant: one that comes right after the first is the same (timeout(1) sends two)."""
        worker.send(signal.SIGTERM)
        wait_until(lambda: "stopping" in worker.output(), "the drain has begun")

        def sent_again():
            if worker.running():
                worker.send(number)
            return "stopping at once" in worker.output()
        wait_until(sent_again, "the second one is heard")

    def file(self, name):
        return self.space.directory / name

    def wait_file(self, name, what=None):
        path = self.file(name)
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"), what or f"{name} is written")
        return path.read_text()


class ExitCodes(WorkerCase):
    def test_each_exit_code_of_a_command_settles_its_job(self):
        self.space.jobq("queue", "set", "q", "backoff_min=1h", "backoff_max=2h").check_returncode()
        self.worker("--queue", "q", "--concurrency", "2", "--", "sh")
        acked = self.enqueue("exit 0")
        rejected = self.enqueue("echo '550 no such mailbox' >&2; exit 65")
        later = self.enqueue("echo '451 busy' >&2; exit 75")
        failed = self.enqueue("echo first >&2; echo 'disk full' >&2; exit 3")
        silent = self.enqueue("exit 1")
        crashed = self.enqueue("kill -SEGV $$")
        self.wait_count("acked_total", 1)
        self.wait_count("dead", 1)
        self.wait_count("scheduled", 4)
        self.assertEqual(self.job(acked)["state"], "gone")
        self.assertEqual((self.job(rejected)["state"], self.error_of(rejected)), ("dead", "550 no such mailbox"))
        self.assertEqual(self.error_of(later), "451 busy")
        self.assertEqual(self.error_of(failed), "exit code 3: disk full\n\nfirst\ndisk full")
        self.assertEqual(self.error_of(silent), "exit code 1")
        self.assertIn("killed by SIGSEGV", self.error_of(crashed))

    def test_a_command_gets_the_body_and_is_told_about_its_job(self):
        self.worker("--queue", "q", "--max-run", "1h", "--", "sh", "-c",
                    f"cat > {self.file('body')}; env | grep ^JOBQ_ | sort > {self.file('env.new')}; "
                    f"mv {self.file('env.new')} {self.file('env')}",
                    env={**os.environ, "JOBQ_HEADER_FORGED": "x", "NOTIFY_SOCKET": ""})
        job = self.enqueue("two\nlines \xe4 and no end", type="Receipt", priority="7", header="Trace-Id=7f 3a")
        told = dict(line.split("=", 1) for line in self.wait_file("env").splitlines())
        self.assertEqual(self.file("body").read_text(), "two\nlines \xe4 and no end")
        self.assertAlmostEqual(int(told.pop("JOBQ_DEADLINE")) - int(told.pop("JOBQ_ENQUEUED_AT")), 3600, delta=60)
        self.assertEqual(told, {"JOBQ_JOB_ID": job, "JOBQ_QUEUE": "q", "JOBQ_TYPE": "Receipt", "JOBQ_PRIORITY": "7",
                                "JOBQ_ATTEMPT": "1", "JOBQ_MAX_ATTEMPTS": "25", "JOBQ_HEADER_TRACE_ID": "7f 3a",
                                "JOBQ_ENDPOINT": self.space.endpoint})

    def test_a_command_that_does_not_read_a_large_body_holds_up_nothing(self):
        self.worker("--queue", "q", "--", "true")
        self.worker("--queue", "closed", "--", "sh", "-c", "exec <&-; exit 0", name="closing")
        for queue in ("q", "closed"):
            for _ in range(5):
                self.enqueue("x" * 1_000_000, queue)
            self.wait_count("acked_total", 5, queue)

    def test_only_the_types_that_were_asked_for(self):
        self.worker("--queue", "q", "--type", "mine", "--", "true")
        self.enqueue(type="other")
        self.enqueue(type="mine")
        self.wait_count("acked_total", 1)
        self.assertEqual(self.count("ready"), 1)

    def test_an_environment_that_is_too_large_is_an_error_with_the_remedy(self):
        # The system takes a quarter of the stack's limit, 1 MiB here: the worker starts, with a job's headers it is too much.
        self.space.jobq("queue", "set", "q", "backoff_min=1h", "backoff_max=2h").check_returncode()
        self.space.start("worker", "sh", "-c", 'ulimit -s 4096; exec "$@"', "sh", program("JOBQ_WORKER"), "--endpoint",
                         self.space.endpoint, "--queue", "q", "--", "true",
                         env={"PATH": "/usr/bin:/bin", **{f"PAD{i}": "x" * 116_155 for i in range(9)}})
        job = self.enqueue(header="big=" + "h" * 3_900)
        self.wait_count("scheduled", 1)
        self.assertRegex(self.error_of(job), r"its environment, 10\d{5} bytes with the job's headers, is more than")
        self.enqueue()
        self.wait_count("acked_total", 1)

    def test_wrong_starts_end_with_their_codes(self):
        def ended(*arguments):
            return subprocess.run([program("JOBQ_WORKER"), "--endpoint", self.space.endpoint, *arguments], text=True,
                                  capture_output=True, check=False, timeout=60)
        for code, words, arguments in (
                (64, "--queue", ("--", "true")),
                (64, "after `--`", ("--queue", "q", "true")),
                (64, "weight 'x'", ("--queue", "q:x", "--", "true")),
                (127, "no command 'no-such-command'", ("--queue", "q", "--", "no-such-command")),
                (127, "./no-such-file", ("--queue", "q", "--", "./no-such-file")),
                (126, "is a directory", ("--queue", "q", "--", "/etc")),
                (126, "chmod +x", ("--queue", "q", "--", "/etc/passwd"))):
            with self.subTest(arguments=arguments):
                done = ended(*arguments)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(words, done.stderr)
        refused = subprocess.run([program("JOBQ_WORKER"), "--endpoint", "tcp://nonsense", "--queue", "q", "--", "true"],
                                 text=True, capture_output=True, check=False, timeout=60)
        self.assertEqual(refused.returncode, 64, refused.stderr)
        self.assertIn("tcp://HOST:PORT", refused.stderr)
        self.assertEqual(ended("--help").returncode, 0)
        self.assertEqual(ended("--version").returncode, 0)

    def test_a_worker_that_the_broker_refuses_ends_with_1(self):
        self.broker.stop()
        settings = self.file("broker.toml")
        settings.write_text("[limits]\nauto_create = false\n")
        strict = self.space.start("strict", program("JOBQ_BROKER"), "--data", self.file("strict-data"), "--listen",
                                  self.space.endpoint, "--config", settings)
        worker = self.worker("--queue", "nowhere", "--", "true")
        code = worker.wait()
        self.assertTrue(strict.running(), strict.output())
        self.assertEqual(code, 1, worker.output())
        self.assertIn("nowhere", worker.output())


class Limits(WorkerCase):
    STUBBORN = "trap '' TERM; sleep 300 & sleep 300 & (trap '' TERM; sleep 300) & echo $$ > {}; wait; sleep 300"

    def test_a_command_that_runs_too_long_is_ended_with_its_group(self):
        self.space.jobq("queue", "set", "q", "backoff_min=1h", "backoff_max=2h").check_returncode()
        worker = self.worker("--queue", "q", "--max-run", "300ms", "--", "sh")
        job = self.enqueue("echo 'half done' >&2; sleep 300 & sleep 300")
        self.wait_count("scheduled", 1)
        error = self.error_of(job)
        self.assertEqual(error, "ran longer than 300ms (--max-run) and was ended by SIGTERM: half done")
        self.assertEqual(children_of(worker.child.pid), guardians_of(worker.child.pid))

    def test_a_stubborn_command_is_killed_with_its_children_after_the_grace(self):
        self.space.jobq("queue", "set", "q", "backoff_min=1h", "backoff_max=2h").check_returncode()
        worker = self.worker("--queue", "q", "--max-run", "300ms", "--kill-after", "300ms", "--", "sh")
        job = self.enqueue(self.STUBBORN.format(self.file("started")))
        group = int(self.wait_file("started"))
        self.wait_count("scheduled", 1)
        error = self.error_of(job)
        self.assertIn("SIGKILL, after SIGTERM had not been enough", error)
        self.assertIsNone(state_of(group))
        self.assertEqual(children_of(worker.child.pid), guardians_of(worker.child.pid))

    def test_the_jobs_own_limit_ends_it_too(self):
        self.space.jobq("queue", "set", "q", "backoff_min=1h", "backoff_max=2h").check_returncode()
        self.worker("--queue", "q", "--", "sh")
        job = self.enqueue("sleep 300", max_run="300ms")
        self.wait_count("scheduled", 1)
        self.assertIn("ran longer than its max_run_time", self.error_of(job))

    def test_exit_0_after_sigterm_does_not_say_that_the_job_is_done(self):
        self.space.jobq("queue", "set", "q", "backoff_min=1h", "backoff_max=2h").check_returncode()
        self.worker("--queue", "q", "--max-run", "300ms", "--", "sh", "-c", "trap 'exit 0' TERM; sleep 300 & wait")
        self.enqueue()
        self.wait_count("scheduled", 1)
        self.assertEqual(self.count("acked_total"), 0)

    def test_a_cancelled_job_is_ended(self):
        worker = self.worker("--queue", "q", "--", "sh")
        job = self.enqueue(f"echo $$ > {self.file('started')}; sleep 300")
        self.wait_file("started")
        self.space.jobq("job", "cancel", job).check_returncode()
        self.wait_count("cancelled_total", 1)
        wait_until(lambda: children_of(worker.child.pid) == guardians_of(worker.child.pid), "the command is gone")

    def test_no_zombies_and_no_descriptors_are_left_after_500_jobs(self):
        worker = self.worker("--queue", "q", "--concurrency", "4", "--", "sh")
        self.enqueue("exit 0")
        self.wait_count("acked_total", 1)
        descriptors = lambda: len(os.listdir(f"/proc/{worker.child.pid}/fd"))  # noqa: E731
        wait_until(lambda: children_of(worker.child.pid) == guardians_of(worker.child.pid), "the command is gone")
        before = descriptors()
        lines = "".join(("exit 0\n", "sleep 300 & exit 0\n", "(setsid true &) ; exit 0\n", "exec 2>&-; exit 0\n")[i % 4]
                        for i in range(500))
        self.space.jobq("enqueue", "q", "--lines", stdin=lines).check_returncode()
        self.wait_count("acked_total", 501, seconds=120)
        wait_until(lambda: children_of(worker.child.pid) == guardians_of(worker.child.pid), "no child is left")
        wait_until(lambda: descriptors() <= before, f"not more than {before} descriptors are open")
        self.assertEqual(worker.stop(), 0)

    def test_many_slots_raise_our_limit_of_descriptors_and_not_that_of_the_commands(self):
        self.space.start("worker", "sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", program("JOBQ_WORKER"), "--endpoint",
                         self.space.endpoint, "--queue", "q", "--concurrency", "60", "--", "sh", "-c",
                         f"ulimit -Sn > {self.file('limit')}; while [ ! -e {self.file('go')} ]; do sleep 0.1; done")
        self.space.jobq("enqueue", "q", "--lines", stdin="x\n" * 60).check_returncode()
        self.wait_count("leased", 60)
        wait_until(lambda: self.file("limit").exists() and self.file("limit").read_text() == "256\n", "the limit is told")
        self.file("go").touch()
        self.wait_count("acked_total", 60)

    def test_commands_see_no_descriptor_of_ours(self):
        worker = self.worker("--queue", "q", "--", "ls", "-m", "/proc/self/fd")
        self.enqueue()
        wait_until(lambda: "0, 1, 2, 3\n" in worker.output(), "ls shows its three descriptors and the directory's")


class Stopping(WorkerCase):
    def begin(self, *arguments, script="echo $$ > {started}; while [ ! -e {go} ]; do sleep 0.02; done; echo done >> {log}"):
        worker = self.worker("--queue", "q", *arguments, "--", "sh")
        job = self.enqueue(script.format(started=self.file("started"), go=self.file("go"), log=self.file("log")))
        return worker, job, int(self.wait_file("started"))

    def test_sigterm_lets_what_runs_end_and_takes_nothing_new(self):
        worker, _, _ = self.begin()
        worker.send(signal.SIGTERM)
        wait_until(lambda: "stopping" in worker.output(), "the drain has begun")
        self.enqueue("exit 0")
        self.file("go").touch()
        self.assertEqual(worker.wait(), 0, worker.output())
        self.assertEqual(self.file("log").read_text(), "done\n")
        self.assertEqual((self.count("acked_total"), self.count("ready")), (1, 1))

    def test_a_drain_is_bounded_and_hands_back_uncounted(self):
        worker, job, group = self.begin("--drain-timeout", "2s", "--kill-after", "300ms",
                                        script="trap '' TERM; sleep 300 & echo $$ > {started}; wait; sleep 300")
        self.assertEqual(worker.stop(), 0, worker.output())
        self.assertIsNone(state_of(group))
        self.assertEqual(self.count("ready"), 1)
        self.assertEqual(self.job(job)["attempt"], 1)

    def test_a_signal_that_is_sent_twice_at_once_is_one(self):
        worker, _, _ = self.begin()
        for _ in range(2):
            worker.send(signal.SIGTERM)
        wait_until(lambda: "stopping" in worker.output(), "the drain has begun")
        self.file("go").touch()
        self.assertEqual(worker.wait(), 0, worker.output())
        self.assertEqual(self.count("acked_total"), 1)

    def test_an_ignored_hang_up_stays_ignored(self):
        worker = self.space.start("nohup", "nohup", program("JOBQ_WORKER"), "--endpoint", self.space.endpoint, "--queue", "q",
                                  "--", "true")
        wait_until(lambda: "registered" in worker.output(), "it is there")
        worker.send(signal.SIGHUP)
        self.enqueue()
        self.wait_count("acked_total", 1)
        self.assertNotIn("stopping", worker.output())

    def test_a_second_sigterm_hands_back_at_once(self):
        worker, job, group = self.begin("--drain-timeout", "5m")
        self.twice(worker, signal.SIGTERM)
        self.assertEqual(worker.wait(), 0, worker.output())
        self.assertIsNone(state_of(group))
        self.assertEqual(self.count("ready"), 1)
        self.assertEqual((self.job(job)["attempt"], self.count("failed_total")), (1, 0))

    def test_kill_9_takes_the_commands_and_what_they_started_along(self):
        worker, _, group = self.begin(script="sleep 300 & echo $! > {go}; echo $$ > {started}; wait")
        grandchild = int(self.wait_file("go"))
        self.assertTrue(lives(group) and lives(grandchild))
        worker.kill()
        wait_until(lambda: not lives(group) and not lives(grandchild), "the command and its child are dead")

    def test_a_broker_that_restarts_is_not_noticed_by_the_command(self):
        worker, job, group = self.begin()
        self.broker.kill()
        self.broker.start()
        self.assertTrue(lives(group))
        self.file("go").touch()
        self.wait_count("acked_total", 1)
        self.assertEqual(self.file("log").read_text(), "done\n")
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.job(job)["state"], "gone")

    def test_without_a_broker_it_waits_and_can_be_stopped(self):
        self.broker.kill()
        worker = self.worker("--queue", "q", "--", "true")
        wait_until(lambda: "is jobq-broker running" in worker.output(), "it says what it waits for")
        self.assertEqual(worker.stop(), 0, worker.output())
        self.broker.start()

    def test_outcomes_that_no_broker_has_answered_are_told(self):
        worker, _, _ = self.begin("--drain-timeout", "1s")
        self.broker.kill()
        self.file("go").touch()
        self.wait_file("log")
        self.assertEqual(worker.stop(), 75, worker.output())
        self.assertIn("no broker has answered the outcomes of 1 jobs", worker.output())
        self.broker.start()

    def test_systemd_is_told(self):
        path = self.file("notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(path))
            listener.settimeout(60)
            worker = self.worker("--queue", "q", "--", "true",
                                 env={**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"})
            said = []
            while said.count("WATCHDOG=1") < 3 or not any("registered at" in line for line in said):
                said.append(listener.recv(4096).decode())
            self.assertEqual(said[0], "READY=1")
            worker.send(signal.SIGTERM)
            while said[-1] != "STOPPING=1":
                said.append(listener.recv(4096).decode())
            self.assertEqual(worker.wait(), 0)


class Output(WorkerCase):
    def test_stdout_and_stderr_are_passed_on_line_by_line(self):
        worker = self.worker("--queue", "q", "--", "sh")
        job = self.enqueue("echo on stdout; echo one >&2; printf two >&2")
        self.wait_count("acked_total", 1)
        wait_until(lambda: "two" in worker.output(), "the last line is there")
        lines = worker.output().splitlines()
        for line in ("on stdout", f"[{job}] one", f"[{job}] two"):
            self.assertIn(line, lines)

    def test_discarded_output_is_not_shown_but_explains_failures(self):
        worker = self.worker("--queue", "q", "--stdout", "discard", "--stderr", "discard", "--", "sh")
        job = self.enqueue("echo on stdout; seq 1 100000 >&2; printf 'bad \\377 byte' >&2; exit 65")
        self.wait_count("dead", 1)
        self.assertNotIn("on stdout", worker.output())
        self.assertNotIn("99999\n", worker.output())
        error = self.error_of(job)
        self.assertTrue(error.startswith("bad \ufffd byte"), error)
        self.assertIn("99999\n100000", error)
        self.assertLessEqual(len(error.encode()), 4096)

    def test_an_endless_stream_on_stderr_does_not_grow_the_worker(self):
        worker = self.worker("--queue", "q", "--stderr", "discard", "--max-run", "1s", "--", "sh", "-c", "yes >&2")
        self.space.jobq("queue", "set", "q", "backoff_min=1h", "backoff_max=2h").check_returncode()
        self.enqueue()
        self.wait_count("scheduled", 1)
        peak = next(line for line in pathlib.Path(f"/proc/{worker.child.pid}/status").read_text().splitlines()
                    if line.startswith("VmHWM"))
        self.assertLess(int(peak.split()[1]), 700_000, peak)  # kB; it has written gigabytes


if __name__ == "__main__":
    unittest.main()

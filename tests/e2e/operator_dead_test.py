#!/usr/bin/python3
"""What an operator does with dead jobs, against a real broker: summary, export, one job, and the tasks over many."""

import json
import signal
import subprocess
import unittest

import python_client
from cli_test import INTERRUPTED, OK, REFUSED, USAGE, LiveCase
from processes import program, wait_until

NO_INPUT = 66


class Dead(LiveCase):
    ERRORS = ["550 no mailbox 1", "550 no mailbox 2", "421 busy"]

    def test_a_summary_of_one_queue_and_of_all(self):
        self.expect(OK, "dead", "summary", says="no dead jobs")
        self.make_dead("receipts", self.ERRORS, kind="mail")
        self.make_dead("faxes", ["no paper"])
        self.enqueue("quiet")
        self.expect(OK, "dead", "summary", "receipts", says=["3 dead jobs in 'receipts', by type and error",
                                                             "550 no mailbox"])
        self.expect(OK, "dead", "summary", says=["in 'receipts'", "1 dead job in 'faxes'", "no paper"])
        document = self.space.jobq_json("dead", "summary")
        self.assertEqual([(queue["queue"], queue["dead"]) for queue in document["queues"]], [("faxes", 1), ("receipts", 3)])
        self.assertEqual(self.space.jobq_json("dead", "summary", "receipts", "--error", "busy")["dead"], 1)
        self.expect(OK, "dead", "summary", "quiet", says="no dead jobs in 'quiet'")
        self.expect(OK, "dead", "summary", "receipts", "--min-age", "1d", says="no dead jobs that match in 'receipts'")
        self.expect(REFUSED, "dead", "summary", "recipts", says="receipts")

    def test_an_export_becomes_jobs_again(self):
        number = self.enqueue("receipts", "plain text\nof two lines", "--type", "mail", "--priority", "9", "--header",
                              "trace=7f3a", "--key", "k", "--max-attempts", "3", "--max-run", "30s")
        path = self.space.directory / "bytes"
        path.write_bytes(bytes(range(256)) * 4000)
        other = self.expect(OK, "enqueue", "receipts", "--body-file", path).stdout.strip()
        worker = self.worker(["receipts"], credit=2)
        for delivery in worker.take_many(2):
            worker.settle(delivery, python_client.REJECT, "no such mailbox")
        worker.goodbye()
        lines = self.expect(OK, "dead", "export", "receipts").stdout
        jobs = [json.loads(line) for line in lines.splitlines()]
        self.assertEqual([job["id"] for job in jobs], [number, other])
        self.assertEqual((jobs[0]["error"], jobs[0]["reason"], jobs[0]["unique_key"]), ("no such mailbox", "rejected", "k"))

        # Its key is held by the dead one: that is the job, and nothing is doubled.
        again = self.expect(OK, "enqueue", "elsewhere", "--jobs", stdin=lines).stdout.split()
        self.assertEqual(self.expect(OK, "enqueue", "receipts", "--jobs", stdin=lines.splitlines()[0]).stdout.strip(), number)
        taken = {delivery.job: delivery for delivery in self.worker(["elsewhere"], credit=2).take_many(2)}
        first, second = taken[again[0]], taken[again[1]]
        self.assertEqual((first.body, first.type, first.priority, first.headers, first.max_attempts, first.max_run_ms),
                         (b"plain text\nof two lines", "mail", 9, {"trace": "7f3a"}, 3, 30_000))
        self.assertEqual(second.body, path.read_bytes())
        self.assertEqual(self.job(again[0])["unique_key"], "k")

    def test_an_export_into_a_file_overwrites_nothing(self):
        self.make_dead("receipts", self.ERRORS)
        path = self.space.directory / "dead.jsonl"
        self.expect(OK, "dead", "export", "receipts", "--error", "550", "--file", path, says="2 dead jobs")
        self.assertEqual(len(path.read_text().splitlines()), 2)
        self.expect(NO_INPUT, "dead", "export", "receipts", "--file", path, says=[str(path), "overwrites nothing"])
        self.assertEqual(len(self.expect(OK, "dead", "export", "receipts", "--limit", "1").stdout.splitlines()), 1)
        self.assertEqual(self.space.queue("receipts")["dead"], 3)
        self.expect(REFUSED, "dead", "export", "recipts", says="receipts")

    def test_one_job_that_is_not_there_is_no_success(self):
        self.make_dead("receipts", self.ERRORS)
        alive = self.enqueue("receipts")
        for arguments in (["redrive"], ["redrive", "--dry-run"], ["purge"], ["purge", "--yes"]):
            with self.subTest(arguments):
                verb, *flags = arguments
                self.expect(REFUSED, "dead", verb, "receipts", "--id", alive, *flags,
                            says=[f"{alive} is not among the dead of 'receipts'", f"`jobq job show {alive}`"])
        self.assertEqual(self.space.queue("receipts")["dead"], 3)

    def test_lines_that_are_no_jobs_are_refused_one_by_one(self):
        done = self.expect(REFUSED, "enqueue", "q", "--jobs", stdin='{"body":"a"}\nnonsense\n{"body":7}\n{"body":"b"}\n',
                           says=["line 2", "not a JSON object", "line 3", "'body' must be a text"])
        ids = done.stdout.split()
        self.assertEqual((ids[1], ids[2], len(ids)), ("-", "-", 4))
        self.assertEqual(self.space.queue("q")["ready"], 2)

    def test_nonsense(self):
        self.enqueue("q")
        for arguments, says in [
            (["dead", "export", "q", "--limit", "0"], "--limit: '0' is not a whole number from 1 on"),
            (["dead", "export", "q", "--min-age", "x"], "--min-age"),
            (["dead", "redrive", "q", "--rate", "abc"], "--rate: 'abc' is not a whole number"),
            (["dead", "redrive", "q", "--id", "42"], "--id: '42' is not a job id"),
            (["dead", "show", "q", "42"], "not a job id"),
            (["enqueue", "q", "--jobs", "--lines"], "one of them"),
            (["enqueue", "q", "--jobs", "--key", "k"], "unique_key"),
        ]:
            with self.subTest(arguments):
                self.expect(USAGE, *arguments, says=says)


class Tasks(LiveCase):
    def begin(self, jobs=40, rate=1):
        self.make_dead("receipts", [f"550 no mailbox {number}" for number in range(jobs)])
        return self.space.jobq_json("dead", "redrive", "receipts", "--rate", rate, "--background")["task"]["task"]

    def test_a_task_is_watched_listed_and_cancelled(self):
        self.expect(OK, "task", "ls", says="no tasks")
        task = self.begin()
        self.expect(OK, "task", "ls", says=["redrive", "receipts", "running"])
        self.expect(OK, "task", "cancel", task, says=f"task {task} was cancelled")
        self.expect(OK, "task", task, says="was cancelled")
        row = self.space.jobq_json("task", "ls")["tasks"][0]
        self.assertEqual((row["state"], row["to_scan"], row["rate"]), ("cancelled", 40, 1))
        dead = self.space.queue("receipts")["dead"]
        self.assertGreater(dead, 0)
        self.assertEqual(row["moved"], 40 - dead)
        self.expect(OK, "task", "cancel", task, says="was cancelled")
        self.expect(REFUSED, "task", "cancel", "99", says=["task 99", "jobq task ls"])

    def test_a_task_goes_on_after_the_broker_was_killed(self):
        task = self.begin(jobs=12, rate=4)
        wait_until(lambda: self.space.queue("receipts")["ready"] > 0, "the task has begun")
        self.broker.kill()
        self.broker.start()
        watched = self.expect(OK, "task", task, says="12 of 12 dead jobs looked at are ready again")
        self.assertEqual(watched.stderr, "")
        row = self.space.queue("receipts")
        self.assertEqual((row["dead"], row["ready"]), (0, 12))

    def test_ctrl_c_stops_watching_and_not_the_task(self):
        task = self.begin(jobs=20, rate=1)
        child = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "task", str(task)],
                                 stdout=subprocess.PIPE, text=True)
        wait_until(lambda: self.space.jobq_json("task", "ls")["tasks"][0]["moved"] > 1, "the task moves")
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=20)
        if child.returncode == -signal.SIGINT:
            return  # It had not yet begun to watch: nothing to say.
        self.assertEqual(child.returncode, INTERRUPTED)
        self.assertIn(f"task {task} goes on in the broker", out)
        self.assertEqual(self.space.jobq_json("task", "ls")["tasks"][0]["state"], "running")

    def test_nonsense(self):
        for arguments, says in [(["task"], "which task?"), (["task", "x"], "TASK"), (["task", "-1"], ""),
                                (["task", "cancel"], "TASK"), (["task", "cancel", "0"], "'0' is not the number")]:
            with self.subTest(arguments):
                self.expect(USAGE, *arguments, says=says)


if __name__ == "__main__":
    unittest.main()

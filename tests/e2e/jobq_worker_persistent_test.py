#!/usr/bin/python3
"""jobq-worker --persistent: one process per slot, jobs as lines, and everything that such a process can do wrong."""

import json
import os
import pathlib
import signal
import textwrap
import unittest

from jobq_worker_test import WorkerCase, children_of, guardians_of, lives
from processes import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
THUMBNAILS = ROOT / "examples" / "persistent" / "thumbnails.py"

# What each test puts in the middle: `job` is there, answer(outcome, ...) sends.
FRAME = """
import base64, json, os, signal, sys
def answer(outcome, **more):
    print(json.dumps({"job": job["job"], "outcome": outcome, **more}), flush=True)
def note(text):
    with open(NOTES, "a") as notes:
        notes.write(f"{text}\\n")
note(f"start {os.getpid()} {os.environ['JOBQ_PROTOCOL']}")
for line in sys.stdin:
    job = json.loads(line)
    body = job.get("body", "")
    {middle}
"""


class Persistent(WorkerCase):
    def setUp(self):
        super().setUp()
        self.space.jobq("queue", "set", "q", "backoff_min=10ms", "backoff_max=100ms").check_returncode()
        self.notes = self.file("notes")

    def begin(self, middle, *arguments):
        script = self.file("work.py")
        middle = textwrap.indent(textwrap.dedent(middle), "    ").strip()
        script.write_text(f"NOTES = {str(self.notes)!r}\n" + FRAME.replace("{middle}", middle))
        return self.worker("--queue", "q", "--persistent", *arguments, "--", "/usr/bin/python3", script)

    def noted(self, word):
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.split()[1:] for line in lines if line.split()[0] == word]

    def last_error(self, job):
        rows = self.space.jobq_json("job", "show", job)["attempts"]
        return rows[-1]["error"] if rows else ""

    def test_one_process_does_job_after_job_and_ends_with_its_input(self):
        worker = self.begin("answer('ack')")
        wait_until(lambda: self.noted("start"), "the process is started before there is a job")
        for _ in range(20):
            self.enqueue("x")
        self.wait_count("acked_total", 20)
        self.assertEqual(self.noted("start"), [[self.noted("start")[0][0], "1"]])
        self.assertEqual(worker.stop(), 0, worker.output())
        self.assertFalse(lives(int(self.noted("start")[0][0])))

    def test_the_line_tells_all_about_the_job(self):
        self.begin("note('job ' + line); answer('ack')", "--max-run", "1h")
        job = self.enqueue("\xe4 \"quoted\"\nlines", type="T", header="Trace-Id=7f", priority="3")
        self.wait_count("acked_total", 1)
        told = json.loads(self.notes.read_text().split("job ", 1)[1])
        self.assertAlmostEqual(told.pop("deadline") - told.pop("enqueued_at"), 3600, delta=60)
        self.assertEqual(told, {"job": job, "queue": "q", "type": "T", "attempt": 1, "max_attempts": 25, "priority": 3,
                                "headers": [["Trace-Id", "7f"]], "body": "\xe4 \"quoted\"\nlines"})

    def test_a_large_binary_body_arrives(self):
        self.begin("note(len(base64.b64decode(job['body_base64']))); answer('ack')")
        body = self.file("body")
        body.write_bytes(bytes(range(256)) * 4000)
        self.space.jobq("enqueue", "q", "--body-file", body).check_returncode()
        self.wait_count("acked_total", 1)
        self.assertIn("1024000", self.notes.read_text())

    def test_each_outcome(self):
        worker = self.begin("""
            if body == "nack" and job["attempt"] == 1: answer("nack", error="451 later", delay_ms=10)
            elif body == "reject": answer("reject", error="550 never")
            elif body == "snooze" and not os.path.exists(NOTES + ".snoozed"):
                open(NOTES + ".snoozed", "w").close(); answer("snooze", delay_ms=10)
            elif body == "release" and not os.path.exists(NOTES + ".released"):
                open(NOTES + ".released", "w").close(); answer("release")
            else: answer("ack")
        """)
        jobs = {body: self.enqueue(body) for body in ("nack", "reject", "snooze", "release", "ack")}
        self.wait_count("acked_total", 4)
        self.assertIn("attempt 1 failed after", worker.output())
        self.assertIn(": 451 later\n", worker.output())
        self.assertEqual((self.job(jobs["reject"])["state"], self.last_error(jobs["reject"])), ("dead", "550 never"))
        self.assertEqual(len(self.noted("start")), 1)

    def test_a_crash_is_a_failed_attempt_of_its_job_and_of_no_other(self):
        worker = self.begin("""
            if body == "crash" and job["attempt"] < 3:
                print("about to crash", file=sys.stderr); os.kill(os.getpid(), signal.SIGSEGV)
            answer("ack")
        """)
        for _ in range(3):
            self.enqueue("fine")
        crash = self.enqueue("crash")
        for _ in range(3):
            self.enqueue("fine")
        self.wait_count("acked_total", 7)
        self.assertEqual(len(self.noted("start")), 3)
        for attempt in (1, 2):
            self.assertRegex(worker.output(), rf"{crash} \(q\) attempt {attempt} failed after .*: the persistent process ended "
                                              r"without an answer: killed by SIGSEGV.*: about to crash")
        self.assertEqual(self.count("failed_total"), 2)
        self.assertEqual(worker.stop(), 0)

    def test_an_answer_with_the_last_breath_counts_and_the_next_job_goes_to_another_process(self):
        self.begin("answer('ack'); sys.exit(3)")
        for _ in range(10):
            self.enqueue("x")
        self.wait_count("acked_total", 10)
        self.assertEqual(self.count("failed_total"), 0)

    def test_a_program_that_cannot_start_is_tried_with_growing_pauses(self):
        worker = self.worker("--queue", "q", "--persistent", "--", "sh", "-c", f"echo start >> {self.notes}; exit 1")
        wait_until(lambda: len(self.noted("start")) >= 4, "it was tried four times")
        self.assertLess(len(self.noted("start")), 8)
        self.assertIn("exit code 1", worker.output())
        self.assertEqual(worker.stop(), 0)

    def test_a_job_that_no_process_reads_is_not_spent(self):
        worker = self.worker("--queue", "q", "--persistent", "--", "sh", "-c", "sleep 0.05")
        job = self.enqueue("x")
        wait_until(lambda: "no persistent process takes it" in worker.output(), "it is said")
        self.assertEqual(self.count("failed_total"), 0)
        self.assertEqual(self.job(job)["attempt"], 1)

    def test_answers_that_are_none_are_named_and_cost_an_attempt(self):
        worker = self.begin("""
            if job["attempt"] == 1 and body == "print": print("processing", flush=True); signal.pause()
            if job["attempt"] == 1 and body == "other": print('{"job":"j0","outcome":"ack"}', flush=True); signal.pause()
            if job["attempt"] == 1 and body == "endless": sys.stdout.write("x" * 100000); sys.stdout.flush(); signal.pause()
            if job["attempt"] == 1 and body == "close": os.close(1); signal.pause()
            answer("ack")
        """)
        jobs = {body: self.enqueue(body) for body in ("print", "other", "endless", "close")}
        self.wait_count("acked_total", 4)
        for body, words in (("print", "'processing' is no JSON object"), ("other", "is not about " + jobs["other"]),
                            ("endless", "more than 65536 bytes"), ("close", "closed its stdout")):
            self.assertRegex(worker.output(), rf"{jobs[body]} \(q\) attempt 1 failed after .*{words}")

    def test_words_after_the_answer_cost_the_process_and_not_the_job(self):
        worker = self.begin("answer('ack'); print('and another thing', flush=True)")
        for _ in range(3):
            self.enqueue("x")
        self.wait_count("acked_total", 3)
        wait_until(lambda: "is replaced" in worker.output(), "it is said")
        self.assertEqual(self.count("failed_total"), 0)

    def test_a_time_limit_ends_the_process_and_the_next_job_has_a_new_one(self):
        worker = self.begin("""
            if job["attempt"] == 1 and body == "slow":
                signal.signal(signal.SIGTERM, signal.SIG_IGN); os.system("sleep 300 &"); signal.pause(); signal.pause()
            answer("ack")
        """, "--max-run", "2s", "--kill-after", "200ms")
        self.enqueue("slow")
        self.wait_count("acked_total", 1)
        self.assertIn("ran longer than 2s (--max-run) and was ended by SIGKILL", worker.output())
        self.assertEqual(len(self.noted("start")), 2)
        wait_until(lambda: len(children_of(worker.child.pid)) == 2, "only the guardian and one process are left")

    def test_what_it_says_of_a_job_counts_also_after_sigterm(self):
        self.begin("""
            def give_up(*_): answer("reject", error="gave up in time"); sys.exit(0)
            signal.signal(signal.SIGTERM, give_up); signal.pause()
        """, "--max-run", "1s")
        job = self.enqueue("x")
        self.wait_count("dead", 1)
        self.assertEqual(self.last_error(job), "gave up in time")

    def test_an_idle_process_that_dies_is_replaced_and_buried(self):
        worker = self.begin("answer('ack')", "--concurrency", "2")
        wait_until(lambda: len(self.noted("start")) == 2, "both are started")
        os.kill(int(self.noted("start")[0][0]), signal.SIGKILL)
        wait_until(lambda: len(self.noted("start")) == 3, "a third is started")
        wait_until(lambda: all(lives(child) for child in children_of(worker.child.pid)), "no zombie is left")
        self.enqueue("x")
        self.wait_count("acked_total", 1)

    def test_recycling_costs_no_job(self):
        worker = self.begin("answer('ack')", "--recycle-after", "5")
        for _ in range(23):
            self.enqueue("x")
        self.wait_count("acked_total", 23)
        self.assertEqual((len(self.noted("start")), self.count("failed_total")), (5, 0))
        self.assertEqual(worker.stop(), 0)

    def test_a_drain_lets_the_job_end_and_then_the_processes(self):
        worker = self.begin("""
            note("running")
            open(NOTES + ".go").read()
            answer("ack")
        """, "--concurrency", "3")
        os.mkfifo(f"{self.notes}.go")
        self.enqueue("x")
        wait_until(lambda: "running" in (self.notes.read_text() if self.notes.exists() else ""), "the job runs")
        worker.send(signal.SIGTERM)
        wait_until(lambda: "stopping" in worker.output(), "the drain has begun")
        pathlib.Path(f"{self.notes}.go").write_text("go")
        self.assertEqual(worker.wait(), 0, worker.output())
        self.assertEqual(self.count("acked_total"), 1)
        self.assertFalse(any(lives(int(started[0])) for started in self.noted("start")))

    def test_a_second_signal_hands_back_at_once(self):
        worker = self.begin("note('running'); signal.pause()", "--concurrency", "2")
        job = self.enqueue("x")
        wait_until(lambda: "running" in (self.notes.read_text() if self.notes.exists() else ""), "the job runs")
        self.twice(worker, signal.SIGINT)
        self.assertEqual(worker.wait(), 0, worker.output())
        self.assertEqual((self.count("ready"), self.job(job)["attempt"]), (1, 1))
        self.assertFalse(any(lives(int(started[0])) for started in self.noted("start")))

    def test_kill_9_takes_the_processes_along(self):
        worker = self.begin("answer('ack')", "--concurrency", "2")
        wait_until(lambda: len(self.noted("start")) == 2, "both are started")
        self.assertEqual(len(guardians_of(worker.child.pid)), 1)
        worker.kill()
        wait_until(lambda: not any(lives(int(started[0])) for started in self.noted("start")), "they are dead")

    def test_the_example(self):
        worker = self.worker("--queue", "q", "--concurrency", "2", "--persistent", "--", "/usr/bin/python3", THUMBNAILS,
                             self.space.directory)
        self.enqueue('{"picture": "cat.jpg", "width": 100}')
        self.space.jobq("enqueue", "q", "--body-file", "-", stdin='{"picture": "uploading-dog.jpg", "width": 50}').check_returncode()
        wrong = self.enqueue('{"pitcure": "cat.jpg"}')
        broken = self.enqueue("no JSON at all", max_attempts="1")
        self.wait_count("acked_total", 1)
        self.wait_count("dead", 2)
        self.assertIn("cat.jpg at 100 pixels", self.file("cat.jpg.100.thumb").read_text())
        self.assertIn("not an order for a thumbnail", self.last_error(wrong))
        self.assertIn("JSONDecodeError", self.last_error(broken))
        self.assertIn("Traceback", worker.output())
        self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    unittest.main()

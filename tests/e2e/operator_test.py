#!/usr/bin/python3
"""What an operator does at three in the morning, against a real broker: one job, dead jobs, tasks, workers, queues."""

import json
import signal
import subprocess
import threading
import unittest

import python_client
from cli_test import INTERRUPTED, OK, REFUSED, USAGE, LiveCase
from processes import program, wait_until

NO_INPUT = 66


def number_of(job):
    """Ids count up."""
    return int(job[1:], 36)


class OneJob(LiveCase):
    def test_why_names_the_reason_and_the_remedy(self):
        number = self.enqueue("receipts", "x", "--type", "mail")
        self.expect(OK, "job", "why", number, says=[f"{number} is ready in 'receipts' (type mail)",
                                                    "no worker serves queue 'receipts'", "-> start a worker"])
        self.expect(OK, "queue", "pause", "receipts")
        self.expect(OK, "job", "why", number, says=["queue 'receipts' is paused", "`jobq queue resume receipts`"])
        self.expect(OK, "queue", "resume", "receipts")
        sms = self.worker(["receipts"], types=["sms"])
        self.expect(OK, "job", "why", number, says="1 worker serves queue 'receipts', and none of them takes type 'mail'")
        sms.goodbye()
        worker = self.worker(["receipts"], name="mailer")
        delivery = worker.take_one()
        second = self.enqueue("receipts", "x", "--type", "mail")
        third = self.enqueue("receipts", "x", "--type", "mail")
        self.expect(OK, "job", "why", number, says=["leased to mailer@", "attempt 1 of 25", "since", "until"])
        self.expect(OK, "job", "why", second, says=["the 1 worker that takes it is full: 1 of 1 slots are in use",
                                                    "start more workers"])
        self.expect(OK, "job", "why", third, says="1 ready job goes before it")
        worker.settle(delivery, python_client.NACK, "550 no such mailbox")
        self.expect(OK, "job", "why", number, says=['it waits after failure 1 of 25: "550 no such mailbox", until',
                                                    f"`jobq job retry {number}` runs it now"])
        self.expect(OK, "job", "why", self.enqueue("later", "x", "--delay", "1h"),
                    says=["not to run before its time, until", "no worker serves queue 'later'"])

    def test_why_of_jobs_that_will_not_run(self):
        number = self.make_dead("receipts", ["550 no such mailbox"])[0]
        self.expect(OK, "job", "why", number, says=['it is dead: its worker rejected it: "550 no such mailbox"',
                                                    f"`jobq job retry {number}`"])
        self.expect(OK, "job", "cancel", number)
        self.expect(OK, "job", "why", number, says="it has left: cancelled")
        self.expect(REFUSED, "job", "why", "jzzz", says="there is no job jzzz")
        document = self.space.jobq_json("job", "why", self.enqueue("q"))
        self.assertEqual(document["why"][0]["kind"], "no_worker")
        self.assertEqual(set(document["why"][0]), {"kind", "text", "remedy", "since", "until"})

    def test_a_timeline_looks_ahead_too(self):
        number = self.enqueue("q", "x", "--delay", "1h", "--expires", "1d")
        shown = self.expect(OK, "job", "show", number, says=["not to run before its time", "will be ready",
                                                             "expires, if it has not begun"]).stdout
        story = shown[shown.index("what happened"):]
        self.assertLess(story.index("enqueued"), story.index("now"))
        self.assertLess(story.index("now"), story.index("will be ready"))
        self.assertLess(story.index("will be ready"), story.index("expires"))

    def test_retry_ends_a_wait_and_brings_back_the_dead(self):
        number = self.enqueue("q", "x", "--delay", "1h")
        self.expect(OK, "job", "retry", number, says="was scheduled and is ready now")
        self.expect(OK, "job", "retry", number, says="was ready already")
        worker = self.worker(["q"])
        delivery = worker.take_one()
        self.expect(REFUSED, "job", "retry", number, says="is running already")
        worker.settle(delivery, python_client.REJECT, "no")
        self.expect(OK, "job", "retry", number, says="was dead and is ready again")
        worker.ack(worker.take_one())
        self.expect(REFUSED, "job", "retry", number, says="has left the broker")
        self.assertEqual(self.space.queue("q")["acked_total"], 1)

    def test_snooze_puts_off(self):
        number = self.enqueue("q")
        self.expect(OK, "job", "snooze", number, "--for", "2h", says="is put off until")
        self.assertEqual(self.job(number)["state"], "scheduled")
        self.expect(OK, "job", "snooze", number, "--until", "2030-06-01T12:00:00Z", says="2030-06-01")
        self.assertEqual(self.space.jobq_json("job", "snooze", number, "--for", "300ms")["job"]["state"], "scheduled")
        self.assertEqual(self.worker(["q"]).take_one().job, number)
        self.expect(REFUSED, "job", "snooze", number, "--for", "1h", says="is running")
        self.expect(REFUSED, "job", "snooze", self.enqueue("q", "x", "--expires", "1m"), "--for", "1h", says="expires in")
        self.expect(REFUSED, "job", "snooze", number.replace("j", "jz"), "--until", "2020-01-01T00:00:00Z",
                    says="there is no job")

    def test_nonsense(self):
        number = self.enqueue("q")
        for arguments, says in [
            (["job", "why", "nonsense"], "is not a job id"),
            (["job", "retry", "42"], "is not a job id"),
            (["job", "snooze", number], "--for SPAN"),
            (["job", "snooze", number, "--for", "1h", "--until", "2030-01-01"], "either"),
            (["job", "snooze", number, "--for", "soon"], "--for: 'soon'"),
            (["job", "snooze", number, "--for", "0"], "`jobq job retry`"),
            (["job", "snooze", number, "--for", "-5m"], "--for"),
            (["job", "snooze", number, "--until", "tomorrow"], "--until: 'tomorrow'"),
            (["task"], "which task?"), (["task", "x"], "TASK"), (["task", "-1"], ""), (["task", "cancel"], "TASK"),
            (["task", "cancel", "0"], "'0' is not the number"), (["worker", "drain"], "WORKER"),
            (["dead", "export", "q", "--limit", "0"], "--limit: '0' is not a whole number from 1 on"),
            (["dead", "redrive", "q", "--rate", "abc"], "--rate: 'abc' is not a whole number"),
            (["dead", "redrive", "q", "--id", "42"], "--id: '42' is not a job id"), (["dead", "show", "q", "42"], "not a job id"),
            (["dead", "export", "q", "--min-age", "x"], "--min-age"),
            (["enqueue", "q", "--jobs", "--lines"], "one of them"), (["enqueue", "q", "--jobs", "--key", "k"], "unique_key"),
        ]:
            with self.subTest(arguments):
                self.expect(USAGE, *arguments, says=says)
        self.expect(REFUSED, "job", "snooze", number, "--for", "5000w", says="out of range")
        self.assertEqual(self.job(number)["state"], "ready")


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


class Workers(LiveCase):
    def test_a_worker_is_shown_with_its_jobs(self):
        worker = self.worker(["receipts"], credit=3, name="mailer")
        number = self.enqueue("receipts", "x", "--type", "mail")
        worker.take_one()
        session = self.space.jobq_json("worker", "ls")["workers"][0]["session"]
        for name in ("mailer", session, self.space.jobq_json("worker", "ls")["workers"][0]["worker"]):
            self.expect(OK, "worker", "show", name, says=["mailer@", "1 of 3 slots busy", number, "mail", "receipts"])
        self.assertEqual(self.space.jobq_json("worker", "show", "mailer")["jobs"][0]["id"], number)
        self.expect(REFUSED, "worker", "show", "mail", says=["'mail'", "jobq worker ls"])

    def test_a_worker_that_cannot_be_asked_gets_no_more_jobs(self):
        worker = self.worker(["receipts"], credit=1, name="old")
        self.enqueue("receipts")
        delivery = worker.take_one()
        self.expect(OK, "worker", "drain", "old", says=["gets no more jobs and has 1 job left to finish", "SIGTERM"])
        worker.ack(delivery)
        self.enqueue("receipts")
        self.assertTrue(worker.connection.silent(0.3))
        self.expect(OK, "worker", "ls", says="draining")
        self.expect(OK, "stats", says="receipts")

    def test_a_worker_that_is_asked_finishes_and_leaves(self):
        go_on = self.space.directory / "go-on"
        worker = self.space.start("worker", program("JOBQ_WORKER"), "--endpoint", self.space.endpoint, "--queue", "receipts",
                                  "--", "sh", "-c", f"while ! [ -e {go_on} ]; do sleep 0.05; done")
        self.enqueue("receipts")
        wait_until(lambda: (self.space.queue("receipts") or {}).get("leased") == 1, "the job runs")
        row = self.space.jobq_json("worker", "ls")["workers"][0]
        self.assertIs(row["drains_on_request"], True)
        self.expect(OK, "worker", "show", row["session"], says=["on request", "working"])
        self.expect(OK, "worker", "drain", row["session"], says="takes no more jobs; it leaves when it has finished 1 job")
        later = self.enqueue("receipts")
        self.expect(OK, "job", "why", later, says="will finish what they have and take nothing more")
        self.assertTrue(worker.running())
        go_on.touch()
        self.assertEqual(worker.wait(), OK)
        self.assertIn("asks this worker to leave", worker.output())
        wait_until(lambda: self.space.jobq_json("worker", "ls")["workers"] == [], "its session is over")
        row = self.space.queue("receipts")
        self.assertEqual((row["acked_total"], row["ready"], row["leased"]), (1, 1, 0))

    def test_a_drain_can_be_waited_for(self):
        self.space.start("worker", program("JOBQ_WORKER"), "--endpoint", self.space.endpoint, "--queue", "receipts", "--", "true")
        wait_until(lambda: self.space.jobq_json("worker", "ls")["workers"], "the worker is there")
        name = self.space.jobq_json("worker", "ls")["workers"][0]["worker"].partition("@")[0]
        self.expect(OK, "worker", "drain", name, "--wait")
        self.assertEqual(self.space.jobq_json("worker", "ls")["workers"], [])

    def test_a_name_that_fits_several_is_not_guessed(self):
        workers = [self.worker(["receipts"], name="mailer") for _ in range(2)]
        self.expect(REFUSED, "worker", "drain", "mailer", says=["names 2 workers", "--all"])
        self.expect(OK, "worker", "drain", "mailer", "--all")
        self.assertEqual([row["draining"] for row in self.space.jobq_json("worker", "ls")["workers"]], [True, True])
        for worker in workers:
            worker.goodbye()
        self.expect(REFUSED, "worker", "drain", "mailer", says="no worker is called 'mailer'")


class RemovingQueues(LiveCase):
    def test_a_queue_goes_when_it_is_empty_and_nobody_serves_it(self):
        self.make_dead("old", ["no"])
        self.enqueue("old")
        self.enqueue("old", "x", "--delay", "1h")
        self.expect(REFUSED, "queue", "rm", "old", says=["2 waiting jobs and 1 dead job", "--with-jobs", "--yes"])
        self.expect(REFUSED, "queue", "rm", "old", "--yes", says=["1 ready, 1 scheduled, 0 leased, 1 dead", "purge"])
        worker = self.worker(["old", "new"], name="mailer")
        delivery = worker.take_one()
        self.expect(REFUSED, "queue", "rm", "old", "--with-jobs", "--yes", says="1 leased")
        worker.ack(delivery)
        self.expect(REFUSED, "queue", "rm", "old", "--with-jobs", "--yes", says=["1 worker serves queue 'old'", "mailer@"])
        worker.goodbye()
        self.expect(OK, "queue", "rm", "old", "--with-jobs", "--yes", says="the queue 'old' is removed")
        self.expect(REFUSED, "queue", "show", "old", says="no queue is called 'old'")
        self.expect(REFUSED, "queue", "rm", "old", "--yes", says="no queue is called 'old'")

    def test_it_stays_away_after_a_restart_and_the_store_is_sound(self):
        for number in range(3):
            self.enqueue("old", f"body {number}")
        self.expect(OK, "queue", "set", "old", "history_count=10")
        self.expect(OK, "queue", "rm", "old", "--with-jobs", "--yes")
        kept = self.enqueue("kept")
        self.broker.kill()
        self.broker.start()
        self.assertEqual([row["name"] for row in self.space.jobq_json("queue", "ls")["queues"]], ["kept"])
        self.assertEqual(self.job(kept)["state"], "ready")
        self.broker.stop()
        self.expect(OK, "check", self.space.directory / "data", says="no problems")

    def test_jobs_that_were_put_off_and_brought_back_leave_a_sound_store(self):
        ids = self.make_dead("q", ["no"])
        self.expect(OK, "job", "retry", ids[0])
        numbers = [self.enqueue("q", f"body {number}") for number in range(5)]
        self.expect(OK, "job", "snooze", numbers[0], "--for", "1h")
        self.expect(OK, "job", "snooze", numbers[1], "--until", "2030-01-01T00:00:00Z")
        self.expect(OK, "job", "snooze", numbers[2], "--for", "1h")
        self.expect(OK, "job", "retry", numbers[2])
        self.broker.kill()
        self.broker.start()
        row = self.space.queue("q")
        self.assertEqual((row["ready"], row["scheduled"], row["dead"]), (4, 2, 0))
        self.assertEqual(len(self.worker(["q"], credit=9).take_many(4)), 4)
        self.broker.stop()
        self.expect(OK, "check", self.space.directory / "data", says="no problems")


class Events(LiveCase):
    def follow(self, *arguments):
        """A follower, once it is known to follow."""
        child = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "events", "--follow", "--json",
                                  *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.kill)
        return child

    def until_followed(self, child, queue, since="j0"):
        """Makes jobs until the follower shows one that was made after `since`: from then on it misses nothing."""
        shown = []

        def read():
            while not shown or number_of(shown[-1]["job"]) <= number_of(since):
                shown.append(json.loads(child.stdout.readline()))

        reader = threading.Thread(target=read)
        reader.start()
        while reader.is_alive():
            self.enqueue(queue)
            reader.join(0.1)
        return shown[-1]

    def test_a_life_is_followed(self):
        self.expect(OK, "queue", "set", "q", "backoff_min=1ms", "backoff_max=1ms")
        child = self.follow()
        first = self.until_followed(child, "warm")
        self.assertEqual((first["event"], first["queue"]), ("enqueued", "warm"))
        number = self.enqueue("q", "x", "--type", "mail")
        worker = self.worker(["q"], name="mailer")
        worker.settle(worker.take_one(), python_client.NACK, "421 try again")
        worker.settle(worker.take_one(), python_client.REJECT, "550 no such mailbox")
        self.expect(OK, "job", "retry", number)
        worker.ack(worker.take_one())
        seen = []
        while not seen or seen[-1]["event"] != "acked":
            event = json.loads(child.stdout.readline())
            if event["job"] == number:
                seen.append(event)
        self.assertEqual([event["event"] for event in seen],
                         ["enqueued", "leased", "failed", "due", "leased", "dead", "redriven", "leased", "acked"])
        self.assertEqual({(event["queue"], event["type"]) for event in seen}, {("q", "mail")})
        self.assertTrue(seen[1]["worker"].startswith("mailer@"))
        self.assertEqual((seen[2]["error"], seen[2]["attempt"]), ("421 try again", 1))
        self.assertEqual((seen[5]["reason"], seen[5]["error"]), ("rejected", "550 no such mailbox"))
        self.assertEqual([event["seq"] for event in seen], sorted(event["seq"] for event in seen))
        child.terminate()
        self.assertEqual(child.wait(20), OK)

    def test_filters_and_ends(self):
        child = self.follow("--queue", "q", "--event", "enqueued,dead", "--limit", "2")
        self.until_followed(child, "q")
        self.make_dead("other", ["no"])
        self.enqueue("q")
        rest = child.stdout.read().splitlines()  # With what readline() has read ahead, which communicate() would not see.
        self.assertEqual([json.loads(line)["queue"] for line in rest], ["q"])
        self.assertEqual(child.wait(60), OK)
        self.assertEqual(self.expect(OK, "events", "--for", "300ms").stdout, "")
        self.expect(REFUSED, "events", "--event", "fialed", "--for", "1s", says=["'fialed'", "failed"])
        self.expect(USAGE, "events", "--job", "42", says="is not a job id")
        self.expect(USAGE, "events", "--for", "soon", says="--for")
        self.expect(OK, "events", "--queue", "recipts", "--for", "300ms", says="no queue is called 'recipts' yet")

    def test_a_restart_of_the_broker_is_said_and_followed_over(self):
        child = self.follow("--queue", "q")
        self.until_followed(child, "q")
        self.broker.kill()
        self.broker.start()
        self.until_followed(child, "q", since=self.enqueue("other"))
        child.terminate()
        self.assertIn("is not known", child.communicate(timeout=60)[1])


if __name__ == "__main__":
    unittest.main()

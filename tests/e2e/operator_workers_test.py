#!/usr/bin/python3
"""How an operator gets a worker or a queue out of the way, against a real broker: show, drain, rm."""

import unittest

from cli_test import OK, REFUSED, USAGE, LiveCase
from processes import program, wait_until


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

    def test_nonsense(self):
        self.expect(USAGE, "worker", "drain", says="WORKER")


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


if __name__ == "__main__":
    unittest.main()

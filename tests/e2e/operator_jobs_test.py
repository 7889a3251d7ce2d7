#!/usr/bin/python3
"""What an operator asks of one job and does to it, against a real broker: why, show, retry, snooze."""

import unittest

import python_client
from cli_test import OK, REFUSED, USAGE, LiveCase


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
        ]:
            with self.subTest(arguments):
                self.expect(USAGE, *arguments, says=says)
        self.expect(REFUSED, "job", "snooze", number, "--for", "5000w", says="out of range")
        self.assertEqual(self.job(number)["state"], "ready")


if __name__ == "__main__":
    unittest.main()

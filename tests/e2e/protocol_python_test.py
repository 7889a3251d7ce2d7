#!/usr/bin/python3
"""The broker as a stranger meets it: greeted, given jobs and administered over the wire by a client written from
docs/protocol.md."""

import pathlib
import re
import time
import unittest

import msgpack
import python_client as wire
from processes import wait_until
from python_client import job
from wire_case import WireTest


class Greeting(WireTest):
    def test_welcome_says_what_the_broker_takes(self):
        connection = self.connection()
        self.assertEqual((connection.version, connection.features), (1, 0))
        self.assertEqual(len(connection.incarnation), 16)
        self.assertTrue(connection.broker.startswith("jobq-broker "))
        self.assertEqual(connection.body_bytes_max, 1 << 20)
        self.assertEqual(connection.message_bytes_max, 8 << 20)
        self.assertEqual(connection.jobs_per_message_max, 10_000)
        self.assertGreater(connection.heartbeat_ms, 0)
        self.assertEqual(self.connection().incarnation, connection.incarnation)

    def test_versions_are_negotiated(self):
        connection = self.connection(greet=False)
        self.assert_refused(wire.UNSUPPORTED_VERSION, connection.hello, 2, 9)
        self.assertEqual(connection.hello(0, 9)[0], 1)

    def test_nothing_goes_before_hello(self):
        connection = self.connection(greet=False)
        self.assert_refused(wire.NOT_GREETED, connection.admin, "ping")
        for kind, fields in ((wire.REGISTER, (None, None, [["q"]], [], 1, 0, [], [], "", "", 0, "")),
                             (wire.ENQUEUE, (None, 1, 1, False, [["q", [job(b"x")]]])),
                             (wire.OUTCOMES, ([],)), (wire.HEARTBEAT, ([],)), (wire.GOODBYE, ())):
            self.assert_refused(wire.NOT_GREETED, connection.request, kind, kind + 1, *fields)
        connection.hello()
        self.assertEqual(connection.admin("ping"), {})

    def test_unknown_requests_and_verbs_are_named(self):
        connection = self.connection()
        self.assert_refused(wire.UNKNOWN_VERB, connection.request, 63, 64)
        self.assert_refused(wire.UNKNOWN_VERB, connection.admin, "make.coffee")


class Enqueueing(WireTest):
    def test_a_job_reaches_a_worker_as_it_was_sent(self):
        job_id, = self.enqueue(job(b"\x00body\xff", "receipt", headers={"trace": "7f", "": ""}, priority=7, max_attempts=3,
                                   max_run_ms=60_000))
        self.assertLessEqual(len(job_id), 16)
        self.assertTrue(job_id.isprintable())
        worker = self.worker()
        delivery = worker.take_one()
        self.assertEqual((delivery.job, delivery.lease_no, delivery.attempt, delivery.max_attempts), (job_id, 1, 1, 3))
        self.assertEqual((delivery.queue, delivery.type, delivery.body), (self.queue, "receipt", b"\x00body\xff"))
        self.assertEqual((delivery.headers, delivery.priority), ({"trace": "7f", "": ""}, 7))
        self.assertEqual((delivery.lease_ms, delivery.max_run_ms), (30_000, 60_000))
        self.assertAlmostEqual(delivery.enqueued_at / 1000, time.time(), delta=60)
        self.assertEqual(self.counts()["leased"], 1)
        self.assertEqual(worker.ack(delivery), wire.SETTLED)
        self.assertEqual(self.counts(), {"ready": 0, "leased": 0, "scheduled": 0, "dead": 0, "acked_total": 1})

    def test_bodies_as_str_and_empty_ones_are_taken(self):
        self.enqueue(job("as text"), job(b""))
        worker = self.worker(credit=2)
        self.assertEqual([each.body for each in worker.take_many(2)], [b"as text", b""])

    def test_order_is_priority_then_arrival(self):
        self.enqueue(job(b"a"), job(b"b", priority=0), job(b"c", priority=9), job(b"d"))
        worker = self.worker(credit=4)
        self.assertEqual([each.body for each in worker.take_many(4)], [b"c", b"a", b"d", b"b"])

    def test_what_is_wrong_with_one_job_refuses_that_job(self):
        bad = [
            (job(b"x" * ((1 << 20) + 1)), wire.BODY_TOO_LARGE),
            (job(b"x", headers={"n": "v" * 5000}), wire.HEADERS_TOO_LARGE),
            (job(b"x", "not a type"), wire.BAD_TYPE),
            (job(b"x", priority=10), wire.BAD_PRIORITY),
            (job(b"x", priority=70000), wire.BAD_PRIORITY),
            (job(b"x", delay_ms=-1), wire.BAD_TIME),
            (job(b"x", delay_ms=5, run_at=5), wire.BAD_TIME),
            (job(b"x", expires_in_ms=2**63), wire.BAD_TIME),
            (job(b"x", unique_key="k" * 257), wire.BAD_UNIQUE_KEY),
            (job(b"x", unique_for_ms=5), wire.BAD_UNIQUE_KEY),
            (job(b"x", max_attempts=1001), wire.BAD_ARGUMENT),
        ]
        results = self.producer().enqueue(self.queue, [each for each, _ in bad] + [job(b"good")])
        self.assertEqual([result[:2] for result in results[:-1]], [[wire.REFUSED, code] for _, code in bad])
        self.assertEqual(results[-1][0], wire.CREATED)
        refused = self.producer().enqueue("no such name!", [job(b"x")])
        self.assertEqual(refused, [[wire.REFUSED, wire.BAD_QUEUE_NAME, 0]])

    def test_a_group_is_all_or_nothing(self):
        results = self.producer().enqueue_groups([
            [self.queue, [job(b"a"), job(b"b", priority=11), job(b"c")]],
            [self.queue, [job(b"d"), job(b"e")]],
        ])
        self.assertEqual([result[:2] for result in results[:3]],
                         [[wire.REFUSED, code] for code in (wire.NOT_DONE, wire.BAD_PRIORITY, wire.NOT_DONE)])
        self.assertEqual([result[0] for result in results[3:]], [wire.CREATED, wire.CREATED])
        self.assertEqual(self.counts()["ready"], 2)

    def test_a_full_queue_refuses_and_says_when_to_come_again(self):
        self.connection().admin("queue.set", queue=self.queue, max_jobs=2)
        results = self.producer().enqueue(self.queue, [job(b"1"), job(b"2"), job(b"3")])
        self.assertEqual([result[0] for result in results], [wire.CREATED, wire.CREATED, wire.REFUSED])
        self.assertEqual(results[2][1], wire.QUEUE_FULL)
        self.assertGreater(results[2][2], 0)

    def test_a_unique_key_gives_one_job(self):
        producer = self.producer()
        first, = producer.enqueue(self.queue, [job(b"one", unique_key="k")])
        same, = producer.enqueue(self.queue, [job(b"one", unique_key="k")])
        other, = producer.enqueue(self.queue, [job(b"two", unique_key="k")])
        self.assertEqual(first[0], wire.CREATED)
        self.assertEqual(same, [wire.DUPLICATE, first[1], wire.READY, False])
        self.assertEqual(other, [wire.DUPLICATE, first[1], wire.READY, True])
        worker = self.worker()
        delivery = worker.take_one()
        leased, = producer.enqueue(self.queue, [job(b"one", unique_key="k")])
        self.assertEqual(leased[2], wire.LEASED)
        worker.ack(delivery)
        again, = producer.enqueue(self.queue, [job(b"one", unique_key="k")])
        self.assertEqual(again[0], wire.CREATED)
        self.assertNotEqual(again[1], first[1])

    def test_a_delay_is_waited_for(self):
        worker = self.worker()
        begun = time.monotonic()
        results = self.producer().enqueue(self.queue, [job(b"later", delay_ms=400)])
        self.assertEqual(results[0][2], wire.SCHEDULED)
        worker.take_one()
        self.assertGreaterEqual(time.monotonic() - begun, 0.4)

    def test_a_date_in_the_past_is_now_and_one_to_come_is_waited_for(self):
        worker = self.worker(credit=2)
        now_ms = int(time.time() * 1000)
        results = self.producer().enqueue(self.queue, [job(b"future", run_at=now_ms + 500), job(b"past", run_at=now_ms - 5)])
        self.assertEqual([result[2] for result in results], [wire.SCHEDULED, wire.READY])
        self.assertEqual([each.body for each in worker.take_many(2)], [b"past", b"future"])
        self.assertGreaterEqual(time.time() * 1000, now_ms + 500)

    def test_a_job_that_waits_too_long_expires(self):
        self.enqueue(job(b"old", expires_in_ms=50))
        wait_until(lambda: self.counts()["ready"] == 0, "the job has expired")
        self.enqueue(b"fresh")
        self.assertEqual(self.worker().take_one().body, b"fresh")


class Resending(WireTest):
    def test_a_resend_is_answered_like_the_first_send(self):
        producer = self.producer()
        groups = msgpack.packb([[self.queue, [job(b"a"), job(b"b", delay_ms=3_600_000)]]])
        first = producer.connection.reply(producer.send(1, groups), wire.ENQUEUED)
        again = producer.connection.reply(producer.send(1, groups, resend=True), wire.ENQUEUED)
        self.assertEqual(again, first)
        producer.reconnect()
        self.assertEqual(producer.connection.reply(producer.send(1, groups, resend=True), wire.ENQUEUED), first)
        self.assertEqual((self.counts()["ready"], self.counts()["scheduled"]), (1, 1))

    def test_a_sequence_with_other_content_is_refused(self):
        producer = self.producer()
        producer.connection.reply(producer.send(1, msgpack.packb([[self.queue, [job(b"a")]]])), wire.ENQUEUED)
        other = producer.send(1, msgpack.packb([[self.queue, [job(b"b")]]]), resend=True)
        self.assert_refused(wire.RESEND_MISMATCH, producer.connection.reply, other, wire.ENQUEUED)
        self.assertEqual(self.counts()["ready"], 1)

    def test_what_was_reported_as_answered_is_forgotten(self):
        producer = self.producer()
        groups = msgpack.packb([[self.queue, [job(b"a")]]])
        producer.connection.reply(producer.send(1, groups), wire.ENQUEUED)
        producer.connection.reply(producer.send(2, groups, lowest_open=2), wire.ENQUEUED)
        self.assert_refused(wire.UNKNOWN_PRODUCER, producer.connection.reply, producer.send(1, groups, resend=True),
                            wire.ENQUEUED)

    def test_a_stranger_that_resends_is_told_that_nobody_knows(self):
        producer = self.producer()
        late = producer.send(7, msgpack.packb([[self.queue, [job(b"a")]]]), resend=True)
        self.assert_refused(wire.UNKNOWN_PRODUCER, producer.connection.reply, late, wire.ENQUEUED)

    def test_without_a_producer_every_send_is_a_new_request(self):
        connection = self.connection()
        for _ in range(2):
            sent = connection.request(wire.ENQUEUE, wire.ENQUEUED, None, 1, 1, True, [[self.queue, [job(b"a")]]])
            self.assertEqual(sent[1][0][0], wire.CREATED)
        self.assertEqual(self.counts()["ready"], 2)

    def test_many_requests_may_be_open_at_once(self):
        producer = self.producer()
        groups = msgpack.packb([[self.queue, [job(b"a")]]])
        sent = [(sequence, producer.send(sequence, groups, lowest_open=1)) for sequence in range(1, 5001)]
        ids = set()
        for sequence, request_id in sent:
            answered, results = producer.connection.reply(request_id, wire.ENQUEUED)
            self.assertEqual(answered, sequence)
            ids.add(results[0][1])
        self.assertEqual(len(ids), 5000)


def documented_names(noun):
    """The names that docs/protocol.md gives for a noun of the administration, without those of what is nested in it."""
    document = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    text = re.search(rf"^- {noun}[^:]*: `\{{(.*?)\}}`", document, re.MULTILINE | re.DOTALL).group(1)
    while (flat := re.sub(r"\{[^{}]*\}", "", text)) != text:
        text = flat
    text = re.sub(r':\s*(nil or )?"[^,]*', "", text)  # values that are given as examples
    return set(re.findall(r'"(\w+)"', text))


class Administration(WireTest):
    def assert_names(self, noun, row):
        self.assertEqual(set(row), documented_names(noun), noun)

    def test_documents_have_the_names_that_are_documented(self):
        connection = self.connection()
        dead, = self.enqueue(job(b"dead", "t", headers={"a": "b"}, unique_key="k"))
        worker = self.worker(types=["t"])
        self.settle_one(worker, wire.REJECT, text="never")
        running, = self.enqueue(job(b"running", "t"))
        worker.take_one()

        stats = connection.admin("stats")
        self.assertEqual(set(stats), {"broker", "store", "queues", "problems"})
        self.assert_names("broker", stats["broker"])
        self.assert_names("store", stats["store"])
        row, = (each for each in stats["queues"] if each["name"] == self.queue)
        self.assert_names("QUEUE", row)
        self.assertEqual((row["leased"], row["dead"], row["workers"], row["slots"], row["enqueued_total"]), (1, 1, 1, 1, 2))
        self.assertIn(row, connection.admin("queue.ls")["queues"])
        shown = connection.admin("queue.show", queue=self.queue)
        self.assertEqual(set(shown), {"queue", "settings", "counters"})
        self.assert_names("QUEUE", shown["queue"])
        self.assertEqual(shown["settings"]["lease_ms"], 30_000)

        self.assert_names("WORKER", next(each for each in connection.admin("worker.ls")["workers"]
                                         if each["session"] == worker.session))
        shown = connection.admin("job.show", id=running)
        self.assert_names("JOB", shown["job"])
        self.assertEqual((shown["job"]["state"], shown["job"]["lease"]["lease_no"]), ("leased", 1))
        shown = connection.admin("job.show", id=dead)
        self.assert_names("JOB", shown["job"])
        self.assertEqual((shown["job"]["unique_key"], shown["job"]["headers"], shown["job"]["body"]), ("k", {"a": "b"}, b"dead"))
        self.assertEqual(shown["job"]["dead"]["reason"], "rejected")
        self.assert_names("ATTEMPT", shown["attempts"][0])
        page = connection.admin("dead.ls", queue=self.queue, limit=1)
        self.assertEqual(set(page), {"jobs", "next"})
        self.assert_names("DEAD", page["jobs"][0])
        self.assert_names("TASK", connection.admin("dead.purge", queue=self.queue)["task"])
        wait_until(lambda: self.counts()["dead"] == 0, "the purge is done")
        self.assertEqual(connection.admin("job.show", id=dead)["job"]["exit"], "purged")

    def test_problems_are_named_first(self):
        connection = self.connection()
        self.enqueue(b"nobody comes")
        problem = next(each for each in connection.admin("stats", queue=self.queue)["problems"] if each["queue"] == self.queue)
        self.assert_names("PROBLEM", problem)
        self.assertEqual(problem["kind"], "no_worker")
        self.assertTrue(problem["remedy"])

    def test_what_a_worker_says_comes_back_as_utf8(self):
        dead, = self.enqueue(b"x")
        worker = self.worker()
        delivery = worker.take_one()
        packer = msgpack.Packer()
        frame = packer.pack_array_header(4) + packer.pack(1) + packer.pack(wire.OUTCOMES) + packer.pack(9)
        frame += packer.pack_array_header(1) + packer.pack_array_header(5) + packer.pack(delivery.job)
        frame += packer.pack(delivery.lease_no) + packer.pack(wire.REJECT) + packer.pack(0) + b"\xa4n\xff\xc3o"
        worker.connection.send_frames(frame)
        self.assertEqual(worker.connection.reply(9, wire.OUTCOMES_REPLY), [[wire.SETTLED]])
        shown = self.connection().admin("job.show", id=dead)
        self.assertEqual(shown["attempts"][0]["error"], "n\ufffd\ufffdo")

    def test_settings_are_all_or_none(self):
        connection = self.connection()
        made = connection.admin("queue.set", queue=self.queue, max_attempts=3, paused=True)
        self.assertEqual((made["created"], made["settings"]["max_attempts"], made["settings"]["paused"]), (True, 3, True))
        self.assert_refused(wire.BAD_ARGUMENT, lambda: connection.admin("queue.set", queue=self.queue, max_attempts=4, lease_ms=1))
        self.assert_refused(wire.BAD_ARGUMENT, lambda: connection.admin("queue.set", queue=self.queue, colour=1))
        self.assertEqual(connection.admin("queue.show", queue=self.queue)["settings"]["max_attempts"], 3)

    def test_a_purge_removes_what_waits(self):
        self.enqueue(b"a", job(b"b", delay_ms=3_600_000), b"c")
        worker = self.worker()
        worker.take_one()
        connection = self.connection()
        task = connection.admin("queue.purge", queue=self.queue)["task"]["task"]
        done = wait_until(lambda: (shown := connection.admin("task", task=task)["task"])["state"] == "done" and shown, "it is done")
        self.assertEqual(done["moved"], 2)
        self.assertEqual(self.counts(), {"ready": 0, "leased": 1, "scheduled": 0, "dead": 0, "acked_total": 0})


if __name__ == "__main__":
    unittest.main()

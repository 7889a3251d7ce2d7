#!/usr/bin/python3
"""Every command of `jobq` against a real broker: what it does, what it prints, how it ends."""

import os
import json
import subprocess
import unittest

import python_client
from processes import Workspace, program, wait_until

OK, REFUSED, USAGE, NO_BROKER, TRY_AGAIN, INTERRUPTED = 0, 1, 64, 69, 75, 130


class LiveCase(unittest.TestCase):
    def setUp(self):
        self.space = self.enterContext(Workspace())
        self.broker = self.space.broker()

    def expect(self, code, *arguments, says=(), stdin=""):
        done = self.space.jobq(*arguments, stdin=stdin)
        shown = f"jobq {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        self.assertEqual(done.returncode, code, shown)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, done.stdout + done.stderr, shown)
        return done

    def enqueue(self, queue, body="x", *arguments):
        return self.expect(OK, "enqueue", queue, "--body", body, *arguments).stdout.strip()

    def worker(self, queues, **options):
        worker = python_client.Worker(self.space.endpoint, queues, **options)
        self.addCleanup(worker.close)
        return worker

    def make_dead(self, queue, errors, kind=""):
        """A dead job for each error text; their ids."""
        ids = [self.enqueue(queue, f"body {error}", *(["--type", kind] if kind else [])) for error in errors]
        worker = self.worker([queue], credit=len(errors))
        for delivery in worker.take_many(len(errors)):
            error = errors[ids.index(delivery.job)]
            self.assertEqual(worker.settle(delivery, python_client.REJECT, error), python_client.SETTLED)
        worker.goodbye()
        return ids

    def job(self, number):
        return self.space.jobq_json("job", "show", number)["job"]


class Enqueue(LiveCase):
    def test_a_job_arrives_with_everything_that_was_said_of_it(self):
        number = self.enqueue("receipts", "order 42", "--type", "mail", "--priority", "9", "--key", "order:42", "--header",
                              "trace=7f3a", "--header", "lang=de", "--max-attempts", "3", "--expires", "1h", "--max-run", "30s")
        delivery = self.worker(["receipts"]).take_one()
        self.assertEqual((delivery.job, delivery.body, delivery.type, delivery.priority, delivery.max_attempts),
                         (number, b"order 42", "mail", 9, 3))
        self.assertEqual(delivery.headers, {"trace": "7f3a", "lang": "de"})
        self.assertEqual(delivery.max_run_ms, 30_000)
        shown = self.job(number)
        self.assertEqual(shown["unique_key"], "order:42")
        self.assertAlmostEqual(shown["expires_at"] - shown["enqueued_at"], 3_600_000, delta=1000)

    def test_bodies_come_from_the_option_a_file_or_standard_input(self):
        path = self.space.directory / "body"
        path.write_bytes(bytes(range(256)))
        worker = self.worker(["q"])
        self.expect(OK, "enqueue", "q", "--body-file", path)
        delivery = worker.take_one()
        self.assertEqual(delivery.body, bytes(range(256)))
        worker.ack(delivery)
        for arguments, stdin, body in [([], "from a pipe\n", b"from a pipe\n"), (["--body-file", "-"], "dash", b"dash"),
                                       ([], "", b""), (["--body", ""], "unread", b""), (["--body", "-5"], "", b"-5"),
                                       (["--body", "[1,2]"], "", b"[1,2]"), (["--body=--lines"], "", b"--lines")]:
            with self.subTest(arguments):
                self.expect(OK, "enqueue", "q", *arguments, stdin=stdin)
                delivery = worker.take_one()
                self.assertEqual(delivery.body, body)
                worker.ack(delivery)

    def test_delayed_and_dated_jobs_are_scheduled_and_the_time_is_echoed(self):
        number = self.enqueue("q", "x", "--delay", "1h")
        self.assertEqual(self.job(number)["state"], "scheduled")
        done = self.expect(OK, "enqueue", "q", "--body", "x", "--at", "2030-06-01T12:00:00Z",
                           says="not before 2030-06-01")
        self.assertIn("(2030-06-01T12:00:00Z)", done.stderr)
        self.assertEqual(self.job(done.stdout.strip())["state"], "scheduled")
        past = self.expect(OK, "enqueue", "q", "--body", "x", "--at", "2020-06-01T12:00:00Z", says="ready at once")
        self.assertEqual(self.job(past.stdout.strip())["state"], "ready")

    def test_a_key_makes_one_job(self):
        first = self.enqueue("q", "x", "--key", "k")
        done = self.expect(OK, "enqueue", "q", "--body", "y", "--key", "k", says=[f"held by {first} (ready)", "another one"])
        self.assertEqual(done.stdout.strip(), first)
        self.assertEqual(self.space.queue("q")["ready"], 1)

    def test_refusals(self):
        self.expect(OK, "queue", "set", "small", "max_jobs=1")
        self.enqueue("small")
        self.expect(TRY_AGAIN, "enqueue", "small", "--body", "x")
        large = self.space.directory / "large"
        large.write_bytes(b"x" * (2 << 20))
        self.expect(REFUSED, "enqueue", "q", "--body-file", large)


class Looking(LiveCase):
    def test_ping(self):
        self.expect(OK, "ping", says="answers")
        self.assertIs(self.space.jobq_json("ping")["answered"], True)

    def test_stats_show_problems_queues_broker_and_store(self):
        self.expect(OK, "stats", says="no queues yet")
        self.enqueue("receipts")
        self.enqueue("emails", "x", "--delay", "1h")
        done = self.expect(OK, "stats", says=["READY", "receipts", "emails", "broker  jobq-broker", "store   "])
        self.assertLess(done.stdout.index("problem"), done.stdout.index("READY"))
        document = self.space.jobq_json("stats")
        self.assertEqual(set(document), {"broker", "store", "queues", "problems"})
        fields = {"name", "ready", "leased", "scheduled", "dead", "oldest_ready_ms", "enqueued_total", "acked_total",
                  "failed_total", "expired_total", "cancelled_total", "dead_total", "enqueued_per_s", "acked_per_s",
                  "drains_in_s", "workers", "slots", "paused"}
        for row in document["queues"]:
            self.assertLessEqual(fields, set(row))
        self.assertEqual([row["name"] for row in document["queues"]], ["emails", "receipts"])
        self.assertEqual([row["name"] for row in self.space.jobq_json("stats", "emails")["queues"]], ["emails"])
        self.expect(REFUSED, "stats", "emials", says=["no queue is called 'emials'", "emails"])

    def test_stats_name_a_queue_without_a_worker(self):
        self.enqueue("lonely")
        wait_until(lambda: any(problem["kind"] == "no_worker" and problem["queue"] == "lonely"
                               for problem in self.space.jobq_json("stats")["problems"]), "the problem is listed")
        self.expect(REFUSED, "stats", "--check", says="lonely")

    def test_watch_goes_on_until_it_is_ended(self):
        child = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "stats", "--watch", "--every", "100ms",
                                  "--json"], stdout=subprocess.PIPE, text=True)
        for _ in range(3):
            self.assertIn("queues", json.loads(child.stdout.readline()))
        child.terminate()
        self.assertEqual(child.wait(20), OK)
        child.stdout.close()

    def test_workers(self):
        self.expect(OK, "worker", "ls", says="no workers")
        worker = self.worker([("receipts", 3), ("emails", 1)], credit=4, types=["mail"], name="mailer")
        self.enqueue("receipts", "x", "--type", "mail")
        worker.take_one()
        self.expect(OK, "worker", "ls", says=["mailer@", "working", "receipts:3", "emails", "types mail"])
        rows = self.space.jobq_json("worker", "ls")["workers"]
        self.assertEqual([(row["credit"], row["busy"], row["connected"]) for row in rows], [(4, 1, True)])


class Jobs(LiveCase):
    def test_a_job_tells_its_story(self):
        number = self.enqueue("receipts", '{"order": 42}', "--type", "mail", "--header", "trace=7f3a")
        self.expect(OK, "job", "show", number, says=[number, "ready", "receipts", "mail", "trace: 7f3a", "enqueued",
                                                     '{"order": 42}'])
        self.expect(OK, "queue", "set", "receipts", "backoff_min=1ms", "backoff_max=1ms")
        worker = self.worker(["receipts"], name="mailer")
        worker.settle(worker.take_one(), python_client.NACK, "421 try again\nlater")
        delivery = worker.take_one()
        self.expect(OK, "job", "show", number, says=["leased to mailer@", "attempt 2 of 25", "attempt 1 failed",
                                                     "421 try again\\nlater"])
        worker.ack(delivery)
        self.expect(OK, "job", "show", number, says="acked")

    def test_the_body_alone_is_byte_for_byte(self):
        path = self.space.directory / "body"
        path.write_bytes(bytes(range(256)) * 4)
        number = self.expect(OK, "enqueue", "q", "--body-file", path).stdout.strip()
        out = subprocess.run([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "job", "show", number, "--body"],
                             capture_output=True, check=True).stdout
        self.assertEqual(out, bytes(range(256)) * 4)
        self.assertIn("body_base64", self.space.jobq_json("job", "show", number)["job"])

    def test_cancel(self):
        number = self.enqueue("q")
        self.expect(OK, "job", "cancel", number, says="cancelled")
        self.assertEqual(self.space.queue("q")["cancelled_total"], 1)
        self.expect(REFUSED, "job", "cancel", number, says=number)
        running = self.enqueue("q")
        self.worker(["q"]).take_one()
        self.expect(OK, "job", "cancel", running, says="asked to stop")

    def test_a_job_that_never_was(self):
        self.expect(REFUSED, "job", "show", "jzzzz", says="jzzzz")
        self.expect(REFUSED, "job", "cancel", "jzzzz", says="jzzzz")


class Dead(LiveCase):
    ERRORS = ["550 no mailbox 1", "550 no mailbox 2", "550 no mailbox 3", "timeout after 30s"]

    def test_the_dead_are_listed_grouped_and_shown(self):
        self.expect(REFUSED, "dead", "ls", "receipts", says="no queue is called 'receipts'")
        self.enqueue("receipts", "x", "--delay", "1h")
        self.expect(OK, "dead", "ls", "receipts", says="no dead jobs")
        self.expect(OK, "dead", "show", "receipts", says="no dead jobs")
        ids = self.make_dead("receipts", self.ERRORS, "mail")
        self.expect(OK, "dead", "ls", "receipts", says=[*ids, *self.ERRORS, "rejected", "mail"])
        self.assertEqual(len(self.space.jobq_json("dead", "ls", "receipts", "--error", "mailbox")["jobs"]), 3)
        page = self.space.jobq_json("dead", "ls", "receipts", "--limit", "3")
        self.assertEqual([job["id"] for job in page["jobs"]], ids[:3])
        rest = self.space.jobq_json("dead", "ls", "receipts", "--after", page["next"])
        self.assertEqual([job["id"] for job in rest["jobs"]], ids[3:])
        groups = self.space.jobq_json("dead", "show", "receipts")["groups"]
        self.assertEqual([(group["count"], group["type"], group["reason"]) for group in groups],
                         [(3, "mail", "rejected"), (1, "mail", "rejected")])
        self.expect(OK, "dead", "show", "receipts", says=["4 dead jobs", "550 no mailbox 3"])
        self.expect(OK, "dead", "show", "receipts", ids[0], says=[ids[0], "dead (rejected)", "550 no mailbox 1"])
        alive = self.enqueue("receipts")
        self.expect(REFUSED, "dead", "show", "receipts", alive, says="is not among the dead")

    def test_redrive_by_error_with_a_dry_run_first(self):
        self.make_dead("receipts", self.ERRORS)
        self.expect(OK, "dead", "redrive", "receipts", "--error", "mailbox", "--dry-run", says="3 of 4 dead jobs")
        self.assertEqual(self.space.queue("receipts")["dead"], 4)
        self.expect(OK, "dead", "redrive", "receipts", "--error", "mailbox", says=["3 of 4 dead jobs", "ready again"])
        row = self.space.queue("receipts")
        self.assertEqual((row["ready"], row["dead"]), (3, 1))

    def test_redrive_of_one_and_of_a_few(self):
        ids = self.make_dead("receipts", self.ERRORS)
        self.expect(OK, "dead", "redrive", "receipts", "--id", ids[2], says="ready again")
        self.assertEqual(self.job(ids[2])["state"], "ready")
        self.expect(OK, "dead", "redrive", "receipts", "--limit", "1")
        self.assertEqual(self.space.queue("receipts")["dead"], 2)
        self.expect(OK, "dead", "redrive", "receipts", "--min-age", "1d", says="0 of")
        document = self.space.jobq_json("dead", "redrive", "receipts", "--rate", "1000")
        self.assertEqual((document["task"]["state"], document["task"]["moved"]), ("done", 2))
        self.expect(REFUSED, "dead", "redrive", "recipts", says="receipts")

    def test_purge_wants_a_yes(self):
        self.make_dead("receipts", self.ERRORS)
        self.expect(REFUSED, "dead", "purge", "receipts", "--error", "mailbox", says=["3 of 4", "--yes"])
        self.assertEqual(self.space.queue("receipts")["dead"], 4)
        self.expect(OK, "dead", "purge", "receipts", "--error", "mailbox", "--yes", says="removed")
        row = self.space.queue("receipts")
        self.assertEqual((row["dead"], row["purged_total"]), (1, 3))

    def test_a_task_is_known_by_its_number(self):
        self.make_dead("receipts", self.ERRORS)
        task = self.space.jobq_json("dead", "redrive", "receipts")["task"]["task"]
        self.expect(OK, "task", task, says="ready again")
        self.expect(REFUSED, "task", "999999", says="999999")


class Queues(LiveCase):
    def test_settings_are_written_and_read_with_units(self):
        self.expect(OK, "queue", "set", "receipts", "lease=1m", "max_attempts=7", "max_bytes=2GiB", "backoff_max_ms=90000",
                    says=["made the queue 'receipts'", "lease_ms = 1m", "max_bytes = 2.0 GiB", "backoff_max_ms = 1m30s"])
        self.expect(OK, "queue", "set", "receipts", "lease=30s", says="changed the queue")
        settings = self.space.jobq_json("queue", "show", "receipts")["settings"]
        self.assertEqual((settings["lease_ms"], settings["max_attempts"], settings["max_bytes"], settings["backoff_max_ms"]),
                         (30_000, 7, 2 << 30, 90_000))
        self.expect(OK, "queue", "show", "receipts", says=["receipts", "lease_ms", "30s", "max_attempts", "enqueued_total"])

    def test_wrong_settings_are_refused_and_change_nothing(self):
        self.expect(OK, "queue", "set", "receipts", "lease=1m")
        self.expect(REFUSED, "queue", "set", "receipts", "leese=1", says=["leese", "lease_ms"])
        self.expect(REFUSED, "queue", "set", "receipts", "lease=1ms", says="lease_ms")
        self.expect(REFUSED, "queue", "set", "receipts", "max_attempts=3", "backoff_min=1h", "backoff_max=1m",
                    says="backoff_max_ms")
        settings = self.space.jobq_json("queue", "show", "receipts")["settings"]
        self.assertEqual((settings["lease_ms"], settings["max_attempts"]), (60_000, 25))

    def test_listing(self):
        self.expect(OK, "queue", "ls", says="no queues yet")
        self.enqueue("b")
        self.enqueue("a")
        self.expect(OK, "queue", "ls", says=["QUEUE", "READY"])
        self.assertEqual([row["name"] for row in self.space.jobq_json("queue", "ls")["queues"]], ["a", "b"])
        self.expect(REFUSED, "queue", "show", "c", says="no queue is called 'c'; there are: ")

    def test_pause_and_resume(self):
        self.enqueue("q")
        self.expect(OK, "queue", "pause", "q", says="paused")
        self.expect(OK, "stats", says="paused")
        worker = self.worker(["q"])
        self.assertTrue(worker.connection.silent(0.3))
        self.expect(OK, "queue", "resume", "q", says="again")
        worker.take_one()
        self.expect(REFUSED, "queue", "pause", "qq", says="no queue is called 'qq'")

    def test_purge_wants_a_yes_and_leaves_leased_and_dead_ones(self):
        self.make_dead("q", ["no"])
        self.enqueue("q")
        self.worker(["q"]).take_one()
        for _ in range(3):
            self.enqueue("q")
        self.enqueue("q", "x", "--delay", "1h")
        self.expect(REFUSED, "queue", "purge", "q", says=["3 ready and 1 scheduled", "--yes"])
        self.assertEqual(self.space.queue("q")["ready"], 3)
        self.expect(OK, "queue", "purge", "q", "--yes", says="4 waiting jobs are removed")
        row = self.space.queue("q")
        self.assertEqual((row["ready"], row["scheduled"], row["leased"], row["dead"]), (0, 0, 1, 1))


class Lines(LiveCase):
    def bodies_in_order(self, queue, count):
        """Takes and acks all jobs of the queue: {id: body}."""
        worker = self.worker([queue], credit=5000)
        bodies = {}
        while len(bodies) < count:
            for delivery in worker.take():
                self.assertNotIn(delivery.job, bodies)
                bodies[delivery.job] = delivery.body.decode()
                worker.outcome(delivery, python_client.ACK)
            worker.flush()
        wait_until(lambda: self.space.queue(queue)["leased"] == 0, "all are acked")
        self.assertEqual(self.space.queue(queue)["ready"], 0)
        return bodies

    def test_every_line_becomes_a_job_in_order(self):
        lines = [f"line {number}" for number in range(20_000)]
        done = self.expect(OK, "enqueue", "q", "--lines", "--type", "t", stdin="\n".join(lines) + "\n")
        ids = done.stdout.split()
        bodies = self.bodies_in_order("q", len(lines))
        self.assertEqual([bodies[number] for number in ids], lines)

    def test_empty_input_makes_no_job(self):
        self.assertEqual(self.expect(OK, "enqueue", "q", "--lines").stdout, "")

    def test_a_broker_that_is_killed_and_comes_back_neither_loses_nor_doubles_a_line(self):
        reader, writer = os.pipe()
        output = self.space.directory / "ids"
        with open(output, "wb") as out:
            child = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "enqueue", "q", "--lines"],
                                     stdin=reader, stdout=out, stderr=subprocess.PIPE, text=True)
        os.close(reader)
        lines = []

        def write(count):
            for _ in range(count):
                lines.append(f"line {len(lines)}")
                os.write(writer, (lines[-1] + "\n").encode())

        for _ in range(4):
            confirmed = len(output.read_bytes().split())
            write(3000)
            wait_until(lambda seen=confirmed: len(output.read_bytes().split()) > seen, "more lines are confirmed")
            self.broker.kill()
            write(500)
            self.broker.start()
        write(1000)
        os.close(writer)
        self.assertEqual(child.wait(60), OK, child.stderr.read())
        child.stderr.close()
        ids = output.read_text().split()
        self.assertEqual(len(ids), len(lines))
        self.assertEqual(self.space.queue("q")["enqueued_total"], len(lines))
        bodies = self.bodies_in_order("q", len(lines))
        self.assertEqual([bodies[number] for number in ids], lines)

    def test_an_interrupt_ends_in_order(self):
        child = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "enqueue", "q", "--lines"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        child.stdin.write("one\n")
        child.stdin.flush()
        self.assertTrue(child.stdout.readline())
        child.terminate()
        self.assertEqual(child.wait(20), INTERRUPTED)
        self.assertIn("1 line is a job", child.stderr.read())
        for stream in (child.stdin, child.stdout, child.stderr):
            stream.close()


class Bench(LiveCase):
    def queues(self):
        return [row["name"] for row in self.space.jobq_json("stats")["queues"]]

    def test_it_measures_three_loads_and_leaves_nothing_behind(self):
        seen = json.loads(self.expect(OK, "bench", "--duration", "100ms", "--window", "50", "--body", "1000", "--json").stdout)
        self.assertEqual((seen["body_bytes"], seen["window"], seen["refused"]), (1000, 50, 0))
        for load in ("full_cycle", "paced", "one_at_a_time"):
            self.assertGreaterEqual(seen[load]["seconds"], 0.1)
        self.assertGreater(seen["one_at_a_time"]["jobs"], 0)
        self.assertGreater(seen["one_at_a_time"]["confirm_p50_us"], 0)
        self.assertEqual(self.queues(), [])

    def test_an_interrupt_ends_it_in_order(self):
        child = subprocess.Popen([program("JOBQ_CLI"), "--endpoint", self.space.endpoint, "bench", "--duration", "1h"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(self.queues, "the queue of the load is there")
        child.terminate()
        _, said = child.communicate(timeout=60)
        self.assertEqual(child.returncode, INTERRUPTED, said)
        self.assertEqual(self.queues(), [])

    def test_wrong_options(self):
        self.expect(USAGE, "bench", "--duration", "2h", says="--duration 2h: from 100ms to 1h")
        self.expect(USAGE, "bench", "--body", "7", says="--body")


class Check(LiveCase):
    def test_a_sound_store_is_called_sound(self):
        for number in range(50):
            self.enqueue("q", f"body {number}")
        self.broker.stop()
        data = self.space.directory / "data"
        self.expect(OK, "check", data, says="no problems")
        dumped = [json.loads(line) for line in self.expect(OK, "check", data, "--dump").stdout.splitlines()]
        self.assertEqual(len([row for row in dumped if row.get("queue") == "q"]), 50)

    def test_a_directory_without_a_store(self):
        self.expect(66, "check", self.space.directory / "nothing", says="nothing")


if __name__ == "__main__":
    unittest.main()

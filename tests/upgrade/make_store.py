#!/usr/bin/python3
"""Made tests/upgrade/format-1.tar.xz and format-1.json: a store with jobs in every state, and what is in it. Kept so that one
can see what is in the file, and make the next one when the format is raised:

    JOBQ_BROKER=build/broker/jobq-broker JOBQ_CLI=build/cli/jobq tests/upgrade/make_store.py format-2

Never make an old one again: its worth is that old code wrote it.
"""

import io
import json
import pathlib
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import python_client as wire  # noqa: E402  pylint: disable=wrong-import-position
from processes import Workspace, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from python_client import Connection, Producer, Worker, job  # noqa: E402  pylint: disable=wrong-import-position

NINE_YEARS_MS = 9 * 365 * 24 * 3600 * 1000
LARGE = b"0123456789abcdef" * 2500  # 40,000 bytes: kept in parts


class Maker:
    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.connection = Connection(endpoint)
        self.producer = Producer(endpoint)
        self.made = {}  # what it is -> job ids

    def settings(self, queue, **settings):
        self.connection.admin("queue.set", queue=queue, **settings)

    def enqueue(self, what, queue, *jobs):
        results = self.producer.enqueue(queue, list(jobs))
        assert all(result[0] == wire.CREATED for result in results), results
        self.made.setdefault(what, []).extend(result[1] for result in results)

    def work(self, queue, count, kind, text="", name="worker-of-then"):
        worker = Worker(self.endpoint, [queue], credit=count, name=name)
        for delivery in worker.take_many(count):
            assert worker.settle(delivery, kind, text) == wire.SETTLED
        worker.goodbye()
        worker.close()


def fill(maker):
    """Jobs in every state; the worker that is returned holds some."""
    maker.settings("settled", history_count=100)
    maker.enqueue("acked", "settled", *[job(b"done %d" % n, "Done") for n in range(300)])
    maker.work("settled", 300, wire.ACK)
    maker.enqueue("cancelled", "settled", job(b"never", "Done"))
    maker.connection.admin("job.cancel", id=maker.made["cancelled"][0])

    maker.enqueue("ready", "ready", *[job(b"ready %d" % n, "Plain", priority=n % 10, headers={"n": str(n)}) for n in range(20)])
    maker.enqueue("large", "ready", job(LARGE, "Large", priority=0))
    maker.enqueue("keyed", "ready", job(b"one of its kind", "Keyed", unique_key="the key", priority=0))
    maker.enqueue("expiring", "ready", job(b"in nine years", "Plain", expires_in_ms=NINE_YEARS_MS, max_attempts=3,
                                           max_run_ms=60_000, priority=0))

    maker.enqueue("scheduled", "later", job(b"delayed", "Plain", delay_ms=NINE_YEARS_MS),
                  job(b"dated", "Plain", run_at=maker.connection.admin("job.show", id=maker.made["ready"][0])["job"]
                      ["enqueued_at"] + NINE_YEARS_MS))

    maker.settings("failing", backoff_min_ms=1000, backoff_max_ms=1000)
    maker.enqueue("failed once", "failing", job(b"fails", "Plain"))
    maker.work("failing", 1, wire.NACK, "550 no such mailbox")

    maker.enqueue("rejected", "bad", job(b"poison", "Plain"), job(b"poison too", "Plain", headers={"why": "test"}))
    maker.work("bad", 2, wire.REJECT, "cannot be read")
    maker.enqueue("spent", "bad", job(b"one attempt", "Plain", max_attempts=1))
    maker.work("bad", 1, wire.NACK, "timeout")

    maker.settings("halted", paused=True)
    maker.enqueue("paused", "halted", job(b"waits", "Plain"))

    maker.settings("held", session_grace_ms=1000)
    maker.enqueue("leased", "held", job(b"in hand 0", "Plain"), job(b"in hand 1", "Plain"))
    holder = Worker(maker.endpoint, ["held"], credit=2, name="holder-of-then")
    holder.take_many(2)
    return holder


def main(name):
    with Workspace() as space:
        settings = space.directory / "broker.toml"
        settings.write_text("[store]\npreallocate = false\n", encoding="utf-8")
        broker = space.broker("--config", settings)
        maker = Maker(space.endpoint)
        fill(maker)
        wait_until(lambda: space.queue("failing")["ready"] == 1, "the failed job's backoff is over")
        queues = {queue["name"]: {state: queue[state] for state in ("ready", "leased", "scheduled", "dead", "acked_total",
                                                                     "failed_total", "cancelled_total", "dead_total", "paused")}
                  for queue in space.jobq_json("stats")["queues"]}
        broker.kill()  # as it is found after a crash: leases and all
        (HERE / f"{name}.json").write_text(json.dumps({"jobs": maker.made, "queues": queues}, indent=1) + "\n", encoding="utf-8")
        data = (space.directory / "data" / "data.mdb").read_bytes()
        with tarfile.open(HERE / f"{name}.tar.xz", "w:xz") as archive:
            entry = tarfile.TarInfo("data.mdb")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/python3
"""Writes the corpora of the fuzz targets that are not there yet: what the broker is sent (server_fuzz.cpp), settings, command
lines, and rows of a store (stored_fuzz.cpp; of a closed one, with mdb_dump of lmdb-utils).

    tests/fuzz/make_corpus.py [DATA_DIRECTORY]
"""

import pathlib
import subprocess
import sys

import msgpack

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT.parent / "e2e"))
import python_client as wire  # noqa: E402

ROWS = {"queues": 2, "counters": 3, "unique": 4, "progress": 6, "attempts": 7, "dead": 8, "producers": 9, "answers": 10,
        "finished": 11, "lanes": 12, "blocks": 14, "leases": 15, "jobs": 16}
META_ROWS = {b"mark": 0, b"identity": 1, b"format": 13}


def put(target, name, content):
    place = ROOT / "corpus" / target
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(content)


class Steps:
    """What some peers do to a broker, as server_fuzz.cpp reads it."""

    TURN, TIME, LOST, SEVERAL_FRAMES = 4, 5, 6, 7

    def __init__(self):
        self.bytes, self.asked = b"", 0

    def frame(self, peer, kind, *fields):
        self.asked += 1
        packed = msgpack.packb([wire.VERSION, kind, self.asked, *fields])
        self.bytes += bytes([peer << 3]) + len(packed).to_bytes(2, "big") + packed
        return self

    def hello(self, *peers):
        for peer in peers:
            self.frame(peer, wire.HELLO, 1, 1, 0, "fuzz", "host", 1)
        return self

    def register(self, peer, credit=2):
        return self.frame(peer, wire.REGISTER, None, None, [["q", 1]], [], credit, 0, [], [], "w", "host", 1, "t")

    def enqueue(self, peer, *jobs, sequence=0, producer=None):
        return self.frame(peer, wire.ENQUEUE, producer, sequence, sequence, False, [["q", list(jobs)]])

    def step(self, kind, upper=0):
        self.bytes += bytes([upper << 3 | kind])
        return self

    def outcome(self, peer, kind, job="j1", lease_no=1):
        return self.frame(peer, wire.OUTCOMES, [[job, lease_no, kind, 1, "why", 5]], None)


def server():
    turn, time, lost = Steps.TURN, Steps.TIME, Steps.LOST
    job = wire.job
    life = Steps().hello(0, 1).register(1).enqueue(0, job(b"a"), job(b"b", "type")).step(turn)
    put("server", "life", life.outcome(1, wire.ACK).step(turn).outcome(1, wire.NACK, "j2").step(turn).step(time, 7).bytes)
    crash = Steps().hello(0, 1, 2).register(1).enqueue(0, job(b"a", max_attempts=2)).step(turn).step(lost, 1).step(time, 6)
    put("server", "crash", crash.register(2).step(turn).outcome(2, wire.ACK, lease_no=2).step(turn).bytes)
    timed = Steps().hello(0, 1).enqueue(0, job(b"d", delay_ms=1000), job(b"e", expires_in_ms=50), job(b"u", unique_key="k"))
    put("server", "timed", timed.enqueue(0, job(b"u", unique_key="k")).step(turn).step(time, 4).register(1, 9).step(turn).bytes)
    resend = Steps().hello(0).enqueue(0, job(b"a"), sequence=1, producer=b"p" * 16)
    put("server", "resend", resend.enqueue(0, job(b"a"), sequence=1, producer=b"p" * 16).step(turn).bytes)
    other = Steps().hello(0, 1).register(1, 1).enqueue(0, *[job(b"x")] * 3).step(turn).frame(1, wire.HEARTBEAT, [["j1", 1]], 5)
    for kind in (wire.RELEASE, wire.SNOOZE, wire.REJECT, wire.NO_HANDLER):
        other.outcome(1, kind).step(turn)
    put("server", "outcomes", other.frame(1, wire.GOODBYE).step(turn).step(Steps.SEVERAL_FRAMES, 2).bytes)
    admin = Steps().hello(0).enqueue(0, job(b"a"), job(b"b")).step(turn)
    for verb, params in (("stats", {}), ("job.show", {"id": "j1"}), ("job.why", {"id": "j1"}), ("queue.show", {"queue": "q"}),
                         ("queue.pause", {"queue": "q"}), ("queue.resume", {"queue": "q"}), ("job.cancel", {"id": "j2"}),
                         ("dead.list", {"queue": "q"}), ("worker.list", {}), ("queue.purge", {"queue": "q"})):
        admin.frame(0, wire.ADMIN, verb, params).step(turn)
    put("server", "admin", admin.bytes)
    put("server", "garbage", Steps().hello(0).bytes + b"\x00\x00\x03\xc1\xff\x93\x04")


def config():
    sample = (ROOT.parents[1] / "broker" / "jobq-broker.toml").read_text(encoding="utf-8")
    lines = [line.lstrip("# ") for line in sample.splitlines() if " = " in line or line.startswith("[")]
    put("config", "limits", b"listen = ['ipc:///tmp/x', 'tcp://127.0.0.1:1']\n[limits]\nbody_bytes = '1MiB'\nmessage_bytes = 2097152\n")
    put("config", "wrong", b"[store]\nmax_size = 'much'\nmin_fre = 1\n[x.y]\na = [1, {b = 2}]\n")
    put("config", "sample", "\n".join(lines[:30]).encode())


def arguments():
    put("arguments", "broker", b"--data\n/var/lib/jobq\n--listen\ntcp://127.0.0.1:*\n--insecure\n--log-level=debug\n--ready-fd\n3\n")
    put("arguments", "enqueue", b"mail\n1h30m\n\n2d\nkey\n10m\n5s\nname=value\nx\n")
    put("arguments", "at", b"mail\n\n2026-11-23 14:30\n+1d\n\n\n\n")
    put("arguments", "far", b"mail\n\n6063-11-23 14:30\n+1d\n\n\n\n")
    put("arguments", "lines", b'{"body": "x", "priority": 3, "delay": "5s", "headers": {"a": "b"}}\nlease=30s\n--help\n12:30\n2026-01-31T12:00:00Z\n')


def stored(directory):
    seen = {}
    for table in ["meta", *ROWS]:
        dumped = subprocess.run(["mdb_dump", "-n", "-s", table, f"{directory}/data.mdb"], capture_output=True, text=True, check=True)
        lines = [bytes.fromhex(line) for line in dumped.stdout.splitlines() if line.startswith(" ")]
        for key, value in zip(lines[::2], lines[1::2]):
            kind = META_ROWS.get(key.rstrip(b"\0")) if table == "meta" else ROWS[table]
            # Two of each kind, not too long, without their checksums.
            if kind is not None and len(value) < 500 and seen.setdefault(kind, 0) < 2:
                seen[kind] += 1
                put("stored", f"{table}_{kind}_{seen[kind]}", bytes([kind]) + value[:-8])


if __name__ == "__main__":
    server()
    config()
    arguments()
    if len(sys.argv) > 1:
        stored(sys.argv[1])

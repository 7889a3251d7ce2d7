"""A broker under a load that writes down everything, to be broken in some way, and the judge at the end.

    class Test(judged_load.JudgedLoad):
        def test(self):
            with Workspace() as space:
                self.begin(space, workers=3)
                ...                                   # self.broker.kill(), self.note("broker", "crash", err="..."), self.broker.start()
                self.end_and_judge("what was done")

Producers and workers write their histories as they go, outside of the broker. At the end: no more faults, producers stop, the
queue drains, the broker stops, the store is checked and dumped, and jobq-history-check decides.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import processes  # noqa: E402
from processes import program, wait_until  # noqa: E402

SEED = int(os.environ.get("JOBQ_SEED", "1"))
QUEUE = "load"


def counts(endpoint):
    """What the broker counts in the queue; None when it does not answer."""
    asked = subprocess.run([program("JOBQ_LOAD"), "count", endpoint, "count", "1"], capture_output=True, check=False,
                           timeout=60)
    return json.loads(asked.stdout) if asked.returncode == 0 else None


class Broker(processes.Broker):
    def _answers(self):
        if not self.running():
            raise AssertionError(f"the broker has ended with {self.child.returncode}:\n{self.output()}")
        return counts(self.endpoint) is not None


class Load:
    """One producer or worker; its history is its standard output."""

    def __init__(self, space, kind, name, seed):
        self.path = space.directory / f"{name}.history"
        self.errors = open(space.directory / f"{name}.errors", "wb")
        self.out = open(self.path, "wb")
        self.child = subprocess.Popen([program("JOBQ_LOAD"), kind, space.endpoint, name, str(seed)], stdout=self.out,
                                      stderr=self.errors, preexec_fn=processes._die_with_parent)

    def written(self):
        return self.path.stat().st_size

    def stop(self):
        self.child.terminate()
        code = self.child.wait(60)
        self.out.close()
        self.errors.close()
        return code


class JudgedLoad(unittest.TestCase):
    def setUp(self):
        self.draw = random.Random(SEED)

    def note(self, proc, op, **more):
        self.notes.append({"n": len(self.notes) + 1, "t": time.monotonic_ns() // 1_000_000, "proc": proc, "op": op,
                           "type": "info", **more})

    def begin(self, space, workers, place=None, arguments=()):
        """A broker whose data is in `place` (the workspace when None), two producers, and workers."""
        self.notes = []
        self.loads = []  # all there were
        self.space, self.place = space, place or space.directory
        self.broker = Broker(self.place, space.endpoint, list(arguments))
        self.broker.log = space.directory / "broker.log"
        space.processes.append(self.broker)
        self.broker.start()
        self.producers = [self.load("produce", f"p{n}", n) for n in range(2)]
        self.workers = [self.load("work", f"w{n}", 50 + n) for n in range(workers)]
        self.started = time.monotonic()

    def load(self, kind, name, number):
        load = Load(self.space, kind, name, SEED * 100 + number)
        self.loads.append(load)
        return load

    def wait_for_work(self, loads, least, most, what):
        """So many bytes of history from everybody: work has gone on."""
        goals = [load.written() + self.draw.randrange(least, most) for load in loads]
        wait_until(lambda: all(load.written() >= goal for load, goal in zip(loads, goals)), what, seconds=60)

    def work_goes_on(self, what, most=8_000):
        """Something is asked and answered, by whoever is first: at random much."""
        goal = sum(load.written() for load in self.loads) + self.draw.randrange(500, most)

        def gone_on():
            if not self.broker.running():
                raise AssertionError(f"the broker has ended with {self.broker.child.returncode}:\n{self.broker.output()}")
            return sum(load.written() for load in self.loads) >= goal

        wait_until(gone_on, what, seconds=60)

    def drained(self):
        row = counts(self.space.endpoint)
        return row if row and row["ready"] + row["scheduled"] + row["leased"] == 0 else None

    def judge(self, history, dump):
        return subprocess.run([program("JOBQ_HISTORY_CHECK"), "--drained", history, dump], capture_output=True,
                              text=True, check=False, timeout=240)

    def judge_must_notice(self, history, dump):
        """The same run with one job's acks taken out is a lost job."""
        lines = history.read_text().splitlines()
        acked = next(json.loads(line)["job"] for line in reversed(lines) if '"op":"ack"' in line and '"type":"ok"' in line)
        history.write_text("".join(line + "\n" for line in lines
                                   if not ('"op":"ack"' in line and f'"job":"{acked}"' in line)))
        judged = self.judge(history, dump)
        self.assertEqual(judged.returncode, 1, judged.stdout + judged.stderr)
        self.assertIn(f"I1 {acked}: lost", judged.stdout)

    def end_and_judge(self, what):
        """Drains, stops, checks, judges; the history as a list of events."""
        for producer in self.producers:
            self.assertEqual(producer.stop(), 0, "a producer's end")
        row = wait_until(self.drained, "the queue is drained", seconds=120)
        for worker in self.workers:
            self.assertEqual(worker.stop(), 0, "a worker's end")
        self.note("cli", "stats", queue=QUEUE, final_count=True,
                  **{state: row[state] for state in ("ready", "scheduled", "leased", "dead")})
        self.notes[-1]["type"] = "ok"
        self.assertEqual(self.broker.stop(), 0, self.broker.output())
        history, dump = self.space.directory / "history", self.space.directory / "dump"
        with open(history, "wb") as out:
            for load in self.loads:
                text = load.path.read_bytes()
                out.write(text[:text.rfind(b"\n") + 1])  # the last line of one that was killed may be cut short
            out.write("".join(json.dumps(note) + "\n" for note in self.notes).encode())
        with open(dump, "wb") as out:
            checked = subprocess.run([program("JOBQ_DUMP_STORE"), self.place / "data"], stdout=out,
                                     stderr=subprocess.PIPE, check=False, timeout=120)
        problems = [line for line in dump.read_text().splitlines() if '"kind":"problem"' in line]
        self.assertEqual(checked.returncode, 0, checked.stderr.decode() + "\n".join(problems[:10]))
        judged = self.judge(history, dump)
        print(f"{what} in {time.monotonic() - self.started:.1f} s; {judged.stdout}", flush=True)
        events = [json.loads(line) for line in history.read_text().splitlines()]
        # Their deadline of 30 s is longer than any of these restarts: they must not have noticed.
        unanswered = [event for event in events if event["op"] == "enqueue" and event["type"] in ("fail", "info")]
        if (judged.returncode != 0 or unanswered) and os.environ.get("JOBQ_KEEP"):
            subprocess.run(["cp", "-r", self.space.directory, os.environ["JOBQ_KEEP"]], check=True)
        self.assertEqual(judged.returncode, 0, judged.stdout + judged.stderr)
        # Whether it was the broker (or a machine that did not let it run), or one client alone.
        answered = sorted(event["t"] for event in events if event["type"] == "ok")
        silence = max((after - before, before) for before, after in zip(answered, answered[1:]))
        self.assertEqual(unanswered[:3], [], f"{len(unanswered)} enqueues ended with an error; the longest time in which nobody was "
                         f"answered at all is {silence[0]} ms, from {silence[1]} on")
        self.judge_must_notice(history, dump)
        return events

#!/usr/bin/env python3
"""Kills under load, again and again, and has the judge look at what everybody was told: the broker, the workers; and
workers that are frozen past their leases, and thawed.

Producers and workers write their histories as they go, outside the broker. At the end: no more faults, producers stop,
the queue drains, the broker stops, the store is checked and dumped, and jobq-history-check decides.

    JOBQ_KILLS=300 JOBQ_DEATHS=600 JOBQ_FREEZES=50 meson test kill_loop      more than the usual few
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import processes  # noqa: E402
from processes import program, wait_until  # noqa: E402

KILLS = int(os.environ.get("JOBQ_KILLS", "12"))
DEATHS = int(os.environ.get("JOBQ_DEATHS", "40"))
FREEZES = int(os.environ.get("JOBQ_FREEZES", "2"))
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


class KillLoop(unittest.TestCase):
    def setUp(self):
        self.notes = []
        self.draw = random.Random(SEED)
        self.loads = []  # all there were

    def note(self, proc, op, **more):
        self.notes.append({"n": len(self.notes) + 1, "t": time.monotonic_ns() // 1_000_000, "proc": proc, "op": op,
                           "type": "info", **more})

    def begin(self, space, workers):
        self.space = space
        self.broker = Broker(space.directory, space.endpoint, [])
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

    def kill_again_and_again(self):
        for number in range(KILLS):
            self.wait_for_work(self.producers + self.workers, 2_000, 40_000, f"everybody has worked on after kill {number}")
            self.broker.kill()
            self.note("broker", "crash", err=f"kill {number + 1}")
            if self.draw.randrange(4) == 0:  # and once more while it starts
                processes.Process.start(self.broker)
                wait_until(lambda: (self.broker.child.poll() is not None) or self.draw.randrange(3) == 0, "a moment has passed")
                self.broker.kill()
                self.note("broker", "crash", err=f"kill {number + 1} at the start")
            self.broker.start()

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
            checked = subprocess.run([program("JOBQ_DUMP_STORE"), self.space.directory / "data"], stdout=out,
                                     stderr=subprocess.PIPE, check=False, timeout=120)
        problems = [line for line in dump.read_text().splitlines() if '"kind":"problem"' in line]
        self.assertEqual(checked.returncode, 0, checked.stderr.decode() + "\n".join(problems[:10]))
        judged = self.judge(history, dump)
        print(f"{what} in {time.monotonic() - self.started:.1f} s; {judged.stdout}", flush=True)
        if judged.returncode != 0 and os.environ.get("JOBQ_KEEP"):
            subprocess.run(["cp", "-r", self.space.directory, os.environ["JOBQ_KEEP"]], check=True)
        self.assertEqual(judged.returncode, 0, judged.stdout + judged.stderr)
        events = [json.loads(line) for line in history.read_text().splitlines()]
        self.judge_must_notice(history, dump)
        return events

    def test_nothing_confirmed_is_lost_and_nothing_acked_runs_again(self):
        with processes.Workspace() as space:
            self.begin(space, workers=3)
            self.kill_again_and_again()
            self.end_and_judge(f"{KILLS} kills of the broker")

    def make_losses_quick(self):
        done = self.space.jobq("queue", "set", QUEUE, "lease=1s", "session_grace=300ms", "backoff_min=10ms", "backoff_max=200ms",
                               "crash_limit=1000")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_storm_of_dying_workers_loses_and_doubles_nothing(self):
        with processes.Workspace() as space:
            self.begin(space, workers=8)
            self.make_losses_quick()
            for number in range(DEATHS):
                place = self.draw.randrange(len(self.workers))
                self.wait_for_work(self.workers[place:place + 1], 300, 6_000, f"a worker has worked before death {number}")
                victim = self.workers[place]
                victim.child.kill()
                victim.child.wait(20)
                self.note(victim.path.stem, "crash", err="SIGKILL")
                self.workers[place] = self.load("work", f"w{8 + number}", 100 + number)
            events = self.end_and_judge(f"{DEATHS} deaths of workers")
            dead = {note["proc"] for note in self.notes if note["op"] == "crash"}
            held = {(event["job"], event["token"]) for event in events if event["op"] == "deliver" and event["proc"] in dead}
            asked = {(event["job"], event["token"]) for event in events
                     if event["op"] in ("ack", "nack", "release", "reject", "snooze") and event["type"] == "invoke"}
            self.assertGreater(len(held - asked), 0, "nobody died with a job in hand: the test shows nothing")

    def test_a_worker_that_is_thawed_after_its_lease_is_refused(self):
        with processes.Workspace() as space:
            self.begin(space, workers=3)
            self.make_losses_quick()
            taken = 0
            for number in range(FREEZES):
                frozen = self.workers[number % len(self.workers)]
                others = [worker for worker in self.workers if worker is not frozen]
                self.wait_for_work([frozen], 3_000, 9_000, f"the worker has worked before freeze {number}")
                began = time.monotonic()
                frozen.child.send_signal(signal.SIGSTOP)
                # Its connection is given up after 1.5 s, its jobs go 0.3 s later: four seconds of work for the others.
                wait_until(lambda: time.monotonic() - began > 4, "the lease is long over")
                self.wait_for_work(others, 1_000, 3_000, "the others have worked meanwhile")
                frozen.child.send_signal(signal.SIGCONT)
                span = int((time.monotonic() - began) * 1000) + 1
                self.note(frozen.path.stem, "frozen", within_ms=span)
                self.notes[-1]["t"] -= span
                self.wait_for_work([frozen], 3_000, 9_000, f"it works again after freeze {number}")
            events = self.end_and_judge(f"{FREEZES} freezes of workers")
            newest = {}
            for event in events:
                if event["op"] == "deliver":
                    newest[event["job"]] = max(newest.get(event["job"], 0), event["token"])
            for event in events:
                late = event["op"] in ("ack", "nack") and event.get("token", 0) < newest.get(event.get("job"), 0)
                if late and event["type"] in ("fail", "info"):
                    taken += 1
            revoked = sum(event["op"] == "revoked" for event in events)
            self.assertGreater(taken + revoked, 0, "no answer came too late: the test shows nothing")


if __name__ == "__main__":
    unittest.main()

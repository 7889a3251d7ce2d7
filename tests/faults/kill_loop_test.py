#!/usr/bin/env python3
"""Kills the broker with -9 under load, again and again, and has the judge look at what everybody was told.

Producers and workers write their histories as they go, outside the broker. At the end: no more kills, producers stop,
the queue drains, the broker stops, the store is checked and dumped, and jobq-history-check decides.

    JOBQ_KILLS=300 meson test kill_loop      more kills than the usual 12
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

KILLS = int(os.environ.get("JOBQ_KILLS", "12"))
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
    def crash(self, what):
        self.notes.append({"n": len(self.notes) + 1, "t": time.monotonic_ns() // 1_000_000, "proc": "broker",
                           "op": "crash", "type": "info", "err": what})

    def kill_again_and_again(self, broker, loads, draw):
        for number in range(KILLS):
            # So many bytes of history from everybody: work has gone on since the last kill.
            goals = [load.written() + draw.randrange(2_000, 40_000) for load in loads]
            wait_until(lambda: all(load.written() >= goal for load, goal in zip(loads, goals)),
                       f"everybody has worked on after kill {number}", seconds=60)
            broker.kill()
            self.crash(f"kill {number + 1}")
            if draw.randrange(4) == 0:  # and once more while it starts
                processes.Process.start(broker)
                wait_until(lambda: (broker.child.poll() is not None) or draw.randrange(3) == 0, "a moment has passed")
                broker.kill()
                self.crash(f"kill {number + 1} at the start")
            broker.start()

    def drained(self, space):
        row = counts(space.endpoint)
        return row if row and row["ready"] + row["scheduled"] + row["leased"] == 0 else None

    def judge(self, history, dump):
        return subprocess.run([program("JOBQ_HISTORY_CHECK"), "--drained", history, dump], capture_output=True,
                              text=True, check=False, timeout=120)

    def judge_must_notice(self, history, dump):
        """The same run with one job's acks taken out is a lost job."""
        lines = history.read_text().splitlines()
        acked = next(json.loads(line)["job"] for line in reversed(lines) if '"op":"ack"' in line and '"type":"ok"' in line)
        history.write_text("".join(line + "\n" for line in lines
                                   if not ('"op":"ack"' in line and f'"job":"{acked}"' in line)))
        judged = self.judge(history, dump)
        self.assertEqual(judged.returncode, 1, judged.stdout + judged.stderr)
        self.assertIn(f"I1 {acked}: lost", judged.stdout)

    def test_nothing_confirmed_is_lost_and_nothing_acked_runs_again(self):
        self.notes = []
        draw = random.Random(SEED)
        with processes.Workspace() as space:
            broker = Broker(space.directory, space.endpoint, [])
            space.processes.append(broker)
            broker.start()
            producers = [Load(space, "produce", f"p{n}", SEED * 100 + n) for n in range(2)]
            workers = [Load(space, "work", f"w{n}", SEED * 100 + 50 + n) for n in range(3)]
            started = time.monotonic()
            self.kill_again_and_again(broker, producers + workers, draw)
            for producer in producers:
                self.assertEqual(producer.stop(), 0, "a producer's end")
            row = wait_until(lambda: self.drained(space), "the queue is drained", seconds=120)
            for worker in workers:
                self.assertEqual(worker.stop(), 0, "a worker's end")
            self.notes.append({"n": len(self.notes) + 1, "t": time.monotonic_ns() // 1_000_000, "proc": "cli",
                               "op": "stats", "type": "ok", "queue": QUEUE, "final_count": True,
                               **{state: row[state] for state in ("ready", "scheduled", "leased", "dead")}})
            self.assertEqual(broker.stop(), 0, broker.output())
            history, dump = space.directory / "history", space.directory / "dump"
            with open(history, "wb") as out:
                for load in producers + workers:
                    out.write(load.path.read_bytes())
                out.write("".join(json.dumps(note) + "\n" for note in self.notes).encode())
            with open(dump, "wb") as out:
                checked = subprocess.run([program("JOBQ_DUMP_STORE"), space.directory / "data"], stdout=out,
                                         stderr=subprocess.PIPE, check=False, timeout=120)
            problems = [line for line in dump.read_text().splitlines() if '"kind":"problem"' in line]
            self.assertEqual(checked.returncode, 0, checked.stderr.decode() + "\n".join(problems[:10]))
            judged = self.judge(history, dump)
            print(f"{KILLS} kills in {time.monotonic() - started:.1f} s; {judged.stdout}", flush=True)
            if judged.returncode != 0 and os.environ.get("JOBQ_KEEP"):
                subprocess.run(["cp", "-r", space.directory, os.environ["JOBQ_KEEP"]], check=True)
            self.assertEqual(judged.returncode, 0, judged.stdout + judged.stderr)
            self.judge_must_notice(history, dump)


if __name__ == "__main__":
    unittest.main()

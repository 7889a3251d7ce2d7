#!/usr/bin/env python3
"""Kills under load, again and again, and has the judge look at what everybody was told: the broker, the workers; and
workers that are frozen past their leases, and thawed.

    JOBQ_KILL_SECONDS=600 JOBQ_DEATHS=600 JOBQ_FREEZES=50 meson test kill_loop      more than the usual few
"""

import os
import signal
import time
import unittest

from judged_load import QUEUE, SEED, JudgedLoad, processes, wait_until

KILLS = int(os.environ.get("JOBQ_KILLS", "300"))
KILL_SECONDS = int(os.environ.get("JOBQ_KILL_SECONDS", "180"))
DEATHS = int(os.environ.get("JOBQ_DEATHS", "40"))
FREEZES = int(os.environ.get("JOBQ_FREEZES", "2"))
FREEZES_A_RUN = 2
RESTARTS = int(os.environ.get("JOBQ_RESTARTS", "10"))


class KillLoop(JudgedLoad):
    def kill_again_and_again(self):
        """How often: as the time allows."""
        kills, end = 0, time.monotonic() + KILL_SECONDS
        while kills < KILLS and (time.monotonic() < end or kills < 5):
            self.work_goes_on(f"work goes on after kill {kills}", most=40_000 if kills % 16 == 0 else 8_000)
            kills += 1
            self.broker.kill()
            self.note("broker", "crash", err=f"kill {kills}")
            if self.draw.randrange(4) == 0:  # and once more while it starts
                processes.Process.start(self.broker)
                wait_until(lambda: (self.broker.child.poll() is not None) or self.draw.randrange(3) == 0, "a moment has passed")
                kills += 1
                self.broker.kill()
                self.note("broker", "crash", err=f"kill {kills}, at the start")
            processes.Process.start(self.broker)  # that it serves is seen by the work
        self.work_goes_on("work goes on after the last kill")
        return kills

    def test_nothing_confirmed_is_lost_and_nothing_acked_runs_again(self):
        with processes.Workspace() as space:
            self.begin(space, workers=3)
            kills = self.kill_again_and_again()
            self.end_and_judge(f"{kills} kills of the broker, seed {SEED}")

    def test_a_restart_is_a_pause_that_no_application_notices(self):
        """Half of them by SIGTERM. That nothing was made twice is I13, that no enqueue ended with an error end_and_judge() asserts."""
        with processes.Workspace() as space:
            self.begin(space, workers=3)
            for number in range(RESTARTS):
                self.work_goes_on(f"work goes on before restart {number}", most=200_000)
                if number % 2 == 0:
                    self.assertEqual(self.broker.stop(), 0, self.broker.output())
                else:
                    self.broker.kill()
                self.note("broker", "crash", err="SIGTERM" if number % 2 == 0 else "SIGKILL")
                processes.Process.start(self.broker)
            self.work_goes_on("work goes on after the last restart", most=200_000)
            events = self.end_and_judge(f"{RESTARTS} restarts, half of them polite")
            confirmed = [event["t"] for event in events if event["op"] == "enqueue" and event["type"] == "ok"]
            confirmed.sort()
            pauses = sorted(after - before for before, after in zip(confirmed, confirmed[1:]))
            print(f"{len(confirmed) * 1000 / (confirmed[-1] - confirmed[0]):.0f} enqueues/s with all pauses; the longest pauses between two "
                  f"confirms: {pauses[-RESTARTS:]} ms", flush=True)

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
        """A few freezes a run: producers are quicker than workers of which one stands still, and what they leave has to be worked off."""
        refused = 0
        for first in range(0, FREEZES, FREEZES_A_RUN):
            refused += self.freeze_workers(min(FREEZES_A_RUN, FREEZES - first))
        self.assertGreater(refused, 0, "no answer came too late: the test shows nothing")

    def freeze_workers(self, freezes):
        """How many answers came too late and were refused, or not wanted any more."""
        with processes.Workspace() as space:
            self.begin(space, workers=3)
            self.make_losses_quick()
            for number in range(freezes):
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
            events = self.end_and_judge(f"{freezes} freezes of workers")
        newest = {}
        for event in events:
            if event["op"] == "deliver":
                newest[event["job"]] = max(newest.get(event["job"], 0), event["token"])
        late = [event for event in events if event["op"] in ("ack", "nack") and event["type"] in ("fail", "info")
                and event.get("token", 0) < newest.get(event.get("job"), 0)]
        return len(late) + sum(event["op"] == "revoked" for event in events)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""Runs jobq and its peers alternately, A B A B, under the same load on the same cores and the same disk, and prints for
each row the medians, the ratio of the pairs with its 95 % interval, and CPU per job. bench/peers.sh builds what it needs.

  run.py --build build-bench [--quick] [--json] [--peer NAME]... [--only TEXT] [--pairs N] [--seconds S] [--window N]
  run.py --build build-bench --list

A ratio above 1 means that jobq is faster; of latencies it is the peer's over jobq's, so that above 1 is better there too.
A peer that is not installed is named, with the command that installs it, and left out.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import compare  # noqa: E402  (the table's arithmetic is the same)
from servers import PEERS  # noqa: E402

# name, jobq's case, the peers' mode, the figures of its runs
RATE = ["jobs_per_s"]
LATENCIES = ["confirm_p50_us", "confirm_p99_us", "delivery_p50_us", "delivery_p99_us"]
ROWS = [
    ("full cycle", "packed", "cycle", RATE),
    ("enqueue", "enqueue", "enqueue", RATE),
    ("deliver + ack", "deliver", "deliver", RATE),
    ("sync enqueue, one at a time", "sync", "sync", RATE),
    ("1,000 jobs/s", "latency", "latency", LATENCIES),
]
FIGURES = {"jobs_per_s": "jobs/s", "confirm_p50_us": "confirm p50 us", "confirm_p99_us": "confirm p99 us",
           "delivery_p50_us": "delivery p50 us", "delivery_p99_us": "delivery p99 us"}
BACKLOG = 1_000_000  # jobq's, for the row of deliveries alone


def run_json(words, timeout_s=600):
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


class Pairs:
    def __init__(self, arguments):
        self.arguments = arguments
        self.common = ["--json", "--seconds", str(arguments.seconds), "--window", str(arguments.window)]

    def jobq(self, case):
        build = self.arguments.build
        words = [os.path.join(build, "bench", "bench_broker"), "--broker", os.path.join(build, "broker", "jobq-broker"),
                 "--case", case, "--dir", self.arguments.dir, "--credit", str(self.arguments.window),
                 "--warm-up", str(self.arguments.warm_up), *self.common]
        return run_json(words + (["--backlog", str(self.backlog(BACKLOG))] if case == "deliver" else []))

    def backlog(self, jobs):
        return int(jobs * min(1, (self.arguments.seconds + self.arguments.warm_up) / 3))

    def peer(self, peer, mode):
        if peer.fresh:
            peer.start()
        try:
            words = [*peer.command(), "--name", peer.name, "--mode", mode, "--port", str(peer.port), "--server-pid",
                     str(peer.process.pid), "--warm-up", str(max(self.arguments.warm_up, peer.warm_up)), *self.common]
            return run_json(words + (["--backlog", str(self.backlog(peer.backlog))] if mode == "deliver" else []))
        finally:
            if peer.fresh:
                peer.stop()

    def row(self, peer, case, mode):
        ours, theirs = [], []
        for number in range(self.arguments.pairs):
            for side in ("jobq", "peer") if number % 2 == 0 else ("peer", "jobq"):
                os.sync()  # what the other left to be written later is not this one's cost
                if side == "peer":
                    peer.freeze(False)
                    theirs.append(self.peer(peer, mode))
                    peer.freeze(not peer.fresh)
                else:
                    ours.append(self.jobq(case))
        peer.freeze(False)
        return ours, theirs


def syncs_per_job(peer, pairs):
    """What strace sees of fsync and fdatasync while jobs are enqueued one at a time; None without strace."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    if peer.fresh:
        peer.start()
    try:
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as trace:
            watcher = subprocess.Popen([strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", trace.name,
                                        *(word for pid in tree_of(peer.process.pid) for word in ("-p", str(pid)))],
                                       stderr=subprocess.DEVNULL)
            try:
                row = run_json([*peer.command(), "--name", peer.name, "--mode", "sync", "--port", str(peer.port),
                                "--server-pid", str(peer.process.pid), "--json", "--seconds", "1", "--warm-up", "0"])
            finally:
                watcher.send_signal(signal.SIGINT)
                watcher.wait()
            calls = len(re.findall(r"\bf(?:data)?sync\(", trace.read()))
        return calls / max(row["jobs"], 1)
    finally:
        if peer.fresh:
            peer.stop()


def tree_of(root):
    tree = [root]
    for pid in tree:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            tree += map(int, children.read().split())
    return tree


def results_of(name, figures, peer, ours, theirs):
    for figure in figures:
        rate = figure == "jobs_per_s"
        pairs = [(a[figure], b[figure]) for a, b in zip(ours, theirs) if a.get(figure) and b.get(figure)]
        if not pairs:
            continue
        ratio, low, high = compare.interval([a / b if rate else b / a for a, b in pairs])
        result = {"row": name, "peer": peer.name, "peer_syncs_before_ok": peer.durable, "figure": figure,
                  "jobq": statistics.median(a for a, _ in pairs), "peer_value": statistics.median(b for _, b in pairs),
                  "ratio": ratio, f"ratio_to_{peer.key}": ratio, "low": low, "high": high, "pairs": len(pairs),
                  "goal": peer.goal if name == "full cycle" else None}
        for side, rows in (("jobq", ours), ("peer", theirs)):
            result[f"{side}_cpu_us"] = statistics.median(compare.cpu_of(row) for row in rows)
            result[f"{side}_broker_cpu_us"] = statistics.median(row.get("broker_cpu_us", 0) for row in rows)
            result[f"{side}_rss_anon_mb"] = statistics.median(row.get("rss_anon_mb", 0) for row in rows)
        yield result


def line_of(result):
    spread = f"{result['low']:.2f} to {result['high']:.2f}" if result["low"] is not None else ""
    goal = ""
    if result["goal"] is not None:
        goal = f">= {result['goal']}{'' if result['ratio'] >= result['goal'] else ' MISSED'}"
    return (f"  {result['row'] + ', ' + FIGURES[result['figure']]:<40} {result['jobq']:>9.0f} {result['peer_value']:>9.0f} "
            f"{result['ratio']:>6.2f} {spread:<15} {goal:<14} {result['jobq_cpu_us']:>8.2f} {result['peer_cpu_us']:>8.2f}")


def measure(peer, pairs, arguments):
    def say(record, line):
        print(json.dumps(record) if arguments.json else line, flush=True)

    if not peer.fresh:
        peer.start()
    try:
        durable = "durable before OK" if peer.durable else "NOT durable before OK"
        syncs = syncs_per_job(peer, pairs) if arguments.strace else None
        seen = "" if syncs is None else f"; strace: {syncs:.2f} syncs a job enqueued alone"
        say({"peer": peer.name, "syncs_before_ok": peer.durable, "syncs_per_job_alone": syncs},
            f"{peer.name} ({durable}{seen})")
        for name, case, mode, figures in ROWS:
            if arguments.only not in name:
                continue
            ours, theirs = pairs.row(peer, case, mode)
            for result in results_of(name, figures, peer, ours, theirs):
                say(result, line_of(result))
    finally:
        peer.stop()


def use_two_cores():
    """As the published figures: both sides and all their processes on the same two."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--quick", action="store_true", help="three pairs of two seconds instead of five of four")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--list", action="store_true", help="the peers, and what is missing of each")
    parser.add_argument("--peer", action="append", choices=sorted(PEERS), help="only these")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--warm-up", type=float, default=0.5)
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--no-strace", dest="strace", action="store_false", help="do not count the peers' syncs")
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="where the stores of both sides lie meanwhile")
    arguments = parser.parse_args()
    arguments.pairs = arguments.pairs or (3 if arguments.quick else 5)
    arguments.seconds = arguments.seconds or (2 if arguments.quick else 4)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every server is stopped
    use_two_cores()
    peers = []
    for key in arguments.peer or PEERS:
        peer = PEERS[key](arguments.build, arguments.dir)
        peer.key = key
        missing = peer.missing()
        if arguments.list:
            print(f"{key:<18} {peer.name}: {missing or 'ready'}")
        elif missing:
            print(f"skipped: {peer.name}: {missing}", file=sys.stderr, flush=True)
        else:
            peers.append(peer)
    if arguments.list:
        return
    about = compare.machine()
    if arguments.json:
        print(json.dumps({"machine": about, "window": arguments.window, "seconds": arguments.seconds}))
    else:
        print(f"commit {about['commit']}, {about['processor']}, two cores, {about['memory_gb']} GB, kernel "
              f"{about['kernel']}, load {about['load']:.1f}; {arguments.pairs} pairs of {arguments.seconds:g} s, bodies of "
              f"256 B, window {arguments.window:,}")
        print(f"  {'':<40} {'jobq':>9} {'peer':>9} {'ratio':>6} {'95 %':<15} {'goal':<14} {'jobq CPU':>8} {'peer CPU':>8}")
    pairs = Pairs(arguments)
    for peer in peers:
        measure(peer, pairs, arguments)
    if not arguments.json:
        print("ratio: above 1 jobq is faster (of latencies: the peer's over jobq's); CPU: us per job of server, producer and "
              "worker")


if __name__ == "__main__":
    main()

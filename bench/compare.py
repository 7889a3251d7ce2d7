#!/usr/bin/python3
"""Runs pairs of benchmarks alternately, A B A B, and prints for each row the medians, the ratio of the pairs with its
95 % interval, CPU per job and commits. What moves the machine from one minute to the next moves both halves of a pair;
rates of different rows are not to be compared.

  compare.py --build build-bench [--quick] [--json] [--only TEXT] [--pairs N] [--seconds S]
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile

BARE_SINGLE = ["bare_loop", "--jobs-per-message", "1", "--window", "1000", "--credit", "1000"]
BARE_PACKED = ["bare_loop", "--jobs-per-message", "100", "--window", "10000", "--credit", "10000"]
PACKED = ["bench_broker", "--case", "packed"]
ORDERED = ["bench_broker", "--case", "ordered"]


def broker(case, *options):
    return ["bench_broker", "--case", case, *options]


# name, what is measured, what it is divided by, the figure, the goal, and whether --quick leaves it out
ROWS = [
    ("single / bare", broker("single"), BARE_SINGLE, "jobs_per_s", 0.5, False),
    ("packed / bare", PACKED, BARE_PACKED, "jobs_per_s", 0.5, False),
    ("one at a time / bare", broker("sync"), ["bare_loop", "--mode", "sync"], "jobs_per_s", 0.85, False),
    ("confirm p50 at 1,000/s / bare", broker("latency"), ["bare_loop", "--mode", "latency"], "confirm_p50_us", 1.15, False),
    ("delivery p50 at 1,000/s / bare", broker("latency"), ["bare_loop", "--mode", "latency"], "delivery_p50_us", 1.15, False),
    ("backlog 1 M / empty", broker("packed", "--backlog", "1000000"), PACKED, "jobs_per_s", 0.9, False),
    ("backlog 10 M / empty", broker("packed", "--backlog", "10000000"), PACKED, "jobs_per_s", 0.9, True),
    ("random acks, 20,000 in flight / ordered", broker("random-20k"), ORDERED, "jobs_per_s", 0.6, False),
    ("random acks, 200,000 in flight / ordered", broker("random-200k"), ORDERED, "jobs_per_s", 0.4, False),
    ("one in ten fails first / plain", broker("retry"), PACKED, "jobs_per_s", 0.4, False),
    ("delays / plain", broker("delays"), PACKED, "jobs_per_s", 0.4, False),
    ("ten priorities / plain", broker("priorities"), PACKED, "jobs_per_s", 0.4, False),
    ("1,000 queues / plain", broker("queues"), PACKED, "jobs_per_s", 0.4, False),
    ("unique keys, 20,000 live / plain", broker("unique"), PACKED, "jobs_per_s", 0.4, False),
    ("unique keys, 1 M live / plain", broker("unique-1m"), PACKED, "jobs_per_s", None, True),
    ("1,000 producers and workers / one each", broker("peers"), ORDERED, "jobs_per_s", 0.7, False),
]
LOWER_IS_BETTER = {"confirm_p50_us", "delivery_p50_us"}


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    return {
        "processor": model, "cores": os.cpu_count(), "kernel": platform.release(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "load": os.getloadavg()[0], "commit": commit.stdout.strip() + ("+" if dirty.stdout.strip() else ""),
    }


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments

    def run(self, command):
        program = os.path.join(self.arguments.build, "bench", command[0])
        words = [program, *command[1:], "--json", "--seconds", str(self.arguments.seconds),
                 "--warm-up", str(self.arguments.warm_up), "--dir", self.arguments.dir]
        if command[0] == "bench_broker":
            words += ["--broker", os.path.join(self.arguments.build, "broker", "jobq-broker")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=1200, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
        return json.loads(done.stdout)

    def pairs(self, a, b):
        """The rows of A and B, and their order turned round from pair to pair."""
        rows_a, rows_b = [], []
        for number in range(self.arguments.pairs):
            for command, rows in ((a, rows_a), (b, rows_b)) if number % 2 == 0 else ((b, rows_b), (a, rows_a)):
                rows.append(self.run(command))
        return rows_a, rows_b


def interval(ratios):
    """Median, and the 95 % interval of the mean of the logarithms (Student's t)."""
    quantiles = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
    logs = [math.log(ratio) for ratio in ratios]
    if len(logs) < 2:
        return ratios[0], None, None
    half = quantiles.get(len(logs), 2.2) * statistics.stdev(logs) / math.sqrt(len(logs))
    mean = statistics.mean(logs)
    return statistics.median(ratios), math.exp(mean - half), math.exp(mean + half)


def median_of(rows, field):
    return statistics.median(row.get(field, 0) for row in rows)


def cpu_of(row):
    return sum(row.get(field, 0) for field in ("broker_cpu_us", "producer_cpu_us", "worker_cpu_us"))


def result_of(name, figure, goal, rows_a, rows_b):
    ratio, low, high = interval([a[figure] / b[figure] for a, b in zip(rows_a, rows_b)])
    result = {"row": name, "figure": figure, "value": median_of(rows_a, figure), "against": median_of(rows_b, figure),
              "ratio": ratio, "low": low, "high": high, "goal": goal, "pairs": len(rows_a)}
    if "/ bare" in name:
        result["ratio_to_bare"] = ratio
    for field in ("broker_cpu_us", "producer_cpu_us", "worker_cpu_us", "commits_per_s", "rss_anon_mb"):
        result[field] = median_of(rows_a, field)
    result["cpu_ratio"] = statistics.median(cpu_of(b) / cpu_of(a) for a, b in zip(rows_a, rows_b))
    result["broker_cpu_ratio"] = statistics.median(
        b["broker_cpu_us"] / a["broker_cpu_us"] for a, b in zip(rows_a, rows_b))
    return result


def line_of(result):
    spread = f"{result['low']:.2f} to {result['high']:.2f}" if result["low"] is not None else ""
    goal = ""
    if result["goal"] is not None:
        lower = result["figure"] in LOWER_IS_BETTER
        met = result["ratio"] <= result["goal"] if lower else result["ratio"] >= result["goal"]
        goal = f"{'<=' if lower else '>='} {result['goal']}{'' if met else ' MISSED'}"
    return (f"{result['row']:<42} {result['value']:>9.0f} {result['against']:>9.0f} {result['ratio']:>6.2f} "
            f"{spread:<14} {goal:<14} {result['cpu_ratio']:>5.2f} {result['broker_cpu_us']:>7.2f} "
            f"{result['producer_cpu_us']:>7.2f} {result['worker_cpu_us']:>7.2f} {result['commits_per_s']:>9.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--warm-up", type=float, default=1)
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="where the stores lie meanwhile")
    arguments = parser.parse_args()
    arguments.pairs = arguments.pairs or (3 if arguments.quick else 5)
    arguments.seconds = arguments.seconds or (2 if arguments.quick else 5)
    bench = Bench(arguments)
    about = machine()
    if arguments.json:
        print(json.dumps({"machine": about}))
    else:
        print(f"commit {about['commit']}, {about['processor']}, {about['cores']} cores, {about['memory_gb']} GB, "
              f"kernel {about['kernel']}, load {about['load']:.1f}; {arguments.pairs} pairs of {arguments.seconds:g} s")
        print(f"{'':<42} {'jobs/s':>9} {'against':>9} {'ratio':>6} {'95 %':<14} {'goal':<14} {'CPU':>5} "
              f"{'broker':>7} {'produc.':>7} {'worker':>7} {'commits/s':>9}")
    for name, a, b, figure, goal, long in ROWS:
        if arguments.only not in name or (long and arguments.quick):
            continue
        result = result_of(name, figure, goal, *bench.pairs(a, b))
        print(json.dumps(result) if arguments.json else line_of(result), flush=True)
    if not arguments.json:
        print("ratio: of the pairs' figures; CPU: CPU per job of all processes, B's over A's; broker, producer and\n"
              "worker in us of CPU per job; latencies in us instead of jobs/s")


if __name__ == "__main__":
    main()

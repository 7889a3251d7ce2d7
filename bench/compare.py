#!/usr/bin/python3
"""Runs pairs of benchmarks alternately, A B A B, and prints for each row the medians, the ratio of the pairs with its
95 % interval, CPU per job and commits. What moves the machine from one minute to the next moves both halves of a pair;
rates of different rows are not to be compared.

  compare.py --build build-bench [--quick] [--json] [--only TEXT] [--pairs N] [--seconds S]
  compare.py --build build-bench --churn [--minutes 60] [--json]

--churn lets 20,000 jobs in flight be acked in any order for so long, with the bare loop between the slices, and prints
CPU per job, rate and size of the store of the last slices beside the first; then the size of a store whose backlog was
drained and came again.
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


def body_rows():
    """MB/s of bodies of some sizes beside plain sequential writes with an fdatasync after every MiB (or body). At most
    32 MiB unconfirmed and 64 MiB in flight."""
    goals = {64: None, 1024: None, 16 << 10: 0.5, 128 << 10: 0.5, 1 << 20: 0.5}
    for size, goal in goals.items():
        window = str(max(16, min(10_000, (32 << 20) // size)))
        in_flight = str(max(32, min(20_000, (64 << 20) // size)))
        load = ["--body", str(size), "--window", window, "--credit", window, "--in-flight", in_flight]
        name = f"{size} B" if size < 1024 else f"{size >> 10} KiB" if size < 1 << 20 else "1 MiB"
        for case, what in (("enqueue", "enqueue"), ("packed", "full cycle")):
            yield (f"bodies of {name}, {what} / plain writes", broker(case, *load), ["plain_writes", "--body", str(size)],
                   "mb_per_s", goal if case == "packed" else None, False)


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
    ("1,000 producers and workers, 10 jobs each / one each", broker("peers-10"), ORDERED, "jobs_per_s", None, False),
    ("a worker stopped reading / not", broker("stopped"), [*ORDERED, "--credit", "1000"], "jobs_per_s", 0.95, False),
    *body_rows(),
    ("1,000 idle workers / libzmq, same heartbeats", broker("idle"), ["bare_loop", "--mode", "idle"], "broker_cpu_percent",
     1.0, False),
    ("delivery to an idle worker / bare", broker("latency", "--rate", "20"), ["bare_loop", "--mode", "latency", "--rate", "20"],
     "delivery_p50_us", None, False),
    ("delivery to an idle worker / one fdatasync", broker("latency", "--rate", "20"),
     ["plain_writes", "--body", "4096", "--sync-every", "4096", "--rate", "20"], ("delivery_p50_us", "confirm_p50_us"), None,
     False),
]
LOWER_IS_BETTER = {"confirm_p50_us", "delivery_p50_us", "broker_cpu_percent"}
# A commit of LMDB waits for the disk twice: fdatasync of the pages, then the meta page through a descriptor with O_DSYNC.
DISK_WAITS_PER_COMMIT = 2


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

    def run(self, command, timeout_s=1200):
        program = os.path.join(self.arguments.build, "bench", command[0])
        words = [program, *command[1:], "--json", "--seconds", str(self.arguments.seconds),
                 "--warm-up", str(self.arguments.warm_up), "--dir", self.arguments.dir]
        if command[0] == "bench_broker":
            words += ["--broker", os.path.join(self.arguments.build, "broker", "jobq-broker")]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=None if "churn" in words else subprocess.PIPE, text=True, timeout=timeout_s, check=False)
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


    def churn(self, minutes):
        bare = os.path.join(self.arguments.build, "bench", "bare_loop")
        rows = [self.run(broker("churn", "--minutes", str(minutes), "--bare", bare), 60 * minutes + 3600),
                self.run(broker("refill"))]
        if self.arguments.json:
            print("\n".join(map(json.dumps, rows)))
            return
        run, refill = rows
        print(f"churn, {minutes:g} minutes: broker CPU per job, last to first {run['cpu_last_to_first']:.3f} (goal <= 1.05; "
              f"{run['broker_cpu_us_first']:.2f} to {run['broker_cpu_us']:.2f} us), rate beside the bare loop "
              f"{run['ratio_to_bare_first']:.3f} to {run['ratio_to_bare_last']:.3f}, store {run['disk_mb_first']:.0f} to "
              f"{run['disk_mb_last']:.0f} MB")
        print(f"store with {int(refill['backlog']):,} jobs waiting {refill['disk_mb_full']:.0f} MB, drained "
              f"{refill['disk_mb_drained']:.0f} MB, with as many again {refill['disk_mb_refilled']:.0f} MB")


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
    """`figure`: of both, or a pair of names where they differ."""
    figure, figure_b = (figure, figure) if isinstance(figure, str) else figure
    ratio, low, high = interval([a[figure] / b[figure_b] for a, b in zip(rows_a, rows_b)])
    result = {"row": name, "figure": figure, "value": median_of(rows_a, figure), "against": median_of(rows_b, figure_b),
              "ratio": ratio, "low": low, "high": high, "goal": goal, "pairs": len(rows_a)}
    if "/ bare" in name:
        result["ratio_to_bare"] = ratio
    for field in ("broker_cpu_us", "producer_cpu_us", "worker_cpu_us", "commits_per_s", "rss_anon_mb"):
        result[field] = median_of(rows_a, field)
    result["disk_waits_per_s"] = DISK_WAITS_PER_COMMIT * result["commits_per_s"]
    result["disk_waits_per_job"] = (
        DISK_WAITS_PER_COMMIT / median_of(rows_a, "jobs_per_commit") if median_of(rows_a, "jobs_per_commit") else 0)
    # Without jobs (idle), or beside a program that is no broker, there is no CPU per job to compare.
    comparable = all(row.get("broker_cpu_us") for row in (*rows_a, *rows_b)) and figure_b == figure
    result["cpu_ratio"] = (
        statistics.median(cpu_of(b) / cpu_of(a) for a, b in zip(rows_a, rows_b)) if comparable else 0)
    result["broker_cpu_ratio"] = (
        statistics.median(b["broker_cpu_us"] / a["broker_cpu_us"] for a, b in zip(rows_a, rows_b)) if comparable else 0)
    return result


def number(value):
    return f"{value:>9.0f}" if value >= 100 else f"{value:>9.2f}"


def line_of(result):
    spread = f"{result['low']:.2f} to {result['high']:.2f}" if result["low"] is not None else ""
    goal = ""
    if result["goal"] is not None:
        lower = result["figure"] in LOWER_IS_BETTER
        met = result["ratio"] <= result["goal"] if lower else result["ratio"] >= result["goal"]
        goal = f"{'<=' if lower else '>='} {result['goal']}{'' if met else ' MISSED'}"
    return (f"{result['row']:<42} {number(result['value'])} {number(result['against'])} {result['ratio']:>6.2f} "
            f"{spread:<14} {goal:<14} {result['cpu_ratio']:>5.2f} {result['broker_cpu_us']:>7.2f} "
            f"{result['producer_cpu_us']:>7.2f} {result['worker_cpu_us']:>7.2f} {result['disk_waits_per_s']:>8.0f} "
            f"{result['disk_waits_per_job']:>9.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--churn", action="store_true")
    parser.add_argument("--minutes", type=float, default=2, help="of --churn")
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
              f"{'broker':>7} {'produc.':>7} {'worker':>7} {'waits/s':>8} {'waits/job':>9}")
    if arguments.churn:
        bench.churn(arguments.minutes)
        return
    for name, a, b, figure, goal, long in ROWS:
        if arguments.only not in name or (long and arguments.quick):
            continue
        result = result_of(name, figure, goal, *bench.pairs(a, b))
        print(json.dumps(result) if arguments.json else line_of(result), flush=True)
    if not arguments.json:
        print("ratio: of the pairs' figures; CPU: CPU per job of all processes, B's over A's; broker, producer and\n"
              "worker in us of CPU per job; waits: for the disk, two a commit; latencies in us, bodies in MB/s and idle brokers in\n"
              "% of a core instead of jobs/s")


if __name__ == "__main__":
    main()

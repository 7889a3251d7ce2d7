#!/usr/bin/python3
"""Measures the curves of docs/benchmarks.md, each point once a round, the points of a round in turn:

  backlog   full cycle and the broker's memory over so many waiting jobs
  held      full cycle with so many jobs in flight, acked in any order
  load      latency at so many percent of the ceiling (the packed full cycle, measured in the same round)

  bench/run.sh --curves [--rounds 3] [--seconds 3] [--only backlog] >bench/results/DATE-curves.jsonl
  bench/plot.py bench/results/DATE-curves.jsonl docs/plots

One JSON object a line, the machine first.
"""

import argparse
import json
import sys
import tempfile

import compare

BACKLOGS = [0, 10_000, 100_000, 1_000_000, 3_000_000]
HELD = [1_000, 5_000, 20_000, 50_000, 100_000, 200_000]
LOAD_PERCENT = [10, 25, 50, 75, 90, 95]


def points(only, ceiling):
    """(curve, x, the words of bench_broker); the ceiling is asked for when it is needed."""
    for backlog in BACKLOGS:
        if only in ("", "backlog"):
            yield "backlog", backlog, compare.broker("packed", *(("--backlog", str(backlog)) if backlog else ()))
    for held in HELD:
        if only in ("", "held"):
            case = "random-20k" if held <= 20_000 else "random-200k"
            yield "held", held, compare.broker(case, "--held", str(held), "--in-flight", str(20_000 + 2 * held))
    for percent in LOAD_PERCENT:
        if only in ("", "load"):
            yield "load", percent, compare.broker("latency", "--rate", str(ceiling() * percent / 100))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", default="", choices=["", "backlog", "held", "load"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--warm-up", type=float, default=1)
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="where the stores lie meanwhile")
    arguments = parser.parse_args()
    bench = compare.Bench(arguments)
    print(json.dumps({"machine": compare.machine()}), flush=True)
    for number in range(1, arguments.rounds + 1):
        known = []

        def ceiling(known=known):
            if not known:
                known.append(bench.run(compare.PACKED)["jobs_per_s"])
            return known[0]

        for curve, x, command in points(arguments.only, ceiling):
            print(f"round {number} of {arguments.rounds}: {curve} {x:,} ...", file=sys.stderr)
            row = bench.run(command)
            print(json.dumps({"curve": curve, "x": x, "round": number, **row}), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Draws the curves that bench/sweep.py measured, as SVG files: plot.py RESULTS.jsonl DIRECTORY. Needs python3-matplotlib.

A point is the median of the rounds, a bar reaches from the lowest to the highest. The same input gives the same bytes.
"""

import collections
import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "jobq", "font.size": 10, "axes.grid": True, "grid.alpha": 0.3})
import matplotlib.pyplot as plt  # noqa: E402


def series(rows, curve, value):
    """[(x, median, lowest, highest)] by x."""
    by_x = collections.defaultdict(list)
    for row in rows:
        if row["curve"] == curve:
            by_x[row["x"]].append(value(row))
    return [(x, statistics.median(values), min(values), max(values)) for x, values in sorted(by_x.items())]


def draw(axes, line, label):
    x, middle, low, high = zip(*line)
    below = [m - l for m, l in zip(middle, low)]
    above = [h - m for m, h in zip(middle, high)]
    axes.errorbar(x, middle, yerr=[below, above], marker="o", capsize=3, label=label)


def picture(path, about, title, x_label, y_label, lines, x_scale="linear", y_scale="linear", ticks=None):
    figure, axes = plt.subplots(figsize=(7, 4))
    for label, line in lines:
        draw(axes, line, label)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.set_xscale(x_scale, **({"linthresh": 10_000} if x_scale == "symlog" else {}))
    axes.set_yscale(y_scale)
    if y_scale == "linear":
        axes.set_ylim(bottom=0)
    if ticks:
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=20)
    if len(lines) > 1:
        axes.legend()
    figure.text(0.99, 0.01, about, ha="right", fontsize=7, alpha=0.7)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    print(path)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as lines:
        machine, *rows = map(json.loads, lines)
    machine = machine["machine"]
    about = f"commit {machine['commit']}, {machine['processor']}, {machine['cores']} cores"
    to = pathlib.Path(sys.argv[2])
    to.mkdir(parents=True, exist_ok=True)
    curves = {row["curve"] for row in rows}

    def rate(row):
        return row["jobs_per_s"]

    if "backlog" in curves:
        line = series(rows, "backlog", rate)
        ticks = [x for x, *_ in line]
        picture(to / "rate_against_backlog.svg", about, "Full cycle over a backlog", "jobs waiting", "jobs/s",
                [("full cycle", line)], x_scale="symlog", ticks=ticks)
        picture(to / "memory_against_backlog.svg", about, "The broker's own memory under load", "jobs waiting", "RssAnon, MB",
                [("RssAnon", series(rows, "backlog", lambda row: row["rss_anon_mb"]))], x_scale="symlog", ticks=ticks)
    if "held" in curves:
        picture(to / "rate_against_in_flight.svg", about, "Full cycle, acked in any order", "jobs in flight", "jobs/s",
                [("full cycle", series(rows, "held", rate))], x_scale="log")
    if "load" in curves:
        names = {"confirm_p50_us": "confirmed, p50", "confirm_p99_us": "confirmed, p99",
                 "delivery_p50_us": "at the handler, p50", "delivery_p99_us": "at the handler, p99"}
        picture(to / "latency_against_load.svg", about, "Latency against load", "% of the full cycle's ceiling",
                "milliseconds",
                [(name, series(rows, "load", lambda row, field=field: row[field] / 1000)) for field, name in names.items()],
                y_scale="log")


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""The branches of llvm-cov's export as a table by file and by room.

usage: coverage_table.py EXPORT_JSON yes|no ROOM...     yes: also every branch that never went one of its ways

Every condition counts twice: true and false. Not counted: conditions inside JOBQ_CHECK, whose false way ends the process; planted
bugs, which are constant here, and what stands behind one in the same line; the value that a switch over all values of an enum does
not name (the compiler insists on all). Of a template, all instances together count as one. The last lines have the raw count too.
"""

import collections
import json
import pathlib
import re
import sys


def spans_of_checks(text):
    """The lines of each JOBQ_CHECK(...), by its brackets."""
    lines = set()
    for found in re.finditer(r"\bJOBQ_CHECK\(", text):
        depth, at = 1, found.end()
        while depth > 0 and at < len(text):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        first = text.count("\n", 0, found.start()) + 1
        lines.update(range(first, first + text.count("\n", found.start(), at) + 1))
    return lines


def branches_of(entry, raw=False):
    """{(line, column): (text of the condition, times true, times false)}; raw: all of them."""
    name = pathlib.Path(entry["filename"])
    text = name.read_text(encoding="utf-8")
    rows = text.split("\n")
    checks = spans_of_checks(text)
    found = collections.defaultdict(lambda: ["", 0, 0])
    for line, column, line_end, column_end, true, false, *_ in entry["branches"]:
        part = rows[line - 1:line_end]
        part[-1] = part[-1][:column_end - 1]
        part[0] = part[0][column - 1:]
        condition = " ".join(piece.strip() for piece in part)
        if not raw and (line in checks or "JOBQ_PLANTED" in condition):
            continue
        branch = found[line, column]
        branch[0] = condition
        branch[1] += true
        branch[2] += false
    if raw:
        return found
    return {place: branch for place, branch in found.items() if not is_no_choice(rows[place[0] - 1], *branch)}


def is_no_choice(row, condition, true, false):
    behind_planted = "JOBQ_PLANTED" in row and true + false == 0
    unnamed_value = f"switch ({condition})" in row and true == 0
    return behind_planted or unnamed_value


def main():
    export, with_lines, *rooms = sys.argv[1:]
    root = pathlib.Path.cwd()
    files = json.loads(pathlib.Path(export).read_text(encoding="utf-8"))["data"][0]["files"]
    totals = {room: [0, 0] for room in rooms}
    raw = {room: [0, 0] for room in rooms}
    missing = []
    print(f"{'file':48} {'branches':>8} {'taken':>6} {'per cent':>8}")
    for entry in sorted(files, key=lambda file: file["filename"]):
        name = str(pathlib.Path(entry["filename"]).resolve().relative_to(root))
        found = branches_of(entry)
        if not found:
            continue
        taken = sum((true > 0) + (false > 0) for _, true, false in found.values())
        print(f"{name:48} {2 * len(found):8} {taken:6} {100 * taken / (2 * len(found)):8.1f}")
        everything = branches_of(entry, raw=True)
        for room in rooms:
            if name.startswith(room + "/"):
                totals[room][0] += 2 * len(found)
                totals[room][1] += taken
                raw[room][0] += 2 * len(everything)
                raw[room][1] += sum((true > 0) + (false > 0) for _, true, false in everything.values())
        for (line, _), (condition, true, false) in sorted(found.items()):
            ways = [way for way, times in (("true", true), ("false", false)) if times == 0]
            if ways:
                missing.append(f"{name}:{line}: never {' and never '.join(ways)}: {condition}")
    for room, (all_, taken) in totals.items():
        print(f"{room:48} {all_:8} {taken:6} {100 * taken / max(all_, 1):8.1f}   raw: {raw[room][1]} of {raw[room][0]}, "
              f"{100 * raw[room][1] / max(raw[room][0], 1):.1f}")
    if with_lines == "yes":
        print("\n".join(missing))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Prints the build targets that the tests of a suite need, so that a build for one suite builds nothing else.

usage: suite_targets.py BUILD_DIRECTORY SUITE
"""

import json
import os
import subprocess
import sys


def introspect(build, what):
    return json.loads(subprocess.run(["meson", "introspect", build, what], capture_output=True, check=True).stdout)


def main():
    build, suite = sys.argv[1:]
    files = {target["id"]: target["filename"] for target in introspect(build, "--targets")}
    wanted = set()
    for test in introspect(build, "--tests"):
        if any(name.split(":")[-1] == suite for name in test["suite"]):
            for target in test["depends"]:
                wanted.update(os.path.relpath(file, build) for file in files[target])
    print(*sorted(wanted), sep="\n")


if __name__ == "__main__":
    main()

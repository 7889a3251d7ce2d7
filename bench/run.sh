#!/usr/bin/env bash
# Measures the broker beside the bare loop and beside itself, and prints one table with ratios and the machine.
#   bench/run.sh                all rows, five interleaved pairs each: about half an hour, and 10 GB of disk meanwhile
#   bench/run.sh --quick        three shorter pairs, without the backlog of ten million: about five minutes
#   bench/run.sh --json         one object a row instead of the table
#   bench/run.sh --only TEXT    rows whose name contains TEXT
# Builds what it needs in build-bench/ (a release build) unless BENCH_BUILD names a build directory.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BENCH_BUILD:-build-bench}
if [ ! -f "$build/build.ninja" ]; then
  meson setup "$build" --buildtype=release -Dtests=false -Dexamples=false >&2
fi
ninja -C "$build" broker/jobq-broker cli/jobq bench/bare_loop bench/bench_broker >&2
exec /usr/bin/python3 bench/compare.py --build "$build" "$@"

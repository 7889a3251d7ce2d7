#!/usr/bin/env bash
# Measures the broker beside the bare loop and beside itself, and prints one table with ratios and the machine.
#   bench/run.sh                all rows, five interleaved pairs each: about half an hour, and 10 GB of disk meanwhile
#   bench/run.sh --quick        three shorter pairs, without the backlog of ten million: about five minutes
#   bench/run.sh --json         one object a row instead of the table
#   bench/run.sh --churn        a long run, last slices beside the first: two minutes, or --minutes 60; with the size of the
#                               store of a backlog that was drained and comes again
#   bench/run.sh --curves       rate over backlog and over jobs in flight, latency over load: bench/sweep.py; bench/plot.py draws them
#   bench/run.sh --peers        beside Redis, PostgreSQL, RabbitMQ, ...: bench/peers.sh, which takes the rest of the options
#   bench/run.sh --only TEXT    rows whose name contains TEXT
# Builds what it needs in build-bench/ (a release build) unless BENCH_BUILD names a build directory.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --peers ]; then
  shift
  exec bench/peers.sh "$@"
fi
build=${BENCH_BUILD:-build-bench}
if [ ! -f "$build/build.ninja" ]; then
  meson setup "$build" --buildtype=release -Dtests=false -Dexamples=false >&2
fi
ninja -C "$build" broker/jobq-broker cli/jobq bench/bare_loop bench/bench_broker bench/plain_writes >&2
if [ "${1:-}" = --curves ]; then
  shift
  exec /usr/bin/python3 bench/sweep.py --build "$build" "$@"
fi
exec /usr/bin/python3 bench/compare.py --build "$build" "$@"

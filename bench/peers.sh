#!/usr/bin/env bash
# Measures jobq beside its peers (Redis Streams, PostgreSQL, RabbitMQ, beanstalkd, NATS JetStream, BullMQ), each started
# in a fresh directory on loopback, and prints one table of ratios. A peer that is not installed is left out, with the
# command that installs it.
#   bench/peers.sh                 all peers, five pairs a row: about half an hour
#   bench/peers.sh --quick         three shorter pairs
#   bench/peers.sh --list          which peers are ready, and what is missing of the others
#   bench/peers.sh --peer redis    one of them; --only cycle: some rows; --json: one object a row
# All peers at once: apt-get install --no-install-recommends redis-server libhiredis-dev postgresql libpq-dev \
#   beanstalkd rabbitmq-server librabbitmq-dev nats-server libnats-dev nodejs npm
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BENCH_BUILD:-build-bench}
if [ ! -f "$build/build.ninja" ]; then
  meson setup "$build" --buildtype=release -Dtests=false -Dexamples=false >&2
fi
meson configure "$build" -Dpeers=true >&2
# Configured anew each time, for a client library may have come meanwhile.
meson setup --reconfigure "$build" >/dev/null
targets=(broker/jobq-broker bench/bench_broker)
for peer in beanstalkd redis postgres rabbitmq nats; do
  if ninja -C "$build" -t query "bench/peers/peer_$peer" >/dev/null 2>&1; then
    targets+=("bench/peers/peer_$peer")
  fi
done
ninja -C "$build" "${targets[@]}" >&2
if command -v npm >/dev/null && [ ! -d "$build/bullmq/node_modules/bullmq" ]; then
  mkdir -p "$build/bullmq"
  cp bench/peers/bullmq/package.json "$build/bullmq/"
  npm install --prefix "$build/bullmq" --no-audit --no-fund --ignore-scripts >&2 ||
    echo "BullMQ could not be installed: the npm registry does not answer" >&2
fi
[ -d "$build/bullmq" ] && cp bench/peers/bullmq/bench.js "$build/bullmq/"
exec /usr/bin/python3 bench/peers/run.py --build "$build" "$@"

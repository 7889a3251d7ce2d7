#!/usr/bin/env bash
# Builds a release of this source tree and installs its programs into DIR/usr, as the container file does.
#   packaging/container/build.sh DIR
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: build.sh DIR" >&2; exit 64; }
cd "$(dirname "$0")/../.."
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
meson setup "$build" --buildtype=release --prefix=/usr -Dtests=false -Dbenchmarks=false -Dexamples=false
ninja -C "$build"
meson install -C "$build" --no-rebuild --destdir "$build/root" >/dev/null
for program in jobq-broker jobq-worker jobq; do
  install -D --strip "$build/root/usr/bin/$program" "$1/usr/bin/$program"
done
install -D -m 0644 "$build/root/etc/jobq/jobq-broker.toml" "$1/etc/jobq/jobq-broker.toml"

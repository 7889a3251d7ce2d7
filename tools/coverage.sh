#!/usr/bin/env bash
# Branch coverage of engine, store and codec, as clang counts branches: every condition both ways.
#   tools/coverage.sh            builds build-coverage/, runs the tests that belong to those rooms, prints a table by file
#   tools/coverage.sh --lines    and after it the places where a branch was never taken one of its ways
# Needs llvm-16 (llvm-cov, llvm-profdata) besides what the tests need: tools/install_deps.sh coverage. Not a part of
# tests/run.sh: docs/testing.md has the last figures and what is behind the rest.
set -euo pipefail
cd "$(dirname "$0")/.."

lines=no
case "${1:-}" in
  '') ;;
  --lines) lines=yes ;;
  *) echo "coverage.sh: '$1' is not an option; use --lines or nothing" >&2; exit 64 ;;
esac

tools/install_deps.sh coverage
export LC_ALL=C.UTF-8 CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
build=build-coverage
profiles=$build/profiles
# One file for each program: its runs and its children are added up in it.
export JOBQ_SOURCE_ROOT=$PWD LLVM_PROFILE_FILE=$PWD/$profiles/%m.profraw
if [ ! -f $build/build.ninja ]; then
  compiler=clang++-16
  command -v ccache >/dev/null && compiler="ccache clang++-16"
  mkdir -p $build
  # What reads damaged stores is a child that ends by _exit, which would write no profile.
  clang-16 -O1 -c tools/coverage_exit.c -o $build/coverage_exit.o
  CXX=$compiler meson setup $build --buildtype=debug -Dwerror=true -Db_lundef=false -Dexamples=false -Dbenchmarks=false \
    "-Dcpp_args=-fprofile-instr-generate -fcoverage-mapping -gline-tables-only" \
    "-Dcpp_link_args=-fprofile-instr-generate -Wl,--wrap=_exit $PWD/$build/coverage_exit.o"
fi

# What runs the code of the three rooms: their unit tests, the server's, the simulator's and the crash tests that look at damage.
programs=(engine/engine_test server/server_test store/keys_test store/memory_store_test store/lmdb_open_test store/lmdb_contract_test
  store/lmdb_random_test store/offline_test store/repair_test store/damaged_rows_test store/failing_calls_test
  store/lmdb_limits_test protocol/codec_test
  protocol/codec_rejects_test protocol/reader_test client/client_producer_core_test client/client_worker_core_test
  client/client_worker_drain_test)
ninja -C $build "${programs[@]/#/tests/}" tests/sim/jobq-sim

rm -rf $profiles
mkdir -p $profiles
for program in "${programs[@]}"; do
  echo "[$SECONDS s] $program"
  "$build/tests/$program" >"$profiles/log" 2>&1 || { tail -n 30 "$profiles/log"; exit 1; }
done
echo "[$SECONDS s] simulator"
$build/tests/sim/jobq-sim --seeds 120 --ops 200 --jobs "$(nproc)" --quiet
llvm-profdata-16 merge -sparse $profiles/*.profraw -o $profiles/all.profdata

objects=()
for program in "${programs[@]}" sim/jobq-sim; do objects+=(-object "$build/tests/$program"); done
rooms=(broker/engine broker/store libjobq/protocol)
mapfile -t sources < <(printf '%s\n' "${rooms[@]}" | xargs -I{} find {} -name '*.cpp' -o -name '*.hpp' | sort)
# The first object has no flag of its own.
llvm-cov-16 export "${objects[@]:1}" -instr-profile=$profiles/all.profdata "${sources[@]}" >$profiles/all.json
/usr/bin/python3 tools/coverage_table.py $profiles/all.json $lines "${rooms[@]}"

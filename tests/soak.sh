#!/usr/bin/env bash
# The long campaigns, one command each, with a summary at the end. None takes longer than two and a half hours.
#   tests/soak.sh NAME [SCALE]   SCALE: how much of it in percent, 100 unless told (5 is a taste of some minutes)
#   tests/soak.sh                lists the names
# Builds what it needs in build-test/. Exits 0 when nothing was lost, doubled or broken. docs/faults.md has the last results.
set -euo pipefail
cd "$(dirname "$0")/.."

export LC_ALL=C.UTF-8 CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
names=(simulator power-cuts kills shutdowns disk-faults memory hostile connections fuzz repairs teeth)

describe() {
  case $1 in
    simulator)  echo "20,000 seeds of 20,000 operations in virtual time, as many as fit in two and a half hours" ;;
    power-cuts) echo "300,000 images that a disk could have held when the power failed, as many as fit in two and a half hours" ;;
    kills)      echo "5,000 kill -9 of the broker under load, 5,000 of workers, 200 frozen workers, as many as fit in two and a half hours" ;;
    shutdowns)  echo "ext4 and XFS shut down under the whole broker, 1,000 times each" ;;
    disk-faults) echo "the Nth write, last page, sync and growth fails, N = 1 to 200, once and for ever, with 20 seeds: 82,000 cases" ;;
    memory)     echo "the Nth allocation fails, once and for ever: all of the loop's cases, 3,000 whole brokers, 4,000 commands" ;;
    hostile)    echo "each hostile peer beside a producer and a worker that behave, 3 minutes each: p50 and p99 without and with" ;;
    connections) echo "10,000 connections held for half an hour while 1,000 jobs a second come; 9,000 clients and a kill, 20 times" ;;
    fuzz)       echo "libFuzzer with ASan and UBSan on wire, broker, settings, command lines and stored rows, 30 minutes each" ;;
    repairs)    echo "10,000 damaged stores, repaired; 10,000 flipped bits and 1,000 lost ends, looked for by a check" ;;
    teeth)      echo "every planted bug, each found by the test that is named for it, which is green without the bug" ;;
    *) return 1 ;;
  esac
}

if [ $# -eq 0 ]; then
  for name in "${names[@]}"; do printf '%-13s %s\n' "$name" "$(describe "$name")"; done
  exit 0
fi
name=$1 scale=${2:-100}
describe "$name" >/dev/null || { echo "soak.sh: '$name' is not a campaign; there are: ${names[*]}" >&2; exit 64; }
[[ $scale =~ ^[1-9][0-9]*$ && $scale -le 100 ]] ||
  { echo "soak.sh: '$scale' is not a scale; give a number of percent from 1 to 100" >&2; exit 64; }

# of N: so many at this scale, one at least.
of() { local n=$(($1 * scale / 100)); echo $((n > 0 ? n : 1)); }

tools/install_deps.sh test
if [ ! -f build-test/build.ninja ]; then
  compiler=g++
  command -v ccache >/dev/null && compiler="ccache g++"
  CXX=$compiler meson setup build-test --buildtype=debug -Dwerror=true -Dplanted_bugs=true
elif ! grep -q planted_bugs build-test/meson-private/cmd_line.txt; then
  meson setup --reconfigure build-test -Dplanted_bugs=true >/dev/null
fi
echo "building ..."
ninja -C build-test >build-test/soak-build.log || { tail -n 40 build-test/soak-build.log; exit 1; }

# one TEST: without the time limit of its everyday size.
one() { meson test -C build-test --no-rebuild --timeout-multiplier 0 --verbose "$@"; }

# A history of thousands of kills would fill the memory of its judge: rounds, each with a seed and a history of its own.
kills() {
  local left done_so_far=0 round log=build-test/soak-kills.log
  left=$(of 5000)
  for ((round = 1; left > 0 && SECONDS < 9000; ++round)); do
    local now=$((left < 500 ? left : 500))
    if ! JOBQ_SEED=$round JOBQ_KILLS=$now JOBQ_KILL_SECONDS=3600 JOBQ_DEATHS=$now JOBQ_FREEZES=$((now / 25 + 1)) \
      JOBQ_RESTARTS=$((now / 25 + 1)) one kill_loop >"$log"; then
      tail -n 60 "$log"
      return 1
    fi
    grep -E ' in [0-9.]+ s; ' "$log"
    left=$((left - now)) done_so_far=$((done_so_far + now))
    echo "[$SECONDS s] round $round: $done_so_far kills so far, $left to go"
  done
  [ "$left" -eq 0 ] || echo "the time is over: $left kills were not made"
}

# One process per core, with seeds of its own; each says every 20 seeds how far it is.
power_cuts() {
  local core cores failed=0 each pids=()
  cores=$(nproc)
  each=$(($(of 300000) / cores))
  for ((core = 1; core <= cores; ++core)); do
    JOBQ_SEED=$((core * 1000000)) JOBQ_POWER_CUT_IMAGES=$each JOBQ_POWER_CUT_SECONDS=8900 \
      JOBQ_RECORDER=$PWD/build-test/tests/faults/jobq_recorder.so JOBQ_BATCH_WRITER=$PWD/build-test/tests/faults/batch_writer \
      build-test/tests/faults/power_cut_test --no-colors=true &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return $failed
}

# What the targets find new is in build-fuzz/fuzz/NAME, what fails beside it. Each run draws other inputs.
fuzz() {
  local compiler=clang++-16 log=build-test/soak-build.log
  command -v ccache >/dev/null && compiler="ccache $compiler"
  [ -f build-fuzz/build.ninja ] ||
    CXX=$compiler meson setup build-fuzz --buildtype=debugoptimized -Dfuzzers=true -Dbenchmarks=false -Dexamples=false \
      -Db_sanitize=address,undefined -Db_lundef=false >"$log"
  ninja -C build-fuzz tests/fuzz/{codec,server,config,stored,arguments}_fuzz >>"$log" || { tail -n 40 "$log"; return 1; }
  tests/fuzz/run.sh build-fuzz "$(of 1800)"
}

shutdowns() {
  local left done_so_far=0 round log=build-test/soak-shutdowns.log
  left=$(of 1000)
  for ((round = 1; left > 0 && SECONDS < 9000; ++round)); do
    local now=$((left < 200 ? left : 200))
    JOBQ_SEED=$round JOBQ_SHUTDOWNS=$now JOBQ_SHUTDOWN_SECONDS=3600 one file_system_shutdown >"$log" || { tail -n 60 "$log"; return 1; }
    grep -E ' in [0-9.]+ s; |LOUD' "$log"
    left=$((left - now)) done_so_far=$((done_so_far + now))
    echo "[$SECONDS s] round $round: $done_so_far of each so far, $left to go"
  done
}

disk_faults() {
  local round rounds log=build-test/soak-disk-faults.log
  rounds=$(of 20)
  for ((round = 1; round <= rounds && SECONDS < 9000; ++round)); do
    JOBQ_SEED=$round JOBQ_DISK_FAULTS_SECONDS=3600 one disk_faults >"$log" || { tail -n 60 "$log"; return 1; }
    sed -n 's/.*MESSAGE: [^ ]* //p' "$log"
    echo "[$SECONDS s] seed $round of $rounds"
  done
}

echo "$name at $scale %, $(git -c safe.directory="$PWD" rev-parse --short HEAD), $(date -u +%F): $(describe "$name")"
case $name in
  simulator)
    build-test/tests/sim/jobq-sim --seeds "$(of 20000)" --ops 20000 --jobs "$(nproc)" --seconds "$(of 9000)" ;;
  power-cuts)
    power_cuts ;;
  kills)
    kills ;;
  shutdowns)
    shutdowns ;;
  fuzz)
    fuzz ;;
  disk-faults)
    disk_faults ;;
  memory)
    JOBQ_MEMORY_FAULTS_SECONDS=$(of 1200) one memory_faults | grep -E 'MESSAGE|test cases|ERROR|logged'
    JOBQ_SEED=$(date +%s) JOBQ_MEMORY_CASES=$(of 1000) JOBQ_BROKER=$PWD/build-test/broker/jobq-broker JOBQ_CLI=$PWD/build-test/cli/jobq \
      JOBQ_FAILING_MEMORY=$PWD/build-test/tests/faults/jobq_failing_memory.so /usr/bin/python3 tests/faults/failing_memory_test.py ;;
  hostile)
    JOBQ_BROKER=$PWD/build-test/broker/jobq-broker /usr/bin/python3 tests/e2e/peers_soak.py hostile "$(of 180)" ;;
  connections)
    JOBQ_BROKER=$PWD/build-test/broker/jobq-broker /usr/bin/python3 tests/e2e/peers_soak.py connections 10000 "$(of 1800)"
    for ((round = $(of 20); round > 0; --round)); do
      JOBQ_CROWD=9000 one crowd | grep -E 'served again|FAIL|Error' || exit 1
    done ;;
  repairs)
    JOBQ_REPAIRS=$(of 10000) one store_repair
    JOBQ_FLIPS=$(of 10000) one flipped_bits ;;
  teeth)
    JOBQ_BUILD_ROOT=$PWD/build-test /usr/bin/python3 tests/planted_bugs_test.py --all ;;
esac
echo "$name: passed in $SECONDS s"

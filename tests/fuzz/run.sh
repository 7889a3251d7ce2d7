#!/usr/bin/env bash
# Runs the libFuzzer targets of a build, as many at a time as there are cores, and fails when one of them finds something.
#   tests/fuzz/run.sh BUILD_DIRECTORY SECONDS [LIBFUZZER_OPTION...]     SECONDS: of each target
# BUILD_DIRECTORY is clang's with -Dfuzzers=true and the sanitizers. What a target meets that is new is in BUILD_DIRECTORY/fuzz/NAME,
# its log in NAME.log, and an input that fails in NAME-crash-..., NAME-leak-..., NAME-oom-... or NAME-timeout-... beside it; the
# target with that file as its argument repeats the failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || { echo "usage: tests/fuzz/run.sh BUILD_DIRECTORY SECONDS [LIBFUZZER_OPTION...]" >&2; exit 64; }
build=$1 seconds=$2
shift 2
# UBSan goes on after a finding unless it is told not to.
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=detect_stack_use_after_return=0
mkdir -p "$build/fuzz"

# fuzz NAME OPTIONS... Without entropic: its weighing of inputs takes ten times as long as running them, with so many edges.
fuzz() {
  local name=$1 place=$build/fuzz log=$build/fuzz/$1.log artifact
  shift
  mkdir -p "$place/$name"
  if "$build/tests/fuzz/${name}_fuzz" -max_total_time="$seconds" -max_len=8192 -entropic=0 -print_funcs=0 -timeout=300 -rss_limit_mb=2048 \
      -artifact_prefix="$place/$name-" -print_final_stats=1 "$@" "$place/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
    echo "$name: $(awk '/executed_units/ {runs=$2} /exec_per_sec/ {rate=$2} /new_units/ {added=$2} /peak_rss/ {peak=$2}
      END {printf "%d inputs, %d a second, %d of them new; %d MB", runs, rate, added, peak}' "$log")"
    return 0
  fi
  tail -n 60 "$log" | cut -c1-2000
  echo "$name: FAILED; the log is $log"
  # In the words of the log too: the machine that found it may be gone tomorrow.
  for artifact in $(sed -n 's/^.*Test unit written to //p' "$log"); do
    echo "$name: the input is $artifact, in base64 (its first 6000 bytes):"
    head -c 6000 "$artifact" | base64 -w 0
    echo
  done
  return 1
}

failed=0 running=()
for target in server codec config stored arguments; do
  if [ "${#running[@]}" -ge "$(nproc)" ]; then
    wait "${running[0]}" || failed=1
    running=("${running[@]:1}")
  fi
  fuzz "$target" "$@" &
  running+=($!)
done
for target in "${running[@]}"; do wait "$target" || failed=1; done
exit $failed

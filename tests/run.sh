#!/usr/bin/env bash
# Installs what is missing, builds, runs every test, and ends with a line "N passed, N failed[, N skipped]".
#   tests/run.sh           everything: about 30 minutes on two cores, less when ccache is warm
#   tests/run.sh --quick   the subset for the inner loop: unit tests and the quick end-to-end tests, plain build only
# The exit code is 0 when nothing failed. Build directories: build-test/, build-asan/, build-tsan/.
# docs/testing.md says what the suites are and how to run one test alone.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD

quick=no
case "${1:-}" in
  '') ;;
  --quick) quick=yes ;;
  *) echo "tests/run.sh: '$1' is not an option; use --quick or nothing" >&2; exit 64 ;;
esac

export LC_ALL=C.UTF-8 HOME="${HOME:-/root}"
export CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1
jobs=$(nproc)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
result_files=()  # meson's testlog.json of every test run, kept under $logs
stage_passed=0 stage_failed=0

say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }

# A stage that is itself one check (a build, the format): passed or failed, with the end of its log.
stage() {
  local name=$1; shift
  local begun=$SECONDS log="$logs/stage.log"
  say "$name ..."
  if "$@" >"$log" 2>&1; then
    stage_passed=$((stage_passed + 1))
    say "$name: ok, $((SECONDS - begun)) s"
    return 0
  fi
  stage_failed=$((stage_failed + 1))
  say "$name: FAILED, $((SECONDS - begun)) s; the end of its log:"
  tail -n 60 "$log" | sed 's/^/    /'
  return 1
}

install() { tools/install_deps.sh test; }

# configure DIR COMPILER MESON_OPTIONS...
configure() {
  local dir=$1 compiler=$2; shift 2
  if [ -f "$dir/build.ninja" ]; then
    # A directory of before may have been made without one of the options.
    local option
    for option in "$@"; do
      option=${option#-D}
      grep -q "^${option%%=*} = " "$dir/meson-private/cmd_line.txt" || { meson setup --reconfigure "$dir" "$@"; return; }
    done
    return
  fi
  command -v ccache >/dev/null && compiler="ccache $compiler"
  rm -rf "$dir"
  CXX="$compiler" meson setup "$dir" --buildtype=debug -Dwerror=true "$@"
}

# build DIR COMPILER MESON_OPTIONS...: everything.
build() {
  configure "$@" && ninja -j "$jobs" -C "$1"
}

# build_suite SUITE DIR COMPILER MESON_OPTIONS...: what the tests of the suite need.
build_suite() {
  local suite=$1 dir=$2 targets; shift
  configure "$@" && ninja -C "$dir" build.ninja || return 1
  mapfile -t targets < <(/usr/bin/python3 tests/suite_targets.py "$dir" "$suite")
  [ ${#targets[@]} -gt 0 ] || { echo "no test is in the suite $suite"; return 1; }
  ninja -j "$jobs" -C "$dir" "${targets[@]}"
}

# run_tests TITLE DIR MESON_TEST_OPTIONS...: the outcome is read from meson's log, not from its exit code.
run_tests() {
  local title=$1 dir=$2; shift 2
  local begun=$SECONDS
  say "$title ..."
  rm -f "$dir/meson-logs/testlog.json"
  meson test -C "$dir" --no-rebuild --num-processes "$jobs" "$@" </dev/null 2>&1 |
    grep -E '^ *[0-9]+/[0-9]+ ' | sed 's/^/    /'
  local kept="$logs/${#result_files[@]}.json"
  if [ -s "$dir/meson-logs/testlog.json" ]; then
    cp "$dir/meson-logs/testlog.json" "$kept"
    result_files+=("$kept")
    /usr/bin/python3 tests/count_results.py --failures "$kept"
    say "$title: $(/usr/bin/python3 tests/count_results.py "$kept"), $((SECONDS - begun)) s"
  else
    stage_failed=$((stage_failed + 1))
    say "$title: FAILED: meson test left no log"
  fi
}

check_format() {
  local sources
  # safe.directory: CI may run as root in a clone that belongs to somebody else.
  mapfile -d '' sources < <(git -c safe.directory="$root" ls-files -z '*.cpp' '*.hpp')
  [ ${#sources[@]} -gt 0 ] || { echo "git lists no sources"; return 1; }
  clang-format-16 --dry-run -Werror "${sources[@]}"
}

# Inputs that one seed draws, as many as there is time for: a change is judged by what its forerunners were. Other seeds are the soak's.
fuzz() { rm -rf build-asan/fuzz && tests/fuzz/run.sh build-asan 60 -seed=1; }

finish() {
  local total
  total=$(/usr/bin/python3 tests/count_results.py --also-passed "$stage_passed" --also-failed "$stage_failed" \
    ${result_files[@]+"${result_files[@]}"}) || total="0 passed, 1 failed"
  say "done"
  echo "$total"
  [[ $total == *", 0 failed"* ]]
  exit
}

stage "install what is missing" install || finish
if stage "build (g++, warnings are errors)" build build-test g++ -Dplanted_bugs=true; then
  if [ $quick = yes ]; then
    run_tests "unit and quick end-to-end tests" build-test --suite unit --suite e2e --no-suite slow
  else
    run_tests "all tests" build-test
  fi
fi
[ $quick = yes ] && finish

stage "format (clang-format-16)" check_format
stage "static analysis (cppcheck)" tools/cppcheck.sh

# The sanitizer builds are the clang builds too: everything compiles under both compilers. For their reports line tables
# are enough. The fuzz targets stand on the same objects.
if stage "build (clang++-16, ASan and UBSan)" build build-asan clang++-16 \
    -Db_sanitize=address,undefined -Db_lundef=false -Dcpp_args=-gline-tables-only -Dfuzzers=true; then
  export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  JOBQ_TEST_PATIENCE=5 run_tests "unit and end-to-end tests under ASan and UBSan" build-asan --suite unit --suite e2e \
    --no-suite slow --timeout-multiplier 5
  stage "fuzz targets under ASan and UBSan, 60 s each" fuzz
fi

# No container's order, no address and no rounding may decide what happens in a run.
fingerprints() { "$1/tests/sim/jobq-sim" --seeds 12 --ops 150 --fingerprints --quiet | grep -E '^[0-9]+ [0-9a-f]{16}$'; }
same_runs() {
  local plain clang
  plain=$(fingerprints build-test) && clang=$(fingerprints build-asan) || return 1
  [ "$(wc -l <<<"$plain")" = 12 ] && diff <(echo "$plain") <(echo "$clang")
}
stage "the same seed gives the same run in both builds" same_runs

# libzmq is not instrumented: without the option, its own hand-overs between threads are reported as races.
if stage "build (clang++-16, TSan)" build_suite threads build-tsan clang++-16 \
    -Db_sanitize=thread -Db_lundef=false -Dcpp_args=-gline-tables-only; then
  export TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:suppressions=$root/tests/tsan.supp
  JOBQ_TEST_PATIENCE=10 run_tests "threaded tests under TSan" build-tsan --suite threads --timeout-multiplier 10
fi
finish

#!/usr/bin/env bash
# Runs clang-tidy-16 with the rules of .clang-tidy on the sources that differ from main, or on those named.
#   tools/tidy.sh            what changed since main, committed or not
#   tools/tidy.sh FILE...    these
# Needs a build directory with compile commands: the first of build-asan, build-test, build, or $BUILD.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD:-}
for candidate in build-asan build-test build; do
  [ -n "$build" ] || { [ -f "$candidate/compile_commands.json" ] && build=$candidate; } || true
done
[ -n "$build" ] || { echo "tidy.sh: no build directory; run tests/run.sh --quick first" >&2; exit 1; }
command -v clang-tidy-16 >/dev/null || { echo "tidy.sh: clang-tidy-16 is missing: apt install clang-tidy-16" >&2; exit 1; }

if [ $# -gt 0 ]; then
  sources=("$@")
else
  base=$(git merge-base HEAD main 2>/dev/null || git rev-list --max-parents=0 HEAD)
  mapfile -t sources < <({ git diff --name-only --diff-filter=d "$base"; git ls-files --others --exclude-standard; } |
    grep '\.cpp$' | sort -u)
fi
[ ${#sources[@]} -gt 0 ] || { echo "tidy.sh: no source has changed"; exit 0; }
printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy-16 -p "$build" --quiet --warnings-as-errors='*'

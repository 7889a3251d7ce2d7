#!/usr/bin/env bash
# cppcheck over the product's code: 15 seconds. Whatever it finds is mended, or stands in cppcheck.suppressions with the reason.
# Not a part of tests/run.sh: its opinions change with its version. Needs cppcheck (apt install cppcheck; tried with 2.10).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cppcheck >/dev/null || { echo "cppcheck.sh: cppcheck is missing: apt install cppcheck" >&2; exit 1; }
exec cppcheck --quiet --std=c++20 --language=c++ --enable=warning,performance,portability --library=posix \
  -j "$(nproc)" -I . -I include --suppressions-list=tools/cppcheck.suppressions --error-exitcode=1 \
  --template='{file}:{line}: {id}: {message}' broker cli include libjobq testing worker

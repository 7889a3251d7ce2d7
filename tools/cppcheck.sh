#!/usr/bin/env bash
# cppcheck over the product's code: 15 seconds, a stage of tests/run.sh. Whatever it finds is mended, or stands in
# cppcheck.suppressions with the reason. Its opinions change with its version: the list is for 2.10, Debian 12's.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cppcheck >/dev/null || { echo "cppcheck.sh: cppcheck is missing: tools/install_deps.sh test installs it" >&2; exit 1; }
exec cppcheck --quiet --std=c++20 --language=c++ --enable=warning,performance,portability --library=posix \
  -j "$(nproc)" -I . -I include --suppressions-list=tools/cppcheck.suppressions --error-exitcode=1 \
  --template='{file}:{line}: {id}: {message}' broker cli include libjobq testing worker

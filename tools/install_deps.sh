#!/usr/bin/env bash
# Installs the Debian packages that jobq builds with and is tested with. Does nothing when all are there.
#   tools/install_deps.sh build   what the build and the quickstart need
#   tools/install_deps.sh test    that, and what the tests need
#   tools/install_deps.sh coverage  that, and what tools/coverage.sh needs
set -euo pipefail

build_packages=(g++ meson ninja-build pkg-config libzmq3-dev cppzmq-dev liblmdb-dev libjemalloc-dev libmsgpack-cxx-dev
  libfmt-dev libcli11-dev libtomlplusplus-dev libspdlog-dev nlohmann-json3-dev libcpp-httplib-dev
  libcurl4-openssl-dev libxxhash-dev libhowardhinnant-date-dev python3 python3-aiosmtpd curl)
test_packages=(ccache dpkg-dev doctest-dev libgtest-dev librapidcheck-dev libbenchmark-dev python3-zmq python3-msgpack
  clang-16 clang-format-16 libclang-rt-16-dev cppcheck strace
  lmdb-utils bindfs git xfsprogs)

wanted=("${build_packages[@]}")
case "${1:-build}" in
  build) ;;
  test) wanted+=("${test_packages[@]}") ;;
  coverage) wanted+=("${test_packages[@]}" llvm-16) ;;
  *) echo "install_deps.sh: '$1' is not a set of packages; use 'build', 'test' or 'coverage'" >&2; exit 64 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

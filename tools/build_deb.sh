#!/usr/bin/env bash
# Builds the Debian packages from this tree, without touching the machine: a release build in build-deb/ (or in the directory
# that $JOBQ_DEB_BUILD names), then
#   jobq_VERSION_ARCH.deb         the programs, the service, the settings in /etc/jobq
#   libjobq0_VERSION_ARCH.deb     the shared library
#   libjobq-dev_VERSION_ARCH.deb  headers, the static library, jobq.pc
#   tools/build_deb.sh [OUT_DIR]  default: dist/
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/dist}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"

version=$(sed -n "s/^ *version: '\(.*\)',.*/\1/p" meson.build | head -n 1)
arch=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
build=${JOBQ_DEB_BUILD:-build-deb}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

if [ ! -f "$build/build.ninja" ]; then
  compiler=${CXX:-g++}
  if command -v ccache >/dev/null; then compiler="ccache $compiler"; fi
  export DEB_CXXFLAGS_MAINT_STRIP="-g -O2"  # no debug symbols, and the optimisation of a release
  CXX="$compiler" CXXFLAGS="$(dpkg-buildflags --get CXXFLAGS) $(dpkg-buildflags --get CPPFLAGS)" \
    LDFLAGS="$(dpkg-buildflags --get LDFLAGS)" \
    meson setup "$build" --buildtype=release --prefix=/usr --libdir="lib/$multiarch" --sysconfdir=/etc \
    --localstatedir=/var -Dtests=false -Dexamples=false -Dbenchmarks=false >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
fi
ninja -C "$build" >"$work/log" 2>&1 || { tail -n 50 "$work/log" >&2; exit 1; }
meson install -C "$build" --no-rebuild --strip --destdir "$work/stage" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

# move PACKAGE PATH...: out of the stage into the package's tree.
move() {
  local package=$1 path; shift
  for path in "$@"; do
    mkdir -p "$work/$package/$(dirname "$path")"
    mv "$work/stage/$path" "$work/$package/$path"
  done
}
lib=usr/lib/$multiarch
strip --strip-debug "$work/stage/usr/lib/$multiarch"/*.a
cd "$work/stage"
move libjobq0 "$lib"/libjobq.so.0*
move libjobq-dev usr/include "$lib"/*.so "$lib"/*.a "$lib/pkgconfig"
cd "$root"
mkdir -p "$work/jobq"
cp -a "$work/stage/." "$work/jobq/"
find "$work/jobq" -type d -empty -delete
mkdir -p "$work/jobq/etc/jobq/workers"  # for jobq-worker@.service

# What the programs of a package link, as a Depends line. The tool wants to see a source package.
mkdir -p "$work/source/debian"
printf 'Source: jobq\n\nPackage: jobq\nArchitecture: any\n' >"$work/source/debian/control"
library_packages() {
  (cd "$work/source" && dpkg-shlibdeps -O "$@" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p'
}

build_package() {
  local package=$1 tree=$work/$1 shlibs=$2 script
  mkdir -p "$tree/DEBIAN" "$tree/usr/share/doc/$package"
  cp packaging/debian/copyright "$tree/usr/share/doc/$package/"
  gzip -9nc CHANGELOG.md >"$tree/usr/share/doc/$package/changelog.gz"
  sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SHLIBS@/$shlibs/" \
    -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$tree" | cut -f 1)/" "packaging/debian/$package.control" >"$tree/DEBIAN/control"
  for script in postinst prerm postrm; do
    [ -f "packaging/debian/$package.$script" ] || continue
    install -m 0755 "packaging/debian/$package.$script" "$tree/DEBIAN/$script"
  done
  for script in triggers shlibs; do
    [ -f "packaging/debian/$package.$script" ] || continue
    install -m 0644 "packaging/debian/$package.$script" "$tree/DEBIAN/$script"
  done
  (cd "$tree" && find . -path './etc/*' -type f -printf '/%P\n' | sort) >"$work/conffiles"
  [ ! -s "$work/conffiles" ] || cp "$work/conffiles" "$tree/DEBIAN/conffiles"
  (cd "$tree" && find . -type f -not -path './DEBIAN/*' -not -path './etc/*' -printf '%P\0' | sort -z | xargs -0 -r md5sum) \
    >"$tree/DEBIAN/md5sums"
  dpkg-deb --root-owner-group --build "$tree" "$out/${package}_${version}_${arch}.deb" >/dev/null
  echo "$out/${package}_${version}_${arch}.deb"
}

build_package jobq "$(library_packages "$work"/jobq/usr/bin/*)"
build_package libjobq0 "$(library_packages "$work/libjobq0/$lib/libjobq.so.$version")"
build_package libjobq-dev ""

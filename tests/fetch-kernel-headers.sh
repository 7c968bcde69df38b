#!/bin/sh
# Unpacks Debian's kernel headers, of whatever version there is, into a folder: build/ and source/ as
# /lib/modules/RELEASE has them. Where there is no apt, the folder stays empty.
set -eu

mkdir -p "$1"
cd "$1"
command -v apt-get >/dev/null || exit 0
[ -n "$(apt-cache pkgnames linux-headers-)" ] || apt-get update -qq || true

machine=$(dpkg --print-architecture)
build=$(apt-cache depends "linux-headers-$machine" | awk '/Depends: linux-headers-/ {print $2}')
source=$(apt-cache depends "$build" | awk '/Depends: linux-headers-.*-common/ {print $2}')
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
(cd "$packages" && apt-get download -qq -o APT::Sandbox::User=root "$build" "$source")
for package in "$packages"/*.deb; do
    dpkg -x "$package" .
done
ln -sfn "usr/src/$build" build
ln -sfn "usr/src/$source" source

#!/bin/sh
# Installs Debian's tools that tests run: containers by runc, of busybox, and the package by debhelper
# and lintian. Where that cannot be done, these tests are skipped and say so.
set -eu

missing=
for each in runc:runc busybox:busybox-static dh:debhelper lintian:lintian dpkg-buildpackage:dpkg-dev; do
    command -v "${each%:*}" >/dev/null || missing="$missing ${each#*:}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "install-tools: some tests will be skipped for want of$missing" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of names on purpose
apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "install-tools: could not install$missing; some tests will be skipped" >&2

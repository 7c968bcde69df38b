#!/bin/sh
# build-deb.sh PYTHON [DIR]: builds the Debian package from this checkout into DIR (dist). PYTHON has
# pip and the agent, and is of the version of /usr/bin/python3, which the package will run on. It takes
# debhelper, dpkg-dev and, to look the package over, lintian.
set -eu
python=$(realpath -s "$1")
cd "$(dirname "$0")/.."
to=$(realpath -m "${2:-dist}")

missing=
for command in dh dpkg-buildpackage lintian; do
    command -v $command >/dev/null || missing="$missing $command"
done
if [ -n "$missing" ]; then
    echo "build-deb: needs$missing: apt-get install debhelper dpkg-dev lintian" >&2
    exit 1
fi

version=$("$python" -c 'import rover; print(rover.__version__)')
work=build/deb
tree=$work/skywalking-rover-$version
rm -rf "$work"
mkdir -p "$tree" "$to"
cp -r deploy/debian "$tree/debian"
mv "$tree/debian/rover" "$tree/debian/rover.env" "$tree"
cp deploy/prune.sh deploy/sbom.py deploy/man_pages.py CHANGELOG.md "$tree"
# without the words on how to install it by hand
sed 's|/opt/rover/bin/rover|/usr/bin/rover|; 2,/^# Settings/{/^# Settings/!d}' \
    deploy/rover.service >"$tree/debian/skywalking-rover.rover.service"
for shell in bash zsh fish; do
    _ROVER_COMPLETE=${shell}_source "$(dirname "$python")/rover" >"$tree/completion.$shell"
done
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$tree" .

(cd "$tree" && PYTHON=$python dpkg-buildpackage --build=binary --no-sign >../build.log 2>&1) || {
    tail -n 40 "$work/build.log" >&2
    exit 1
}
lintian --fail-on error,warning --tag-display-limit 4 "$work"/*.deb
cp "$work"/*.deb "$to"
ls "$to"/skywalking-rover_*.deb

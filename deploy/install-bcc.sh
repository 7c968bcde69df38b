#!/bin/sh
# Installs what a virtual environment cannot hold: Debian's BCC and venv for Debian's python3.
# Does nothing, and needs no root, where both are there.
set -eu

python=$(/usr/bin/python3 -c 'import sys; print(sys.version.split()[0], sys.version_info >= (3, 11))')
case $python in
*True) ;;
*)
    echo "rover needs Python 3.11 or later, which Debian has since 12 (bookworm);" \
         "/usr/bin/python3 here is ${python% *}" >&2
    exit 1
    ;;
esac

missing=
/usr/bin/python3 -c 'import bcc; bcc.BPF' 2>/dev/null || missing="$missing python3-bpfcc"
/usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "install-bcc: needs$missing or your distribution's packages of that content" \
         "(BCC for /usr/bin/python3), and there is no apt-get here to install them" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "install-bcc: needs$missing; install it as root: apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo "install-bcc: the package lists could not be renewed; going on" >&2
# shellcheck disable=SC2086 # a list of names on purpose
exec apt-get install -y -qq --no-install-recommends $missing

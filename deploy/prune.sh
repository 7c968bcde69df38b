#!/bin/sh
# prune.sh SITE-PACKAGES: takes away what the agent's libraries bring and the agent never loads, 150 of
# 200 MiB. The client for Kubernetes has a second one for asyncio, with what that needs, and a class
# for each kind of object; the agent reads the API's JSON itself. rich has pygments to colour source
# code, and the system knows its time zones.
set -eu
cd "$1"
for name in aiohappyeyeballs aiohttp aiohttp_retry aiosignal attr attrs frozenlist multidict \
    propcache pygments tzdata yarl; do
    rm -r "$name"
    rm -rf "$name"-*.dist-info
done
rm -r kubernetes/aio
find kubernetes/client/api kubernetes/client/models -name '*.py*' ! -name '__init__.*' -delete

"""The address that deploy/daemonset.yaml gives is reached over IPv4 and over IPv6 alone."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rover.status.http import StatusServer


class Well:
    def health(self) -> tuple[bool, Mapping[str, Any]]:
        return True, {}

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        return True, {}

    def why(self, pid: int) -> Mapping[str, Any]:
        return {"pid": pid}


def status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.fixture
def port() -> Iterator[int]:
    served = StatusServer(":0")
    served.serve(Well())
    yield served.port
    served.close()


@pytest.mark.parametrize("path", ["/healthz", "/why?pid=1"])
def test_every_address_is_those_of_both_families(port: int, path: str):
    assert status("127.0.0.1", port, path) == 200
    if socket.has_dualstack_ipv6():
        assert status("::1", port, path) == 200


def test_a_host_without_ipv6_is_served_over_ipv4(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    served = StatusServer(":0")
    served.serve(Well())
    try:
        assert status("127.0.0.1", served.port, "/healthz") == 200
    finally:
        served.close()

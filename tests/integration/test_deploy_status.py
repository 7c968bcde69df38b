"""The address that deploy/daemonset.yaml gives is reached over IPv4 and over IPv6 alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from status_rig import get, serving


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(tmp_path, ":0") as service:
        yield service.port


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_every_address_is_those_of_both_families(port: int, path: str):
    assert get(port, path)[0] == 200
    if socket.has_dualstack_ipv6():
        assert get(port, path, to="::1")[0] == 200


def test_a_host_without_ipv6_is_served_over_ipv4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with serving(tmp_path, ":0") as service:
        assert get(service.port, "/healthz")[0] == 200

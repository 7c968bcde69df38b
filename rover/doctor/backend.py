"""The way to the backend: its name, its port, TLS, the token, both calls, and the layers."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from rover.config.address import endpoints
from rover.config.layers import doubt
from rover.doctor.checks import Check, Outcome, fail, ok, warn
from rover.errors import BackendError
from rover.reporter.failures import CallError, FailureKind, advice
from rover.reporter.proxy import EXEMPT_VARIABLES, HTTP_PORT, PROXY_VARIABLES, proxy_for
from rover.reporter.trial import try_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.config.address import Endpoint
    from rover.config.settings import BackendSettings, Settings

WITHIN: Final = 3.0
"""Seconds for a connection, and for each call."""


def checks(settings: Settings, agent_id: str) -> Iterator[Check]:
    """Look at each address of ``core.backend.addr``."""
    backend = settings.core.backend
    try:
        addresses = endpoints(backend.addr)
    except ValueError as error:
        yield fail("backend", f"core.backend.addr {backend.addr!r}: {error}", "write host:port")
        return
    for endpoint in addresses:
        yield from _one(endpoint, backend, agent_id)
    yield from _layers(settings)


def _one(endpoint: Endpoint, backend: BackendSettings, agent_id: str) -> Iterator[Check]:
    name = f"backend {endpoint}"
    proxy = proxy_for(endpoint, os.environ)
    if proxy:
        yield _through(proxy, name)
    elif not endpoint.path:
        found = _resolved(endpoint, name)
        yield found
        reached = _reached(endpoint, name, skipped=found.outcome is Outcome.FAIL)
        yield reached
    yield from _calls(endpoint, backend, agent_id, name)


def _through(proxy: str, name: str) -> Check:
    """Tell whether the proxy can be reached, which resolves and connects in our place."""
    parts = urlsplit(proxy)
    host, port = parts.hostname or "", parts.port or HTTP_PORT
    shown = f"{host}:{port}"  # a password may stand before it
    try:
        socket.create_connection((host, port), WITHIN).close()
    except OSError as error:
        return fail(
            f"{name} proxy",
            f"{shown}, which the environment names, cannot be reached: {error.strerror or error}",
            f"mend {', '.join(PROXY_VARIABLES)}, or name {name.removeprefix('backend ')} in "
            f"{EXEMPT_VARIABLES[-1]}: then it is dialled directly",
        )
    return ok(f"{name} proxy", f"{shown}, which the environment names, accepts connections")


def _resolved(endpoint: Endpoint, name: str) -> Check:
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return fail(
            f"{name} name",
            f"{endpoint.host} cannot be resolved: {error.strerror or error}",
            "check core.backend.addr, /etc/resolv.conf and, in a pod, dnsPolicy",
        )
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    return ok(f"{name} name", ", ".join(list(addresses)[:4]))


def _reached(endpoint: Endpoint, name: str, *, skipped: bool) -> Check:
    if skipped:
        return Check(f"{name} port", Outcome.SKIPPED, "not tried", needs=(f"{name} name",))
    try:
        socket.create_connection((endpoint.host, endpoint.port), WITHIN).close()
    except OSError as error:
        return fail(
            f"{name} port",
            f"no connection: {error.strerror or error}",
            "is the OAP up, is this its gRPC port (11800 usually), does a firewall or a "
            "NetworkPolicy stand between?",
            f"{name} name",
        )
    return ok(f"{name} port", "accepts connections")


def _calls(
    endpoint: Endpoint, backend: BackendSettings, agent_id: str, name: str
) -> Iterator[Check]:
    needs = tuple(f"{name} {each}" for each in ("proxy", "name", "port", "credentials"))
    try:
        told = try_calls(backend, endpoint, agent_id, WITHIN)
    except BackendError as error:
        yield fail(f"{name} credentials", str(error), "mend the key that the message names")
        return
    for call, failure in told.items():
        if failure is None:
            how = "over TLS" if backend.enable_tls else "in plaintext"
            yield ok(f"{name} {call}", f"an empty one is answered {how}")
            continue
        yield fail(f"{name} {call}", str(failure), _mend(failure, backend), *needs)
        needs = (*needs, f"{name} {call}")


def _mend(error: CallError, backend: BackendSettings) -> str:
    told = advice(error.kind, error.detail)
    if told:
        return told
    if error.kind is FailureKind.AWAY:
        side = "speaks plaintext" if backend.enable_tls else "speaks TLS"
        return (
            f"the port accepts connections and answers no call: maybe it {side} "
            "(core.backend.enable_TLS), or is not an OAP's gRPC port"
        )
    return "look into the backend's log"


def _layers(settings: Settings) -> Iterator[Check]:
    discovery = settings.process_discovery
    used = {each.layer for each in discovery.scanner.regex}
    used |= {each.layer for each in discovery.kubernetes.analyzers if each.active}
    doubts = list(filter(None, map(doubt, sorted(used))))
    if doubts:
        yield warn("layers", "; ".join(doubts), "mend the layer of that finder or analyzer")
    else:
        yield ok("layers", ", ".join(sorted(used | {"OS_LINUX"})))

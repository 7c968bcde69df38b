"""``core.backend.insecure_skip_verify``: whatever certificate the server shows is taken.

grpc for Python cannot be told to skip the check. So the certificate is fetched first, by a
connection that verifies nothing, and the link then trusts that one certificate under the name it
bears. Issuer and name do not matter, as the setting asks; the link itself still cannot be taken
over by a server with another certificate. An expired certificate is refused: grpc checks the dates
of whatever it trusts. So is a backend behind an HTTP proxy, through which this does not look.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import ssl
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rover.aside import begun
from rover.reporter.credentials import load_client
from rover.reporter.failures import CallError, FailureKind, plain
from rover.reporter.proxy import proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from rover.config.address import Endpoint
    from rover.config.settings import BackendSettings


class ServerCertificate(NamedTuple):
    """The certificate a server showed."""

    pem: bytes
    name: str
    """A name that it is valid for."""
    fingerprint: str
    """SHA-256 of the certificate, hexadecimal."""


class Fetching:
    """Fetches certificates, and waits for none longer than a call may take; for one thread."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._begun: dict[Endpoint, Future[ServerCertificate]] = {}

    def fetch(self, endpoint: Endpoint, settings: BackendSettings) -> ServerCertificate:
        """Have the server's certificate fetched, by a thread.

        A resolver, a file of the client's, and one address after the other may take longer than
        the time of a call: what comes later is taken by the next that asks for this endpoint.

        Raises:
            CallError: as `fetch`, or it takes longer.
        """
        found = self._begun.get(endpoint)
        if found is None:
            work = partial(fetch, endpoint, settings, settings.timeout)
            try:
                found = self._begun[endpoint] = begun(work, "certificate")
            except RuntimeError as error:
                raise CallError(
                    FailureKind.AWAY, f"no thread to fetch the certificate of {endpoint}: {error}"
                ) from error
        wait((found,), settings.timeout)
        if not found.done():
            raise CallError(
                FailureKind.AWAY,
                f"no TLS certificate from {endpoint} within {settings.timeout:g} s; it is still "
                "waited for",
            )
        del self._begun[endpoint]
        return found.result()


def fetch(endpoint: Endpoint, settings: BackendSettings, timeout: float) -> ServerCertificate:
    """Ask the server for its certificate, twice: once to see it, once to have its fields read.

    Raises:
        CallError: Nobody answers, it is not TLS, or the certificate cannot be pinned.
    """
    try:
        blind = _context(settings)
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        with _connect(endpoint, settings, blind, timeout) as link:
            der = link.getpeercert(binary_form=True) or b""
        seeing = _context(settings)
        seeing.check_hostname = False
        seeing.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        seeing.load_verify_locations(cadata=der)
        with _connect(endpoint, settings, seeing, timeout) as link:
            name = _name(link.getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        raise CallError(
            FailureKind.DENIED,
            f"the backend's certificate cannot be used even with insecure_skip_verify: "
            f"{error.verify_message}; renew it",
        ) from error
    except OSError as error:
        raise CallError(
            FailureKind.AWAY, plain(f"no TLS certificate from {endpoint}: {error}")
        ) from error
    if not name:
        raise CallError(
            FailureKind.DENIED,
            "the backend's certificate bears no name at all, so it cannot be pinned; give it a "
            "subjectAltName, or name its issuer in core.backend.ca_pem_path",
        )
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    return ServerCertificate(pem, name, hashlib.sha256(der).hexdigest())


def _context(settings: BackendSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if settings.client_pem_path and settings.client_key_path:
        load_client(context, settings)
    return context


def _connect(
    endpoint: Endpoint, settings: BackendSettings, context: ssl.SSLContext, timeout: float
) -> ssl.SSLSocket:
    if proxy_for(endpoint, os.environ):
        raise OSError("a proxy stands between, through which this cannot look")
    link = socket.create_connection((endpoint.host, endpoint.port), timeout)
    try:
        return context.wrap_socket(link, server_hostname=_asked_for(endpoint, settings))
    except BaseException:
        link.close()
        raise


def _asked_for(endpoint: Endpoint, settings: BackendSettings) -> str | None:
    """Give the name for SNI, which never is an IP address (RFC 6066)."""
    name = settings.server_name or endpoint.host
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name or None
    return None


def _name(certificate: Mapping[str, object]) -> str:
    """Pick a name the certificate is valid for: of its subjectAltName, else its common name."""
    alternatives: dict[str, str] = {}
    match certificate.get("subjectAltName"):
        case tuple(pairs):
            for kind, value in pairs:
                alternatives.setdefault(kind, value)
    if found := alternatives.get("DNS") or alternatives.get("IP Address"):
        return found.replace("*", "any", 1)
    match certificate.get("subject"):
        case tuple(parts):
            for part in parts:
                for key, value in part:
                    if key == "commonName":
                        return str(value)
    return ""

"""What a failed call means for the session: status codes sorted by what to do next."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from rover.errors import BackendError

LONGEST_TEXT: Final = 300
"""Characters of a server's error text that are kept."""

SURELY_SMALL: Final = 4096
"""A message up to so many bytes is within every limit that lets an agent report at all."""

TOO_LARGE_TEXT: Final = re.compile(
    r"larger than max|message (length|size)|exceeds? .{0,40}max", re.IGNORECASE
)
"""How servers and proxies word it: grpc core, grpc-java, Envoy."""


CERTIFICATE_TEXT: Final = re.compile(r"CERTIFICATE_VERIFY_FAILED|Hostname Verification")
NO_TLS_TEXT: Final = re.compile(
    r"WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|SSL\S*HTTP_REQUEST|Handshake read failed"
    r"|no TLS certificate from .*(EOF|reset by peer|RECORD_LAYER_FAILURE)",
    re.IGNORECASE,
)
"""What grpc core, and Python's ssl, say where the answer to a TLS hello is none."""
CLOSED_AT_ONCE_TEXT: Final = re.compile(
    r"failed to connect to all addresses.*"
    r"(Socket closed|reset by peer|Broken pipe|Expected SETTINGS frame|http1\.x server)",
    re.IGNORECASE,
)
"""What grpc core says where a new connection is not answered in HTTP/2: so a port that speaks TLS
does with plaintext. One that breaks later is no failure to connect."""


class FailureKind(Enum):
    """The value is the word for logs and metrics."""

    AWAY = "unavailable"
    """Nobody there, or the connection broke: another address, then wait and try again."""
    TIMEOUT = "deadline-exceeded"
    """No answer in time: as AWAY, with smaller batches."""
    BUSY = "resource-exhausted"
    """The server asks for less: wait longer, stay with it."""
    DENIED = "denied"
    """The token or certificate is not accepted: read it again, try slowly."""
    WRONG_SERVER = "unimplemented"
    """Whoever answers does not know the service."""
    TOO_LARGE = "too-large"
    """The message is over a limit of the server or of a proxy: halve it."""
    ITEM = "rejected"
    """The server fails on the message: look for the item it cannot stand."""
    BROKEN = "failing"
    """The server fails on messages without any item as well."""


class CallError(BackendError):
    """A call that brought no usable answer.

    Attributes:
        kind: What kind of failure it is.
        detail: The status code's name and the server's text, cut.
    """

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(f"{kind.value}: {detail}")
        self.kind = kind
        self.detail = detail


BY_CODE: Final = {
    "UNAVAILABLE": FailureKind.AWAY,
    "ABORTED": FailureKind.AWAY,
    "DEADLINE_EXCEEDED": FailureKind.TIMEOUT,
    "UNAUTHENTICATED": FailureKind.DENIED,
    "PERMISSION_DENIED": FailureKind.DENIED,
    "UNIMPLEMENTED": FailureKind.WRONG_SERVER,
}


def kind_of(code: str, text: str, message_bytes: int) -> FailureKind:
    """Tell what a status code (by its name) means for a message of that size.

    A server on netty resets the stream of a message over its limit, which ends here as CANCELLED;
    others say RESOURCE_EXHAUSTED, which is also what a server short of memory says.
    """
    if code == "CANCELLED":
        return FailureKind.TOO_LARGE if message_bytes > SURELY_SMALL else FailureKind.AWAY
    if code == "RESOURCE_EXHAUSTED":
        return FailureKind.TOO_LARGE if TOO_LARGE_TEXT.search(text) else FailureKind.BUSY
    return BY_CODE.get(code, FailureKind.ITEM)


_CLOSED_AT_ONCE: Final = (
    "the port does not answer in plain HTTP/2: if it speaks TLS, check core.backend.enable_TLS, "
    "and core.backend.client_pem_path if it asks for a certificate"
)
BY_TEXT: Final = (
    (
        CERTIFICATE_TEXT,
        "check core.backend.ca_pem_path, and core.backend.server_name for the name",
    ),
    (
        NO_TLS_TEXT,
        "the port does not seem to speak TLS: check core.backend.enable_TLS and the port",
    ),
    (CLOSED_AT_ONCE_TEXT, _CLOSED_AT_ONCE),
)
BY_KIND: Final = {
    FailureKind.DENIED: "check core.backend.authentication and the client certificate",
    FailureKind.WRONG_SERVER: "check that core.backend.addr is an OAP's gRPC port, usually 11800",
    FailureKind.BROKEN: "look into the backend's log",
    FailureKind.TIMEOUT: "check the network, or raise core.backend.timeout",
}


def advice(kind: FailureKind, detail: str = "") -> str:
    """Tell the user what to look at; empty where waiting is all there is to do."""
    by_text = (told for pattern, told in BY_TEXT if pattern.search(detail))
    return next(by_text, BY_KIND.get(kind, ""))


def plain(text: str) -> str:
    """Make a foreign text fit for a log line: one line, printable, bounded."""
    flat = " ".join(text[: 4 * LONGEST_TEXT].split())
    flat = "".join(character if character.isprintable() else "?" for character in flat)
    return flat if len(flat) <= LONGEST_TEXT else flat[: LONGEST_TEXT - 1] + "…"

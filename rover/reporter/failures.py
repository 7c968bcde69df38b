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


def advice(kind: FailureKind, detail: str = "") -> str:
    """Tell the user what to look at; empty where waiting is all there is to do."""
    if CERTIFICATE_TEXT.search(detail):
        return "check core.backend.ca_pem_path, and core.backend.server_name for the name"
    match kind:
        case FailureKind.DENIED:
            return "check core.backend.authentication and the client certificate"
        case FailureKind.WRONG_SERVER:
            return "check that core.backend.addr is an OAP's gRPC port (11800 by default)"
        case FailureKind.BROKEN:
            return "look into the backend's log"
        case FailureKind.TIMEOUT:
            return "check the network, or raise core.backend.timeout"
        case _:
            return ""


def plain(text: str) -> str:
    """Make a foreign text fit for a log line: one line, printable, bounded."""
    flat = " ".join(text[: 4 * LONGEST_TEXT].split())
    flat = "".join(character if character.isprintable() else "?" for character in flat)
    return flat if len(flat) <= LONGEST_TEXT else flat[: LONGEST_TEXT - 1] + "…"

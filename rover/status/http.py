"""HTTP/1.1 as far as the agent speaks it: one request, one answer, the end.

A connection ends with its first answer, so a client costs at most what one request may, and what
follows the head of that request is not read: no body, no second request, no other protocol. What
is left is less than RFC 9112 allows and nothing that it forbids; it takes a tenth of the time of a
parser for all of HTTP, which counts where anybody may send requests without end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_BYTES: Final = 8_192
"""Request line and headers at most; a probe's take 200, a browser's with cookies a few thousand."""
TARGET_BYTES: Final = 1_024
"""Path and query at most; the longest that is served takes 20."""
BEGINNING: Final = re.compile(rb"[A-Z]{1,16}(?: |\Z)")
"""A method. What begins otherwise is no request, and is not waited for: TLS, for example."""
END: Final = re.compile(rb"\r?\n\r?\n")
REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,%d}) HTTP/(\d\.\d)" % TARGET_BYTES)
NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")
VERSIONS: Final = (b"1.1", b"1.0")
METHODS: Final = (b"GET", b"HEAD", b"POST")
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    path: str
    query: str
    hosts: tuple[str, ...]
    """What it calls the agent: its Host header, and the name in the target where one stands there;
    none from a client of HTTP/1.0 that says neither."""
    head_only: bool
    accept: str = ""
    """Its Accept headers, joined by commas."""
    changes: bool = False
    """It is to change something, by POST; its body is not read."""
    of_a_page: bool = False
    """A page in a browser asks, which says where that is from with each POST."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What it is told."""

    status: HTTPStatus
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def sent(self, *, head_only: bool) -> bytes:
        """Return the bytes to send."""
        further = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Content-Type: {self.kind}\r\n"
            f"Content-Length: {len(self.body)}\r\n"
            # what is asked again is told anew; what is JSON is not to be taken for a page
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            f"Connection: close\r\n{further}\r\n"
        ).encode()
        return head if head_only else head + self.body


def say(status: HTTPStatus, content: Mapping[str, Any], *headers: tuple[str, str]) -> Answer:
    """Make an answer of JSON."""
    return Answer(status, json.dumps(content, indent=1).encode() + b"\n", JSON, headers)


def unchangeable() -> Answer:
    """Answer a wish to change what cannot be."""
    return say(
        HTTPStatus.METHOD_NOT_ALLOWED,
        {"error": "nothing can be changed here: GET and HEAD alone are answered"},
        ("Allow", "GET, HEAD"),
    )


def read(received: bytes) -> Request | Answer | None:
    """Read what a client has sent so far.

    Returns:
        Its request; what to answer where that is none that is served; None while its head is
        incomplete.
    """
    text = received.lstrip(b"\r\n")
    if text and not BEGINNING.match(text):
        return _refuse(HTTPStatus.BAD_REQUEST, "this is no request of HTTP; TLS is not spoken here")
    end = END.search(text)
    if end is not None:
        line, *fields = text[: end.start()].replace(b"\r\n", b"\n").split(b"\n")
        return _read_line(line, fields)
    if len(received) < HEAD_BYTES:
        return None
    return _refuse(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"the head of a request may have {HEAD_BYTES} bytes",
    )


def _read_line(line: bytes, fields: list[bytes]) -> Request | Answer:
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        return _refuse(HTTPStatus.BAD_REQUEST, f"this is no request line: {_shown(line)}")
    method, target, version = match.groups()
    if version not in VERSIONS:
        return _refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
    if method not in METHODS:
        return unchangeable()
    try:
        parts = urlsplit(target.decode("ascii"))
        hosts, accepts, origins = _named(fields, b"host", b"accept", b"origin")
    except ValueError as error:
        return _refuse(HTTPStatus.BAD_REQUEST, str(error))
    if len(hosts) > 1 or (not hosts and version == b"1.1"):
        return _refuse(HTTPStatus.BAD_REQUEST, "there must be one Host header")
    if parts.netloc:
        hosts.append(parts.netloc)
    return Request(
        parts.path,
        parts.query,
        tuple(hosts),
        head_only=method == b"HEAD",
        accept=",".join(accepts),
        changes=method == b"POST",
        of_a_page=bool(origins),
    )


def _named(fields: list[bytes], *names: bytes) -> tuple[list[str], ...]:
    """Return the values of all headers of each name.

    Raises:
        ValueError: one of the lines is no header.
    """
    found: dict[bytes, list[str]] = {name: [] for name in names}
    for field in fields:
        name, colon, value = field.partition(b":")
        if not (colon and NAME.fullmatch(name) and VALUE.fullmatch(value)):
            raise ValueError(f"this is no header: {_shown(field)}")
        if (values := found.get(name.lower())) is not None:
            values.append(value.strip(b" \t").decode("latin-1"))
    return tuple(found.values())


def _shown(text: bytes) -> str:
    return repr(text[:100])[1:]


def _refuse(status: HTTPStatus, why: str) -> Answer:
    return say(status, {"error": why})

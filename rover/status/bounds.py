"""What all clients of a listener may take together."""

from __future__ import annotations

import contextlib
import resource
from dataclasses import dataclass, replace
from typing import Final

OF_DESCRIPTORS: Final = 4
"""One in so many of the descriptors that the process may have is a connection's at most."""
LEAST: Final = 4
"""Connections, however few descriptors there are."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of each number of connections, one peer has half at most."""

    requests: int = 1_024
    """Connections at most whose request is not complete. To hold one that says nothing costs less
    than to end it and to accept it again."""
    answers: int = 64
    """Connections at most whose answer is being made or sent."""
    buffered: int = 2**20
    """Bytes of incomplete requests together."""
    request_within: float = 5.0
    """Seconds from the connection to the complete request."""
    answer_within: float = 10.0
    """Seconds from there until the answer is read and the connection over."""


def affordable(bounds: Bounds) -> Bounds:
    """Keep the bounds to what the process's limit of descriptors allows.

    The lower limit, 1,024 in most shells, is raised first: it is there for programs that use
    select(2), and this is none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OF_DESCRIPTORS * bounds.requests
    if 0 <= soft < wanted:
        soft = wanted if hard < 0 else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    most = bounds.requests if soft < 0 else max(LEAST, soft // OF_DESCRIPTORS)
    return replace(bounds, requests=min(bounds.requests, most), answers=min(bounds.answers, most))

"""Which of the two formats of figures a client asks for in its Accept header."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENMETRICS: Final = "application/openmetrics-text"
PLAIN: Final = "text/plain"
SPOKEN: Final = frozenset({"", "0.0.1", "1.0.0"})
"""Versions of OpenMetrics that 1.0.0 answers, and none in particular."""
WEIGHT: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")
"""qvalue of RFC 9110, section 12.4.2."""


def wants_openmetrics(accept: str) -> bool:
    """Tell whether a client names OpenMetrics, and prefers nothing to it that it could have.

    Prometheus names it first, a browser and curl do not: they get the older text, which is shown
    in place and not offered for saving.

    Args:
        accept: the header's value, several joined by commas; whatever a client sent.
    """
    weights = {OPENMETRICS: 0.0, PLAIN: 0.0}
    for kind, version, weight in _ranges(accept):
        if kind in weights and (kind == PLAIN or version in SPOKEN):
            weights[kind] = max(weights[kind], weight)
    return 0.0 < weights[OPENMETRICS] >= weights[PLAIN]


def _ranges(accept: str) -> Iterator[tuple[str, str, float]]:
    """Yield kind, version and weight of each; what is malformed counts for nothing."""
    for media_range in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in media_range.split(";"))
        given = {
            name.strip(): value.strip().strip('"')
            for name, _, value in (parameter.partition("=") for parameter in parameters)
        }
        weight = given.get("q", "1")
        if WEIGHT.fullmatch(weight):
            yield kind, given.get("version", ""), float(weight)

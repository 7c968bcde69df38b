"""Regular expressions as Go writes them, by the engine that Go's follows (RE2).

A configuration comes from a trusted hand, but what it is matched with does not: any user of the
host chooses command lines. RE2 takes time linear in the text whatever the expression, so that
nobody can hold up the agent by a command line that an innocent expression is slow on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_LENGTH: Final = 4096
_ONE_BYTE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\C")
"""``\\C`` could cut a character in two; Go refuses it as well."""


class Match(Protocol):
    """Where an expression matches."""

    def span(self, number: int, /) -> tuple[int, int]:
        """Return where a group stands, 0 for the whole; (-1, -1) for one that took no part."""

    def group(self, number: int, /) -> str | None:
        """Return a group, 0 for the whole; IndexError where there is no such group."""

    def groups(self) -> tuple[str | None, ...]:
        """Return all groups but the whole."""


class Pattern(Protocol):
    """A compiled expression."""

    @property
    def pattern(self) -> str:
        """What it was compiled from."""

    def search(self, text: str, /) -> Match | None:
        """Find the leftmost match anywhere in a text."""

    def finditer(self, text: str, /) -> Iterator[Match]:
        """Find all matches from left to right."""


def compile_pattern(source: str) -> Pattern:
    """Compile a regular expression.

    Raises:
        ValueError: It is none, with the reason.
    """
    # 3 MB that an agent without expressions need not hold
    import re2  # noqa: PLC0415

    if len(source) > _MAX_LENGTH:
        raise ValueError(f"longer than {_MAX_LENGTH} characters")
    if _ONE_BYTE.search(source):
        raise ValueError(r"\C is not supported: text is matched by characters, not bytes")
    options: Any = re2.Options()
    options.log_errors = False
    try:
        compiled: Pattern = re2.compile(source, options)
    except re2.error as error:
        reason = error.args[0]
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a regular expression (RE2): {reason}") from None
    return compiled

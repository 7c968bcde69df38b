"""What of a command line may leave the host: secrets in it become ``***``.

Pure: text in, text out. It is best effort by names and forms that are known, and no proof that
nothing is left; docs/security.md says what is caught and what is not. Where two readings are
possible, the one that masks is taken.

Text is handled as latin-1, one character a byte, so that bytes of any kind pass unharmed.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from rover.redaction.arguments import masked_arguments
from rover.redaction.names import speaks_of_secrets
from rover.redaction.text import masked_text
from rover.redaction.urls import MASK, masked_urls

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MASK", "CommandLineTold", "Redaction", "url_without_password", "without_secrets"]

_CODEC: Final = "latin-1"
_SEPARATOR: Final = "\0"


class CommandLineTold(Enum):
    """``process_discovery.command_line``: what of command lines leaves the host."""

    REDACTED = "redacted"
    """All of it, but for secrets."""
    FULL = "full"
    """As it is, but for what the user's own patterns match."""
    NAME_ONLY = "name_only"
    """The first argument up to a blank."""


class OwnMatch(Protocol):
    """A match of a user's pattern."""

    def groups(self) -> tuple[str | None, ...]:
        """Return all groups but the whole."""

    def span(self, number: int, /) -> tuple[int, int]:
        """Return where a group stands, 0 for the whole; (-1, -1) for one that took no part."""


class OwnPattern(Protocol):
    """A user's pattern, compiled."""

    def finditer(self, text: str, /) -> Iterator[OwnMatch]:
        """Find all matches from left to right."""


class Redaction:
    """The rules in force; immutable, for any thread."""

    def __init__(
        self,
        told: CommandLineTold = CommandLineTold.REDACTED,
        own: tuple[OwnPattern, ...] = (),
    ) -> None:
        """Take the settings.

        Args:
            told: how much of a command line may leave.
            own: further patterns; of a match the groups are masked, all of it where there is none.
        """
        self._told = told
        self._own = own

    def arguments(self, arguments: bytes) -> bytes:
        """Give what may leave of a command line; the same object where that is all of it.

        Args:
            arguments: parted by NULs, as /proc/PID/cmdline has them; a process that rewrote its
                title has but one, which is taken apart by blanks.
        """
        shown = arguments
        if self._told is CommandLineTold.NAME_ONLY:
            shown = arguments.partition(b"\0")[0].partition(b" ")[0]
        if self._told is not CommandLineTold.FULL:
            text = shown.decode(_CODEC)
            given = text.split(_SEPARATOR)
            masked = masked_arguments(given)
            if masked is not given:
                shown = _SEPARATOR.join(masked).encode(_CODEC)
        return self._without_own(shown) if self._own else shown

    def property(self, name: str, value: str) -> str:
        """Give what may leave of a fact that a process told under a name of its own choice."""
        if self._told is CommandLineTold.FULL:
            return value
        if speaks_of_secrets(name, value):
            return MASK
        return without_secrets(value)

    def _without_own(self, arguments: bytes) -> bytes:
        """Mask what the user's patterns match in the arguments joined by blanks."""
        text = arguments.replace(b"\0", b" ").decode(errors="replace")
        masked = text
        for pattern in self._own:
            masked = _masked_by(pattern, masked)
        return arguments if masked == text else masked.encode()


def url_without_password(text: str) -> str:
    """Mask passwords in the URLs of a text, for messages about them."""
    return masked_urls(text)


def without_secrets(text: str) -> str:
    """Mask what is a secret in a text of any kind: a line of the log, a failure's message."""
    return (
        masked_text(text.encode("utf-8", "surrogateescape").decode(_CODEC))
        .encode(_CODEC)
        .decode("utf-8", "replace")
    )


def _masked_by(pattern: OwnPattern, text: str) -> str:
    parts, done = [], 0
    for match in pattern.finditer(text):
        groups = range(1, len(match.groups()) + 1) or (0,)
        spans = (match.span(number) for number in groups)
        for begin, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            if begin >= done and end > begin:  # groups may lie inside one another
                parts += [text[done:begin], MASK]
                done = end
    return "".join((*parts, text[done:])) if parts else text

"""Read a list of objects item by item while it arrives.

A cluster's services are megabytes of JSON, and several times that as Python objects; so each item
is decoded, handed out and dropped before the next is looked at.
"""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_VALUE: Final = 64 << 20
"""Characters of one value; the API itself stores objects of at most 1.5 MiB."""

_BLANKS: Final = " \t\r\n"


class ListReader:
    """The JSON of a list, ``{"metadata": {...}, "items": [...]}`` in whatever order.

    Attributes:
        metadata: The list's own, complete once all items are read.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._json = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self._ended = False
        self.metadata: dict[str, Any] = {}

    def items(self) -> Iterator[Any]:
        """Yield the items.

        Raises:
            ValueError: this is no JSON object, or it ends too soon.
        """
        self._expect("{")
        if self._take("}"):
            return
        while True:
            name = self._value()
            self._expect(":")
            if name == "items" and self._take("["):
                yield from self._elements()
            else:
                value = self._value()
                if name == "metadata" and isinstance(value, dict):
                    self.metadata = value
            if not self._take(","):
                self._expect("}")
                return

    def _elements(self) -> Iterator[Any]:
        if self._take("]"):
            return
        while True:
            yield self._value()
            if not self._take(","):
                self._expect("]")
                return

    def _value(self) -> Any:  # noqa: ANN401 - any JSON
        self._peek()
        while True:
            start = self._at
            try:
                value, end = self._json.raw_decode(self._text, start)
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            except json.JSONDecodeError:
                # Half a value looks like a broken one, until no more comes.
                if not self._more():
                    raise
                continue
            # A number that ends with the buffer may have more digits to come.
            if end < len(self._text) or not self._more():
                self._at += end - start
                return value

    def _peek(self) -> str:
        """Skip blanks; return the next character, "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _take(self, character: str) -> bool:
        taken = self._peek() == character
        self._at += taken
        return taken

    def _expect(self, character: str) -> None:
        if not self._take(character):
            found = self._peek() or "its end"
            raise ValueError(f"expected {character!r}, found {found!r}")

    def _more(self) -> bool:
        """Append what comes next, and forget what has been read."""
        if self._ended:
            return False
        chunk = next(self._chunks, None)
        self._ended = chunk is None
        rest = self._text[self._at :]
        if len(rest) > MAX_VALUE:
            raise ValueError(f"one value is longer than {MAX_VALUE} characters")
        self._text = rest + self._decode.decode(chunk or b"", final=self._ended)
        self._at = 0
        return not self._ended or len(self._text) > len(rest)

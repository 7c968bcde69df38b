"""Constants as Go reads them: quoted text and numbers."""

from __future__ import annotations

import re
from typing import Final

_SIMPLE: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<octal>[0-7]{3})|x(?P<byte>[0-9a-fA-F]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<simple>.))",
    re.DOTALL,
)
_MAX_RUNE: Final = 0x10FFFF
_BYTE_END: Final = 0x100

_INT64_END: Final = 1 << 63
_UINT64_END: Final = 1 << 64
_OLD_OCTAL: Final = re.compile(r"([+-]?)0(_?[0-7])+")
_DECIMALS: Final = "[0-9]+(?:_[0-9]+)*"
_HEXES: Final = "[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*"
_DECIMAL_FLOAT: Final = re.compile(
    rf"[+-]?(?:{_DECIMALS}(?:\.(?:{_DECIMALS})?)?|\.{_DECIMALS})(?:[eE][+-]?{_DECIMALS})?"
)
_HEX_FLOAT: Final = re.compile(
    rf"[+-]?0[xX](?:_?{_HEXES}(?:\.(?:{_HEXES})?)?|\.{_HEXES})[pP][+-]?{_DECIMALS}"
)


def unquote(quoted: str) -> str | None:
    r"""Undo quotes and escapes of a string constant; None where an escape is not valid.

    Bytes that are no UTF-8 (``"\xff"``) become surrogates as "surrogateescape" has it, so that
    they survive until they are put together with others.
    """
    if quoted[0] == "`":
        return quoted[1:-1].replace("\r", "")
    body = quoted[1:-1]
    if "\\" not in body:
        return body
    pieces: list[bytes] = []
    at = 0
    while at < len(body):
        if body[at] != "\\":
            end = body.find("\\", at)
            end = len(body) if end < 0 else end
            pieces.append(body[at:end].encode(errors="surrogateescape"))
            at = end
            continue
        escaped = _escape(body, at, '"')
        if escaped is None:
            return None
        piece, at = escaped
        pieces.append(piece if isinstance(piece, bytes) else piece.encode())
    return b"".join(pieces).decode(errors="surrogateescape")


def unquote_rune(quoted: str) -> int | None:
    """Give the code point of a character constant; None where it is not exactly one character."""
    body = quoted[1:-1]
    if not body.startswith("\\"):
        return ord(body) if len(body) == 1 else None
    escaped = _escape(body, 0, "'")
    if escaped is None:
        return None
    piece, end = escaped
    if end != len(body):
        return None
    return piece[0] if isinstance(piece, bytes) else ord(piece)


def _escape(body: str, at: int, quote: str) -> tuple[bytes | str, int] | None:
    r"""Read one escape: bytes for ``\x`` and octal, a character for the others."""
    match = _ESCAPE.match(body, at)
    if match is None:
        return None
    if octal := match["octal"]:
        value = int(octal, 8)
        return (bytes([value]), match.end()) if value < _BYTE_END else None
    if byte := match["byte"]:
        return bytes.fromhex(byte), match.end()
    if code := match["short"] or match["long"]:
        value = int(code, 16)
        # Surrogates are no characters of their own.
        valid = value <= _MAX_RUNE and not 0xD800 <= value <= 0xDFFF  # noqa: PLR2004
        return (chr(value), match.end()) if valid else None
    simple = match["simple"]
    character = quote if simple == quote else _SIMPLE.get(simple)
    return None if character is None else (character, match.end())


def parse_number(text: str) -> tuple[int | None, int | float | None] | None:
    """Read a number constant.

    Returns:
        Its value as int64 (None where it has none) and its value where no type is asked for
        (None where Go's int cannot hold it); None where the text is no number at all.
    """
    integer = _integer(text)
    if integer is not None:
        as_int64 = integer if -_INT64_END <= integer < _INT64_END else None
        return as_int64, as_int64
    number = _floating(text)
    if number is None:
        return None
    # A float constant stands in for an integer where it is one.
    whole = number.is_integer() and -_INT64_END <= number < _INT64_END
    return (int(number) if whole else None), number


def _integer(text: str) -> int | None:
    """Read what Go's ParseInt or ParseUint accept with base 0, within their 64 bits."""
    if _OLD_OCTAL.fullmatch(text):
        value = int(text.replace("_", ""), 8)
    else:
        try:
            value = int(text, 0)
        except ValueError:
            return None
    unsigned = text[:1] not in ("+", "-")
    end = _UINT64_END if unsigned else _INT64_END
    return value if -_INT64_END <= value < end else None


def _floating(text: str) -> float | None:
    try:
        if _HEX_FLOAT.fullmatch(text):
            return float.fromhex(text.replace("_", ""))
        # Without a point or an exponent it is an integer too large, which Go refuses.
        if _DECIMAL_FLOAT.fullmatch(text) and re.search("[.eE]", text):
            value = float(text.replace("_", ""))
            return None if value in (float("inf"), float("-inf")) else value
    except OverflowError:
        return None
    return None

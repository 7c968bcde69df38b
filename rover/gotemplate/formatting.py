"""Single values as Go's fmt prints them under one verb."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final

from rover.gotemplate.errors import TemplateError
from rover.gotemplate.types import type_name
from rover.gotemplate.values import (
    NOTHING,
    Byte,
    Entries,
    Items,
    Pointer,
    Value,
    adopt,
    describe,
    to_bytes,
)

_INTEGER_BASES: Final = {"b": "b", "d": "d", "v": "d", "o": "o", "O": "o", "x": "x", "X": "X"}
_MAX_RUNE: Final = 0x10FFFF
_REPLACEMENT: Final = "\ufffd"
_ESCAPES: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
}


@dataclass(slots=True)
class Verb:
    """One directive of a format: flags, width and precision, then the verb."""

    letter: str = "v"
    minus: bool = False
    plus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    go_syntax: bool = False
    """``%#v``."""
    width: int | None = None
    precision: int | None = None


PLAIN: Final = Verb()
"""``%v``, as print has it."""


def format_value(value: Value, verb: Verb) -> str:
    """Print one value under a verb; a verb that does not suit it is said in the text, as Go does.

    Raises:
        TemplateError: The value is an object of the context: what Go prints there are addresses.
    """
    letter = verb.letter
    if letter == "T":
        return _pad("<nil>" if value is NOTHING else _truncate(describe(value), verb), verb)
    match value:
        case str():
            text = _string(value, verb)
        case bool():
            text = _pad(str(value).lower(), verb) if letter in "tv" else None
        case int():
            text = _integer(value, verb)
        case float():
            text = _float(value, verb)
        case Items() | Entries():
            # %w is for errors alone, and unlike other verbs does not reach what is inside.
            text = None if letter == "w" else _collection(value, verb)
        case Pointer():
            text = _pointer(value, verb)
        case _:
            text = _pad("<nil>", verb) if letter == "v" else None
    return f"%!{letter}({typed(value, verb)})" if text is None else text


def typed(value: Value, verb: Verb = PLAIN) -> str:
    """Print a value with its type, as complaints inside of formatted text have it."""
    if value is NOTHING:
        return "<nil>"
    # Width and flags of the verb that did not suit still count.
    return f"{describe(value)}={format_value(value, replace(verb, letter='v'))}"


def _pad(text: str, verb: Verb, *, zero: bool | None = None) -> str:
    missing = (verb.width or 0) - len(text)
    if missing <= 0:
        return text
    if verb.minus:
        return text + " " * missing
    return ("0" if (verb.zero if zero is None else zero) else " ") * missing + text


def _truncate(text: str, verb: Verb) -> str:
    return text if verb.precision is None else text[: verb.precision]


# Text


def _string(text: str, verb: Verb) -> str | None:
    match verb.letter:
        case "v" if verb.go_syntax:
            return _pad(quote(_truncate(text, verb)), verb)
        case "v" | "s":
            return _pad(_truncate(text, verb), verb)
        case "q":
            text = _truncate(text, verb)
            if verb.sharp and _can_backquote(text):
                return _pad(f"`{text}`", verb)
            return _pad(quote(text, ascii_only=verb.plus), verb)
        case "x" | "X":
            return _hex_bytes(to_bytes(text), verb)
    return None


def _hex_bytes(data: bytes, verb: Verb) -> str:
    if verb.precision is not None:
        data = data[: verb.precision]
    prefix = f"0{verb.letter}" if verb.sharp and data else ""
    digits = [f"{byte:02{verb.letter}}" for byte in data]
    joint = f" {prefix}" if verb.space else ""
    return _pad(prefix + joint.join(digits), verb)


def quote(text: str, *, ascii_only: bool = False, mark: str = '"') -> str:
    """Write text as a Go constant."""
    return mark + "".join(_quoted(character, mark, ascii_only) for character in text) + mark


def _quoted(character: str, mark: str, ascii_only: bool) -> str:  # noqa: FBT001
    code = ord(character)
    if character in (mark, "\\"):
        return "\\" + character
    if character.isprintable() and (not ascii_only or character.isascii()):
        return character
    if character in _ESCAPES:
        return _ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:  # noqa: PLR2004 - ASCII's control characters
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def _can_backquote(text: str) -> bool:
    return not any(
        character in "`\x7f\ufeff"
        or (character < " " and character != "\t")
        or "\ud800" <= character <= "\udfff"
        for character in text
    )


# Numbers


def _integer(value: int, verb: Verb) -> str | None:
    letter = verb.letter
    if letter in _INTEGER_BASES:
        return _digits(value, verb)
    if letter == "U":
        return _unicode(value, verb)
    if letter in "cq":
        valid = 0 <= value <= _MAX_RUNE and not 0xD800 <= value <= 0xDFFF  # noqa: PLR2004
        character = chr(value) if valid else _REPLACEMENT
        if letter == "q":
            character = quote(character, ascii_only=verb.plus, mark="'")
        return _pad(character, verb)
    return None


def _digits(value: int, verb: Verb) -> str:
    letter = verb.letter
    # Go prints unsigned integers as hexadecimal in its own syntax.
    in_hex = verb.go_syntax and isinstance(value, Byte)
    base = "x" if in_hex else _INTEGER_BASES[letter]
    digits = format(abs(value), base)
    sign = "-" if value < 0 else "+" if verb.plus else " " if verb.space else ""
    if verb.precision is not None:
        if verb.precision == 0 and value == 0:
            return _pad("", verb, zero=False)
        digits = digits.rjust(verb.precision, "0")
    elif verb.zero and not verb.minus and verb.width is not None:
        digits = digits.rjust(verb.width - len(sign), "0")
    if verb.sharp or in_hex:
        digits = _prefixed(digits, base)
    if letter == "O":
        digits = "0o" + digits
    return _pad(sign + digits, verb, zero=False)


def _prefixed(digits: str, base: str) -> str:
    if base == "o":
        return digits if digits.startswith("0") else "0" + digits
    return digits if base == "d" else f"0{base}{digits}"


def _unicode(value: int, verb: Verb) -> str:
    # Negative numbers are printed as the 64 bits they are.
    code = value % (1 << 64)
    text = f"U+{code:0{max(4, verb.precision or 0)}X}"
    if verb.sharp and code <= _MAX_RUNE and chr(code).isprintable():
        text += f" '{chr(code)}'"
    return _pad(text, verb, zero=False)


def _float(value: float, verb: Verb) -> str | None:
    letter = "g" if verb.letter == "v" else "f" if verb.letter == "F" else verb.letter
    if letter not in "beEfgGxX":
        return None
    precision = verb.precision
    if precision is None and letter in "eEf":
        precision = 6
    text = _float_digits(abs(value), letter, precision)
    if verb.sharp and letter != "b":
        text = _keep_zeros(text, letter, precision)
    negative = math.copysign(1, value) < 0
    sign = "-" if negative else "+" if verb.plus else " " if verb.space else ""
    if sign and verb.zero and not verb.minus and verb.width is not None:
        return sign + text.rjust(verb.width - 1, "0")
    return _pad(sign + text, verb)


def _float_digits(value: float, letter: str, precision: int | None) -> str:
    if letter == "b":
        # 53 bits of mantissa, fewer below the smallest normal number.
        power = max(math.frexp(value)[1] - 53, -1074) if value else -1074
        return f"{int(math.ldexp(value, -power))}p{power:+d}"
    if letter in "xX":
        text = _hex_float(value, precision)
        return text.upper() if letter == "X" else text
    if precision is not None:
        return format(value, f".{precision}{letter}")
    return _shortest(value, letter)


def _shortest(value: float, letter: str) -> str:
    """Write the fewest digits that give the value back, with an exponent below -4 and from 6 on."""
    text = repr(value)
    mantissa, _, power = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    # Power of ten of the first digit.
    exponent = int(power or 0) + (
        len(whole) - 1 if whole != "0" else -1 - (len(fraction) - len(fraction.lstrip("0")))
    )
    digits = digits.rstrip("0")
    if -4 <= exponent < 6:  # noqa: PLR2004 - Go's bound where no precision is asked for
        if exponent < 0:
            return "0." + "0" * (-exponent - 1) + digits
        before = digits[: exponent + 1].ljust(exponent + 1, "0")
        after = digits[exponent + 1 :]
        return f"{before}.{after}" if after else before
    point = "." if len(digits) > 1 else ""
    mark = "E" if letter == "G" else "e"
    return f"{digits[0]}{point}{digits[1:]}{mark}{exponent:+03d}"


def _hex_float(value: float, precision: int | None) -> str:
    if not value:
        fraction, exponent = 0, 0
    else:
        # frexp gives 0.5 <= mantissa < 1; hexadecimal floats have their first bit before the point.
        mantissa, exponent = math.frexp(value)
        fraction, exponent = int(mantissa * 2**53), exponent - 1
    if precision is not None and precision < 13:  # noqa: PLR2004 - 52 bits of fraction
        # Round half to even on the last digit kept.
        cut = 4 * (13 - precision)
        quotient, rest = divmod(fraction, 1 << cut)
        half = 1 << (cut - 1)
        quotient += rest > half or (rest == half and quotient & 1)
        fraction = quotient << cut
        if fraction >> 53:
            fraction, exponent = fraction >> 1, exponent + 1
    digits = f"{fraction % (1 << 52):013x}"
    digits = digits.rstrip("0") if precision is None else digits.ljust(precision, "0")[:precision]
    point = "." if digits else ""
    return f"0x{fraction >> 52}{point}{digits}p{exponent:+03d}"


def _keep_zeros(text: str, letter: str, precision: int | None) -> str:
    """Do what the flag ``#`` asks for: a decimal point always, and the zeros that %g cuts off."""
    match = re.search("[pP]" if letter in "xX" else "[eE]", text)
    number, tail = (text[: match.start()], text[match.start() :]) if match else (text, "")
    wanted = (6 if precision is None else precision) if letter in "gGx" else 0
    significant = number.replace(".", "").lstrip("0")
    if "." not in number:
        wanted -= number == "0"
        number += "."
    return number + "0" * max(0, wanted - len(significant)) + tail


# What holds other values


def _collection(value: Items | Entries, verb: Verb) -> str:
    if isinstance(value, Items):
        brackets = "[]"
        parts = [_inner(adopt(item, value.type.element), verb) for item in value.values]
    else:
        brackets = "map[]"
        parts = [
            f"{_inner(key, verb)}:{_inner(adopt(entry, value.type.value), verb)}"
            for key, entry in sorted(value.values.items())
        ]
    if verb.go_syntax:
        return f"{type_name(value.type)}{{{', '.join(parts)}}}"
    return f"{brackets[:-1]}{' '.join(parts)}]"


def _inner(value: Value, verb: Verb) -> str:
    if value is NOTHING:
        return "interface {}(nil)" if verb.go_syntax else "<nil>"
    return format_value(value, verb)


def _pointer(pointer: Pointer, verb: Verb) -> str:
    if pointer.target is None and verb.letter == "v" and not verb.go_syntax:
        return _pad("<nil>", verb)
    known = ", ".join(sorted(pointer.type.members))
    raise TemplateError(f"{describe(pointer)} cannot be printed; name one of its fields: {known}")

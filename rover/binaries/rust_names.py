"""Rust's mangled names: v0 (RFC 2603) and the legacy ones.

The reader of v0 says paths, generic arguments and types; values of constants only where they are
numbers. It is bounded in depth and in what it writes, for back references let a short name say an
endless one.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_DEPTH: Final = 64
MAX_STEPS: Final = 2_000
MAX_WRITTEN: Final = 2_048

_BASIC: Final = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8",
    "i": "isize", "j": "usize", "l": "i32", "m": "u32", "n": "i128", "o": "u128", "p": "_",
    "s": "i16", "t": "u16", "u": "()", "v": "...", "x": "i64", "y": "u64", "z": "!",
}  # fmt: skip
_ESCAPES: Final = {
    "$SP$": "@", "$BP$": "*", "$RF$": "&", "$LT$": "<", "$GT$": ">", "$LP$": "(", "$RP$": ")",
    "$C$": ",",
}  # fmt: skip
_UNICODE: Final = re.compile(r"\$u([0-9a-f]{1,6})\$")


class _Unreadable(Exception):  # noqa: N818  not an error: the name stays as it is
    pass


def readable_legacy(name: bytes) -> str | None:
    """Return a legacy name (_ZN ... 17h and 16 digits) without its hash; None where it is none."""
    text = name.decode("ascii", "replace")
    text = text.removeprefix("_ZN") if text.startswith("_ZN") else ""
    parts, at = [], 0
    while at < len(text) and text[at].isdigit():
        digits = re.match(r"\d{1,4}", text[at:])
        length = int(digits[0]) if digits else 0
        at += len(digits[0]) if digits else 1
        parts.append(text[at : at + length])
        at += length
    if len(parts) < 2 or text[at : at + 1] != "E":
        return None
    return "::".join(_unescaped(part) for part in parts[:-1])


def _unescaped(part: str) -> str:
    if part.startswith("_$"):
        part = part[1:]
    for escape, meant in _ESCAPES.items():
        part = part.replace(escape, meant)
    return _UNICODE.sub(_character, part).replace("..", "::")


def _character(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "?"


def readable(name: bytes) -> str | None:
    """Return a v0 name (_R ...) as its path; None where it is none that is understood."""
    try:
        text = name.decode("ascii").partition(".")[0]
        reader = _Reader(text[2:])
        reader.path(in_value=True)
    except (_Unreadable, UnicodeDecodeError, IndexError, ValueError):
        return None
    return "".join(reader.written) or None


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._steps = 0
        self._size = 0
        self._muted = 0
        self.written: list[str] = []

    def _write(self, text: str) -> None:
        if self._muted:
            return
        self._size += len(text)
        if self._size > MAX_WRITTEN:
            raise _Unreadable
        self.written.append(text)

    def _next(self) -> str:
        letter = self._text[self._at]
        self._at += 1
        return letter

    def _eat(self, letter: str) -> bool:
        if self._text[self._at : self._at + 1] == letter:
            self._at += 1
            return True
        return False

    def _enter(self) -> None:
        self._depth += 1
        self._steps += 1
        if self._depth > MAX_DEPTH or self._steps > MAX_STEPS:
            raise _Unreadable

    def _base62(self) -> int:
        if self._eat("_"):
            return 0
        value = 0
        while not self._eat("_"):
            letter = self._next()
            digit = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".index(letter)
            value = value * 62 + digit
            if value >> 64:
                raise _Unreadable
        return value + 1

    def _disambiguator(self) -> int:
        return self._base62() + 1 if self._eat("s") else 0

    def _identifier(self) -> str:
        self._disambiguator()
        coded = self._eat("u")
        digits = re.match(r"0|[1-9]\d{0,4}", self._text[self._at :])
        if not digits:
            raise _Unreadable
        self._at += len(digits[0])
        self._eat("_")
        length = int(digits[0])
        word = self._text[self._at : self._at + length]
        if len(word) < length:
            raise _Unreadable
        self._at += length
        if coded:
            head, _, tail = word.rpartition("_")
            try:
                return (f"{head}-{tail}" if head else tail).encode("ascii").decode("punycode")
            except UnicodeError as error:
                raise _Unreadable from error
        return word

    def _again(self, read: str, **how: bool) -> None:
        """Read once more what stands further ahead."""
        place = self._base62()
        if place >= self._at:
            raise _Unreadable
        back, self._at = self._at, place
        getattr(self, read)(**how)
        self._at = back

    def path(self, *, in_value: bool = False) -> None:
        """Write a path."""
        self._enter()
        kind = self._next()
        if kind == "C":
            self._write(self._identifier())
        elif kind == "N":
            space = self._next()
            self.path(in_value=in_value)
            number = self._peeked_disambiguator()
            word = self._identifier()
            if space.isupper():
                name = {"C": "closure", "S": "shim"}.get(space, space)
                self._write(f"::{{{name}{':' + word if word else ''}#{number}}}")
            elif word:
                self._write(f"::{word}")
        elif kind in "MX":
            self._disambiguator()
            self._muted += 1
            self.path()
            self._muted -= 1
            self._implemented(for_trait=kind == "X")
        elif kind == "Y":
            self._implemented(for_trait=True)
        elif kind == "I":
            self.path(in_value=in_value)
            self._write("::<" if in_value else "<")
            self._list("generic")
            self._write(">")
        elif kind == "B":
            self._again("path", in_value=in_value)
        else:
            raise _Unreadable
        self._depth -= 1

    def _peeked_disambiguator(self) -> int:
        at = self._at
        number = self._disambiguator()
        self._at = at
        return number

    def _implemented(self, *, for_trait: bool) -> None:
        self._write("<")
        self.type_()
        if for_trait:
            self._write(" as ")
            self.path()
        self._write(">")

    def _list(self, read: str) -> int:
        amount = 0
        while not self._eat("E"):
            if amount:
                self._write(", ")
            getattr(self, read)()
            amount += 1
        return amount

    def generic(self) -> None:
        """Write one generic argument."""
        if self._eat("L"):
            self._base62()
            self._write("'_")
        elif self._eat("K"):
            self.constant()
        else:
            self.type_()

    def constant(self) -> None:
        """Write a constant's value."""
        self._enter()
        if self._eat("p"):
            self._write("_")
        elif self._eat("B"):
            self._again("constant")
        else:
            kind = self._next()
            negative = self._eat("n")
            end = self._text.index("_", self._at)
            digits = self._text[self._at : end]
            self._at = end + 1
            if kind not in _BASIC or len(digits) > 32:
                raise _Unreadable
            value = int(digits or "0", 16)
            said = str(bool(value)).lower() if kind == "b" else str(value)
            self._write(("-" if negative else "") + said)
        self._depth -= 1

    def type_(self) -> None:  # noqa: C901, PLR0912  one letter a branch
        """Write a type."""
        self._enter()
        kind = self._next()
        if kind in _BASIC:
            self._write(_BASIC[kind])
        elif kind == "A":
            self._write("[")
            self.type_()
            self._write("; ")
            self.constant()
            self._write("]")
        elif kind == "S":
            self._write("[")
            self.type_()
            self._write("]")
        elif kind == "T":
            self._write("(")
            if self._list("type_") == 1:
                self._write(",")
            self._write(")")
        elif kind in "RQ":
            self._write("&")
            if self._eat("L"):
                self._base62()
            if kind == "Q":
                self._write("mut ")
            self.type_()
        elif kind in "PO":
            self._write("*const " if kind == "P" else "*mut ")
            self.type_()
        elif kind == "F":
            self._function()
        elif kind == "D":
            self._dynamic()
        elif kind == "B":
            self._again("type_")
        else:
            self._at -= 1
            self.path()
        self._depth -= 1

    def _function(self) -> None:
        if self._eat("G"):
            self._base62()
        if self._eat("U"):
            self._write("unsafe ")
        if self._eat("K"):
            convention = "C" if self._eat("C") else self._identifier().replace("_", "-")
            self._write(f'extern "{convention}" ')
        self._write("fn(")
        self._list("type_")
        self._write(")")
        if not self._eat("u"):
            self._write(" -> ")
            self.type_()

    def _dynamic(self) -> None:
        self._write("dyn ")
        if self._eat("G"):
            self._base62()
        first = True
        while not self._eat("E"):
            self._write("" if first else " + ")
            first = False
            self.path()
            while self._eat("p"):
                self._write(f"<{self._identifier()} = ")
                self.type_()
                self._write(">")
        if self._eat("L"):
            self._base62()

"""Numbers of DWARF: seven bits a byte (DWARF 5, section 7.6)."""

from __future__ import annotations


def uleb(text: bytes, at: int, stop: int) -> tuple[int, int]:
    """Read an unsigned LEB128 number; return it and where the next byte is."""
    value = shift = 0
    while at < stop:
        byte = text[at]
        at += 1
        if shift < 64:
            value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value, at


def sleb(text: bytes, at: int, stop: int) -> tuple[int, int]:
    """Read a signed LEB128 number."""
    began = at
    value, at = uleb(text, at, stop)
    bits = min(7 * (at - began), 70)
    if bits and text[at - 1] & 0x40:
        value -= 1 << bits
    return value, at

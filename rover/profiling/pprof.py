"""pprof's format: google/pprof's profile.proto, of which these few fields are written by hand."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Final

from rover.profiling.records import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.profiling.records import StackCount

_VARINT, _BYTES = 0, 2
# fields of message Profile
_SAMPLE_TYPE, _SAMPLE, _LOCATION, _FUNCTION, _STRING = 1, 2, 4, 5, 6
_TIME, _DURATION, _PERIOD_TYPE, _PERIOD = 9, 10, 11, 12
_TYPES: Final = {
    Target.ON_CPU: (("samples", "count"), ("cpu", "nanoseconds")),
    Target.OFF_CPU: (("waits", "count"), ("off_cpu", "nanoseconds")),
}


def pprof(
    stacks: Iterable[StackCount], target: Target, *, period_ns: int, began_ns: int, lasted_ns: int
) -> bytes:
    """Return a profile as `go tool pprof` and others read it, compressed.

    Args:
        stacks: of one target.
        target: of the stacks.
        period_ns: between two dumps; what a dump of CPU time is worth.
        began_ns: when, as Unix time.
        lasted_ns: for how long.
    """
    strings: dict[str, int] = {"": 0}
    functions: dict[str, int] = {}

    def text(value: str) -> int:
        return strings.setdefault(value, len(strings))

    body = bytearray()
    for kind, unit in _TYPES[target]:
        body += _message(_SAMPLE_TYPE, _number(1, text(kind)) + _number(2, text(unit)))
    for stack in stacks:
        places = [
            functions.setdefault(name, len(functions) + 1) for name in (*stack.kernel, *stack.user)
        ]
        worth = stack.ns if target is Target.OFF_CPU else stack.count * period_ns
        body += _message(_SAMPLE, _packed(1, places) + _packed(2, [stack.count, worth]))
    for name, number in functions.items():
        line = _message(4, _number(1, number))
        body += _message(_LOCATION, _number(1, number) + line)
        body += _message(
            _FUNCTION, _number(1, number) + _number(2, text(name)) + _number(3, text(name))
        )
    kind, unit = _TYPES[target][1]
    body += _message(_PERIOD_TYPE, _number(1, text(kind)) + _number(2, text(unit)))
    body += _number(_PERIOD, period_ns if target is Target.ON_CPU else 1)
    body += _number(_TIME, began_ns) + _number(_DURATION, lasted_ns)
    for value in strings:
        body += _message(_STRING, value.encode("utf-8", "replace"))
    return gzip.compress(bytes(body), mtime=0)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004  seven bits a byte
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _packed(field: int, values: list[int]) -> bytes:
    return _message(field, b"".join(map(_varint, values)))

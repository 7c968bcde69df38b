"""Names as their authors wrote them: C++ by the C++ library, Rust beside it."""

from __future__ import annotations

import ctypes
import re
from functools import cache

from rover.binaries import rust_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

MAX_MANGLED: Final = 1_024
"""Longer names are left as they are: what they say may grow beyond all measure."""
MAX_NAME: Final = 512
LIBRARY: Final = "libstdc++.so.6"

_RUST_LEGACY: Final = re.compile(rb"17h[0-9a-f]{16}E(?:\.llvm\.\d+)?$")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f;]")
"""Control characters, and what separates frames in collapsed stacks."""


def readable(name: bytes) -> str:
    """Return a function's name for people: demangled, one line, bounded."""
    found = None
    name = name.partition(b"@")[0] or name  # a version: clock_nanosleep@@GLIBC_2.17
    if len(name) <= MAX_MANGLED:
        if name[:2] == b"_R":
            found = rust_names.readable(name)
        elif _RUST_LEGACY.search(name):
            found = rust_names.readable_legacy(name)
        elif name[:2] == b"_Z":
            found = _demangler()(name)
    return printable(found or name.decode("utf-8", "replace"))


def printable(name: str) -> str:
    """Return a name without what would end a line or part frames, cut where it is too long."""
    name = _UNPRINTABLE.sub(":", name)
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


@cache
def _demangler() -> Callable[[bytes], str | None]:
    """Load the C++ library, 2 MB, when the first such name is met."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return lambda _: None
    free = ctypes.CDLL(None).free
    free.argtypes, free.restype = (ctypes.c_void_p,), None
    demangle = library["__cxa_demangle"]
    demangle.restype = ctypes.c_void_p
    demangle.argtypes = (
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_int),
    )

    def ask(name: bytes) -> str | None:
        status = ctypes.c_int()
        found = demangle(name, None, None, ctypes.byref(status))
        if not found:
            return None
        try:
            return ctypes.string_at(found).decode("utf-8", "replace")
        finally:
            free(found)

    return ask

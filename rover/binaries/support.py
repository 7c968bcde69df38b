"""Whether stacks of a process would have names: by what its executable is, never by its name.

The server keeps the first answer for ever, so it is a generous one: any native program that says
where its functions are, in itself or in a debug file. What an interpreter runs is seen where the
interpreter says it (a perf map, at any time of its life); its own functions always.
"""

from __future__ import annotations

import os

from rover.binaries.debug_files import DebugFiles
from rover.binaries.elf import Elf, ElfError
from rover.binaries.images import Image, open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_KEPT: Final = 4_096
_TABLES: Final = (
    b".symtab",
    b".dynsym",
    b".gopclntab",
    b".data.rel.ro.gopclntab",
    b".gnu_debugdata",
)
_ONE_ENTRY: Final = 24
"""Bytes of a symbol table's first entry, which names nothing."""

_known: dict[tuple[int, int, int], tuple[bool, str]] = {}


def supports(proc: str, pid: int) -> tuple[bool, str]:
    """Tell whether a process's functions have names, and why; 0.2 ms, kept by file.

    Raises:
        OSError: the process is gone, or access is denied.
    """
    descriptor, status = open_regular(f"{proc}/{pid}/exe")
    key = status.st_dev, status.st_ino, status.st_mtime_ns
    try:
        known = _known.get(key)
        if known is None:
            try:
                known = _judge(Image(descriptor, os.fsencode(f"{pid}"), pid), DebugFiles(proc))
            except ElfError as error:
                known = False, f"its executable is {error}"
            if len(_known) >= MAX_KEPT:
                _known.clear()
            _known[key] = known
        return known
    finally:
        os.close(descriptor)


def _judge(image: Image, debug_files: DebugFiles) -> tuple[bool, str]:
    elf: Elf = image.elf
    for name in _TABLES:
        section = elf.sections.get(name)
        if section and section.size > _ONE_ENTRY:
            return True, f"its executable has {name.decode()}"
    if (found := debug_files.find(image)) is not None:
        os.close(found)
        return True, "its executable has a debug file"
    return False, "its executable names no functions (stripped, and linked statically)"

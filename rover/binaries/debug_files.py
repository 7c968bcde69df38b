"""Where distributions put the symbols that they have stripped from a file."""

from __future__ import annotations

import contextlib
import os
import stat

from rover.binaries.elf import Elf, ElfError, file_reader
from rover.binaries.images import open_regular
from rover.foreign.walk import Refused, Walker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from rover.binaries.images import Image

PLACE: Final = b"/usr/lib/debug"
MIN_ID: Final = 8
"""Digits of a build id that is worth looking for."""
MAX_LINK: Final = 256


class DebugFiles:
    """Finds debug files, below the root of a process and in the agent's own."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._walker = Walker(proc)

    def find(self, image: Image) -> int | None:
        """Return the open debug file of an image; None where there is none that is its own."""
        for path in _paths(image):
            for opened in self._open(image.pid, path):
                if _belongs(opened, image.elf.build_id):
                    return opened
                os.close(opened)
        return None

    def _open(self, pid: int, path: bytes) -> Iterator[int]:
        with contextlib.suppress(OSError, Refused):
            yield self.open_below_root(pid, path)[0]
        # the agent's own root is as trusted as its own program
        with contextlib.suppress(OSError):
            yield open_regular(os.fsdecode(path))[0]

    def open_below_root(self, pid: int, path: bytes) -> tuple[int, os.stat_result]:
        """Open a regular file below a process's root, by the careful walk.

        Raises:
            OSError: there is none, or it is no regular file.
            Refused: the path leads where the walk does not go.
        """
        root = os.open(f"{self._proc}/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            namespace = os.stat(f"{self._proc}/{pid}/ns/mnt").st_ino  # noqa: PTH116
            place = self._walker.open(pid, namespace, root, path)
        finally:
            os.close(root)
        try:
            status = os.fstat(place)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(22, "no regular file")
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{place}", flags), status
        finally:
            os.close(place)


def _paths(image: Image) -> Iterator[bytes]:
    build_id = image.elf.build_id
    if len(build_id) >= MIN_ID:
        yield f"{PLACE.decode()}/.build-id/{build_id[:2]}/{build_id[2:]}.debug".encode()
    link = image.elf.section(b".gnu_debuglink")[:MAX_LINK].partition(b"\0")[0]
    folder = os.path.dirname(image.path)  # noqa: PTH120
    if link and b"/" not in link and folder.startswith(b"/") and build_id:
        yield folder + b"/" + link
        yield folder + b"/.debug/" + link
        yield PLACE + folder + b"/" + link


def _belongs(descriptor: int, build_id: str) -> bool:
    """Tell whether a debug file is of the file with this build id."""
    try:
        return bool(build_id) and Elf(file_reader(descriptor)).build_id == build_id
    except (ElfError, OSError):
        return False

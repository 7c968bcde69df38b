"""The child's program: answers one socket about code in memory, of files that anybody wrote.

Arguments: the agent's pid, the descriptor of the socket, that of /proc/kallsyms or -1, where the
host's processes are. It ends when the agent's end is closed.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from array import array

from rover.binaries.processes import Gone, Processes, Unreadable
from rover.binaries.support import supports
from rover.binaries.wire import ROWS_AT_ONCE, WireError, receive, send
from rover.foreign.rights import CHECKPOINT_RESTORE, give_up_rights, start_nothing_more

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_libc: Final = ctypes.CDLL(None)
_ADDRESS_SPACE: Final = 640 << 20
_DESCRIPTORS: Final = 1_024


def main() -> None:
    """Answer until the agent is gone."""
    parent, descriptor, kernel, proc = sys.argv[1:5]
    give_up_rights(
        int(parent),
        beside=CHECKPOINT_RESTORE,
        address_space=_ADDRESS_SPACE,
        descriptors=_DESCRIPTORS,
    )
    os.chdir("/")
    start_nothing_more()
    answers = Answers(Processes(proc, int(kernel)), proc)
    with socket.socket(fileno=int(descriptor)) as agent:
        while True:
            try:
                words, text = receive(agent)
                send(agent, *answers.answer(words, text))
            except (WireError, OSError):
                return


class Answers:
    """What is said to each question."""

    def __init__(self, processes: Processes, proc: str) -> None:
        self._processes = processes
        self._proc = proc

    def answer(self, words: list[Any], text: bytes) -> tuple[dict[str, Any], bytes]:
        """Answer one question; a defect or a want of memory in it is an answer, too."""
        try:
            return getattr(self, words[0])(text, *words[1:])  # type: ignore[no-any-return]
        except Gone as error:
            return {"gone": str(error)}, b""
        except Unreadable as error:
            return {"failed": str(error)}, b""
        except MemoryError:
            self._forget_tables()
            return {"failed": "its files take too much memory"}, b""
        except Exception as error:  # noqa: BLE001  one question must not end the answers to others
            return {"failed": repr(error)[:500]}, b""

    def look(self, _: bytes, pid: int, ticks: int) -> tuple[dict[str, Any], bytes]:
        """Look at a process's mappings."""
        generation, mappings = self._processes.look(pid, ticks)
        return {"generation": generation, "mappings": mappings}, b""

    def prepare(self, _: bytes, pid: int, ticks: int) -> tuple[dict[str, Any], bytes]:
        """Look at a process, make the rows of its files, and read the names of the largest."""
        self._processes.look(pid, ticks)
        self._processes.prepare(pid)
        _give_back()
        return {}, b""

    def rows(self, _: bytes, index: int, first: int) -> tuple[dict[str, Any], bytes]:
        """Give some rows of an image, and how many there are; the last ones end it."""
        image = self._processes.images.get(index)
        if image is None:
            return {"total": 0}, b""
        rows = image.rows()
        part = rows[first : first + ROWS_AT_ONCE]
        if first + ROWS_AT_ONCE >= len(rows):
            image.forget_rows()
            _give_back()
        return {"total": len(rows)}, part.tobytes()

    def names(self, text: bytes, pid: int, generation: int) -> tuple[dict[str, Any], bytes]:
        """Name addresses of a process."""
        before = self._tables()
        names = self._processes.names(pid, generation, _addresses(text))
        if self._tables() != before:
            _give_back()
        return {}, _joined(names)

    def kernel(self, text: bytes) -> tuple[dict[str, Any], bytes]:
        """Name addresses of the kernel."""
        return {}, _joined(self._processes.kernel_names(_addresses(text)))

    def forget(self, _: bytes, pid: int) -> tuple[dict[str, Any], bytes]:
        """Forget a process."""
        self._processes.forget(pid)
        return {}, b""

    def supports(self, _: bytes, pid: int) -> tuple[dict[str, Any], bytes]:
        """Tell whether stacks of a process would have names."""
        found, why = supports(self._proc, pid)
        return {"supports": found, "why": why}, b""

    def _tables(self) -> int:
        return sum(image.has_tables for image in self._processes.images.values())

    def _forget_tables(self) -> None:
        for image in self._processes.images.values():
            image.forget_rows()
            image.forget_tables()


def _give_back() -> None:
    """Have the C library return what rows and tables took while they were made."""
    if hasattr(_libc, "malloc_trim"):  # musl's has none
        _libc.malloc_trim(0)


def _addresses(text: bytes) -> list[int]:
    return array("Q", text).tolist()


def _joined(names: list[str]) -> bytes:
    return "\0".join(names).encode("utf-8", "replace")

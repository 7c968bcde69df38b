"""The child's program: two threads, each of which answers one socket and may wait in the kernel.

Arguments: the agent's pid, the descriptors of both sockets, where the host's processes are. It ends
when the agent's ends of the sockets are closed.
"""

from __future__ import annotations

import _thread
import os
import sys

from rover import file_pages
from rover.foreign.pace import Pace
from rover.foreign.places import Places
from rover.foreign.rights import give_up_rights, start_nothing_more
from rover.foreign.strings import strings_of
from rover.foreign.wire import (
    DEFECT,
    DROP,
    HOLD,
    LEAVE,
    LIST,
    MAX_PACKET,
    READY,
    SLOW,
    STRINGS,
    STRINGS_ARE,
    pack,
    unpack,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_STACK: Final = 262_144
_SWITCH_S: Final = 0.001
"""Seconds after which one thread lets the other go on."""


def main() -> None:
    """Answer until the agent is gone."""
    parent, memory, files, proc = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    give_up_rights(parent)
    os.chdir("/")
    sys.setswitchinterval(_SWITCH_S)
    _thread.stack_size(_STACK)

    def tell(packet: bytes) -> None:
        _tell(files, packet)

    _thread.start_new_thread(_serve, (files, _answers_of(Places(proc, tell), tell)))
    start_nothing_more()
    file_pages.give_back()
    reader = Memory(proc, lambda packet: _tell(memory, packet))
    _serve(memory, {STRINGS: reader.strings})


class Memory:
    """Reads what lies in processes' own memory."""

    def __init__(self, proc: str, tell: Callable[[bytes], None]) -> None:
        self._proc = proc
        self._tell = tell
        self._pace = Pace()

    def strings(self, numbers: list[int], _text: bytes) -> None:
        """Answer `wire.STRINGS`, each process on its own."""
        limit, with_place, *asked = numbers
        for serial, thread in zip(asked[::2], asked[1::2]):  # noqa: B905  no keyword costs less
            self._pace.begin()
            found = strings_of(self._proc, thread, limit, with_place=bool(with_place))
            if held_up := self._pace.held_up():
                self._tell(pack(SLOW, serial, int(held_up * 1e6)))
            self._tell(
                pack(
                    STRINGS_ARE,
                    serial,
                    found.command_line_errno,
                    found.place_errno,
                    found.root.mount,
                    found.root.inode,
                    len(found.tmpdir),
                    len(found.tail),
                    text=found.tmpdir + found.command_line + found.tail,
                )
            )


def _answers_of(
    places: Places, tell: Callable[[bytes], None]
) -> dict[str, Callable[[list[int], bytes], None]]:
    pace = Pace()

    def timed(
        answer: Callable[[list[int], bytes], None],
    ) -> Callable[[list[int], bytes], None]:
        def answered(numbers: list[int], text: bytes) -> None:
            pace.begin()
            try:
                answer(numbers, text)
            finally:
                if held_up := pace.held_up():
                    tell(pack(SLOW, numbers[0], int(held_up * 1e6)))

        return answered

    return {
        LIST: timed(places.look_over),
        HOLD: timed(places.hold),
        DROP: lambda numbers, _: places.drop(numbers),
        LEAVE: lambda numbers, _: places.leave(numbers),
    }


def _serve(descriptor: int, answers: dict[str, Callable[[list[int], bytes], None]]) -> None:
    # taken in the same place each time: one that is made for each packet leaves holes behind
    room = bytearray(MAX_PACKET)
    _tell(descriptor, pack(READY))
    while packet := _next(descriptor, room):
        word, numbers, text = unpack(packet)
        try:
            answers[word](numbers, text)
        except Exception as error:  # noqa: BLE001  one question must not end the answers to others
            _tell(descriptor, pack(DEFECT, numbers[0] if numbers else 0, text=repr(error).encode()))
    os._exit(0)


def _next(descriptor: int, room: bytearray) -> bytes:
    try:
        size = os.readv(descriptor, [room])
    except OSError:
        return b""
    return bytes(room[:size])


def _tell(descriptor: int, packet: bytes) -> None:
    try:
        os.write(descriptor, packet)
    except OSError:  # the agent is gone
        os._exit(0)

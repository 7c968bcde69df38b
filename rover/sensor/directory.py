"""The places where agents keep their files, with the processes that would use each."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from rover.model import Place, Process, ProcessKey
    from rover.sensor.file import MetadataFile

_BELOW_TMPDIR: Final = "apache_skywalking/process"
SHOWN: Final = 200
"""Characters of a TMPDIR that are shown."""
DOORS: Final = 4
"""Processes through whose root one directory is tried; some may just have ended."""
_OF_JAVA: Final = re.compile(rb"(?:^|\0)-Djava\.io\.tmpdir=([^\0]{1,4095})(?=\0|$)")
"""What servlet containers and databases start Java with."""
ROOM: Final = 2_048
"""Bytes of memory that such a directory takes; one that takes more is none."""
OWNERS: Final = 64
"""Processes among which the one is looked for that stands for a directory."""


@dataclass(slots=True, eq=False)
class Seat:
    """One process in one directory."""

    process: Process
    directory: Directory
    file: MetadataFile | None = None
    """None while there is none: most processes have no agent, and pay for none."""
    waits: bool = False
    """Whether the first look at it is still to come."""
    asked: bool = False
    """Whether a look at it is under way."""
    suspected: bool = False
    """The file was bad at the last look; it may have been half written."""
    named: bool = False
    """The log has it."""


@dataclass(slots=True, eq=False)
class Directory:
    """One place where agents keep their files."""

    number: int
    """What the child knows it by."""
    place: Place
    members: dict[int, tuple[Seat, ...]] = field(default_factory=dict)
    """By the pid that a process itself sees, which those of several pid namespaces may share."""
    holders: dict[ProcessKey, Seat] = field(default_factory=dict)
    """Those of them that have a file."""
    present: Collection[int] | None = ()
    """Pids whose names were there at the last look; None: too many to list."""
    listed: bool = False
    asked: int = 0
    """The serial of a look that has no answer yet, 0 where there is none."""
    obstacle: str = ""
    """Why it is not looked at now."""
    avoided_until: float = 0.0
    avoided_times: int = 0
    waiting: list[Seat] = field(default_factory=list)
    """Those whose first look this is."""
    _turn: int = 0

    def doors(self) -> list[int]:
        """Give processes through which it may be reached."""
        seats = chain.from_iterable(self.members.values())
        return [seat.process.pid for seat in islice(seats, DOORS)]

    def owner(self) -> Process:
        """Give the process that stands for it: root's where one of the first that share it is."""
        seats = islice(chain.from_iterable(self.members.values()), OWNERS)
        return min((seat.process for seat in seats), key=lambda process: process.uid)

    def named(self) -> tuple[int, int, int, int]:
        """Give the numbers that a request about it begins with."""
        place = self.place
        return self.number, place.mount_namespace, place.root_mount, place.root_inode

    def shown(self) -> str:
        """Give its TMPDIR for people, valid UTF-8."""
        return os.fsencode(self.place.tmpdir[:SHOWN]).decode("utf-8", "replace")

    def path(self) -> bytes:
        """Give its path below the root."""
        return os.fsencode(f"{self.place.tmpdir}/{_BELOW_TMPDIR}")

    def may_have(self, seat: Seat) -> bool:
        """Tell whether there may be a file of a process, by the last look."""
        return self.present is None or seat.process.namespace_pid in self.present

    def candidates(self, most: int) -> list[Seat]:
        """Give processes that may have a file, and none is known of; of many the next ones."""
        pids: Collection[int] = self.members.keys()
        if self.present is not None:
            pids = self.members.keys() & self.present
        seats = chain.from_iterable(self.members[pid] for pid in pids)
        found = list(islice(seats, self._turn, self._turn + most))
        self._turn = self._turn + most if len(found) == most else 0
        return [seat for seat in found if seat.process.key not in self.holders]

    def add(self, seat: Seat, own: tuple[Seat, ...]) -> None:
        """Take in a process.

        Args:
            seat: it.
            own: all that the process has; mostly this one, and it has no namesake: then one object
                serves as both.
        """
        known = self.members.get(seat.process.namespace_pid, ())
        alone = own == (seat,) and not known
        self.members[seat.process.namespace_pid] = own if alone else (*known, seat)

    def remove(self, seat: Seat) -> None:
        """Let a process go."""
        pid = seat.process.namespace_pid
        namesakes = tuple(one for one in self.members[pid] if one is not seat)
        if namesakes:
            self.members[pid] = namesakes
        else:
            del self.members[pid]
        self.holders.pop(seat.process.key, None)
        if seat.waits and seat in self.waiting:
            self.waiting.remove(seat)


def java_tmpdir(process: Process) -> str:
    """Give the directory that a Java program was told to use for its files, the last one named."""
    named = _OF_JAVA.findall(process.arguments)
    if not named:
        return ""
    path = os.path.join(process.cwd or "/", os.fsdecode(named[-1]))  # noqa: PTH118  a text is wanted
    return (path.rstrip("/") or "/") if sys.getsizeof(path) <= ROOM else ""

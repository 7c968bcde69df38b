"""What SkyWalking agents inside processes say of themselves, kept in memory and up to date.

A directory of agents' files is shared by many processes, so it is listed once a look for all of
them: a process without an agent costs nothing but its place in the tables.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.capabilities import LOOK_INTO_ANY_PROCESS, READ_ANY_FILE, own_capabilities, remedy
from rover.sensor.file import MetadataFile, Moment
from rover.sensor.place import Place, hanging_file_system, open_place, place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rover.model import Process, ProcessKey
    from rover.sensor.metadata import Metadata

_log = logging.getLogger("rover.discovery")

_MAX_WATCHED: Final = 65_536
_MAX_KEPT: Final = 8 * 1_048_576
"""Bytes of all files whose metadata is kept, so that no user fills the agent's memory."""
_STRANGERS: Final = 256
"""Entries that a directory may have beyond one a process; of a longer one no list is made."""
_MAX_COMPLAINTS: Final = 20
"""Bad files that are named in the log; all are counted."""


class SensorFigures(NamedTuple):
    """Sizes of the tables, for metrics."""

    watched: int
    directories: int
    agents: int
    """Processes that have metadata which counts now."""
    refused: int
    """Processes, directories and files passed over since the start, for whichever reason."""


@dataclass(slots=True, eq=False)
class _Watched:
    """One process and what its agent says."""

    process: Process
    directory: _Directory
    file: MetadataFile | None = None
    """None while there is none: most processes have no agent, and pay for none."""
    suspected: bool = False
    """The file was bad at the last look; it may have been half written."""
    named: bool = False
    """The log has it."""


@dataclass(slots=True, eq=False)
class _Directory:
    """One place where agents keep their files, with all processes that would use it."""

    place: Place
    members: dict[int, tuple[_Watched, ...]] = field(default_factory=dict)
    """By the pid that a process itself sees, which those of several pid namespaces may share."""
    holders: dict[ProcessKey, _Watched] = field(default_factory=dict)
    """Those of them that had a file at the last look."""
    present: Collection[int] | None = ()
    """Pids whose names were there at the last look; None: too many to list."""
    avoided: bool = False
    """A look at it might never end."""

    def pids(self) -> Iterator[int]:
        """Give the processes through which it may be reached."""
        return (one.process.pid for one in chain.from_iterable(self.members.values()))

    def candidates(self) -> Iterator[_Watched]:
        """Give the processes that may have a file."""
        pids: Collection[int] = self.members.keys()
        if self.present is not None:
            pids = self.members.keys() & self.present
        return chain.from_iterable(self.members[pid] for pid in pids)

    def lost(self) -> list[_Watched]:
        """Give the processes that had a file before the last listing, and have none now."""
        present = self.present
        if present is None:
            return []
        holders = self.holders.values()
        return [one for one in holders if one.process.namespace_pid not in present]


class Sensor:
    """Watches for the metadata of the agents in all known processes; one thread uses it."""

    def __init__(self, stale_after: float, *, proc: str = "/proc") -> None:
        """Start with no process.

        Args:
            stale_after: Age in seconds at which a file no longer counts.
            proc: Where the host's processes are.
        """
        self._stale_after = stale_after
        self._proc = proc
        self._watched: dict[ProcessKey, _Watched] = {}
        self._directories: dict[Place, _Directory] = {}
        self._kept = 0
        self._refused = 0
        self._complaints = 0
        self._blind = False

    @property
    def figures(self) -> SensorFigures:
        """Sizes of the tables now."""
        holders = (directory.holders.values() for directory in self._directories.values())
        agents = sum(
            one.file is not None and one.file.metadata is not None
            for one in chain.from_iterable(holders)
        )
        return SensorFigures(len(self._watched), len(self._directories), agents, self._refused)

    def metadata(self, key: ProcessKey) -> Metadata | None:
        """Return what a process's agent said of it, None while there is nothing that counts."""
        watched = self._watched.get(key)
        return watched.file.metadata if watched and watched.file else None

    def watch(self, process: Process, now: float) -> None:
        """Look at a process that is new, or that became another by an exec, and keep looking.

        Its metadata is known on return, unless the file came after the last `refresh`. A process
        that cannot be looked into is counted and passed over; one that is watched already and is
        the same costs nothing.

        Args:
            process: What is known of it now.
            now: Wall-clock time, seconds.
        """
        known = self._watched.get(process.key)
        if known and known.process == process:
            return
        self.forget(process.key)
        if len(self._watched) >= _MAX_WATCHED:
            self._refused += 1
            return
        try:
            place = place_of(self._proc, process)
        except PermissionError as error:
            self._denied(process.pid, error)
            return
        except OSError:
            return  # it has ended
        directory = self._directories.get(place) or self._add(place, process.pid)
        watched = _Watched(process, directory)
        self._watched[process.key] = watched
        alone = not directory.members
        namesakes = directory.members.get(process.namespace_pid, ())
        directory.members[process.namespace_pid] = (*namesakes, watched)
        moment = Moment.at(now, self._stale_after)
        if alone:
            self._look(directory, moment)
        elif directory.present is None or process.namespace_pid in directory.present:
            self._look(directory, moment, watched)

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        watched = self._watched.pop(key, None)
        if watched is None:
            return
        self._lose(watched)
        directory = watched.directory
        pid = watched.process.namespace_pid
        namesakes = tuple(one for one in directory.members[pid] if one is not watched)
        if namesakes:
            directory.members[pid] = namesakes
        else:
            del directory.members[pid]
        if not directory.members:
            del self._directories[directory.place]

    def refresh(self, now: float) -> set[ProcessKey]:
        """Look at every directory once.

        Args:
            now: Wall-clock time, seconds.

        Returns:
            The processes whose metadata appeared, changed, went or became stale.
        """
        changed: set[ProcessKey] = set()
        moment = Moment.at(now, self._stale_after)
        for directory in self._directories.values():
            changed |= self._look(directory, moment)
        return changed

    def _look(
        self, directory: _Directory, moment: Moment, only: _Watched | None = None
    ) -> set[ProcessKey]:
        """List a directory and look at its files, or at one of them; return whose word changed."""
        if directory.avoided:
            return set()
        try:
            opened = open_place(self._proc, directory.place, directory.pids())
        except ProcessLookupError:
            return set()  # nobody is left to see it through; they will be forgotten soon
        except OSError as error:
            if isinstance(error, PermissionError):
                self._denied(next(directory.pids()), error)
            directory.present = ()
            return self._lose_all(directory.lost())
        try:
            if only:
                return {only.process.key} if self._examine(only, opened, moment) else set()
            directory.present = _pids(opened, len(directory.members) + _STRANGERS)
            changed = self._lose_all(directory.lost())
            for watched in directory.candidates():
                if self._examine(watched, opened, moment):
                    changed.add(watched.process.key)
            return changed
        finally:
            os.close(opened)

    def _examine(self, watched: _Watched, opened: int, moment: Moment) -> bool:
        """Look at one file; tell whether its word changed."""
        file = watched.file or MetadataFile(watched.process)
        before, size = file.metadata, file.size
        if file.look(opened, moment):
            self._keep(watched, file, size)
        if file.complaint or watched.suspected:
            self._complain(watched, file.complaint)
        return file.metadata is not before and file.metadata != before

    def _keep(self, watched: _Watched, file: MetadataFile, before: int) -> None:
        """Take note of a file that is new, another or gone."""
        self._kept += file.size - before
        if self._kept > _MAX_KEPT:
            self._kept -= file.size
            file.reject(f"all metadata together would be more than {_MAX_KEPT} bytes")
        if file.present:
            watched.file = file
            watched.directory.holders[watched.process.key] = watched
        else:
            watched.file = None
            watched.directory.holders.pop(watched.process.key, None)

    def _lose_all(self, lost: list[_Watched]) -> set[ProcessKey]:
        return {watched.process.key for watched in lost if self._lose(watched)}

    def _lose(self, watched: _Watched) -> bool:
        """Take note that a process has no file; tell whether it had one that counted."""
        file, watched.file = watched.file, None
        if file is None:
            return False
        self._kept -= file.size
        watched.directory.holders.pop(watched.process.key, None)
        return file.metadata is not None

    def _add(self, place: Place, pid: int) -> _Directory:
        directory = self._directories[place] = _Directory(place)
        if found := hanging_file_system(self._proc, pid, place.tmpdir):
            directory.avoided = True
            self._refused += 1
            _log.info(
                "agent_sensor.avoided tmpdir=%r pid=%d file_system=%s", place.tmpdir, pid, found
            )
        return directory

    def _complain(self, watched: _Watched, complaint: str) -> None:
        """Name a bad file once, at the second look."""
        if complaint and watched.suspected and not watched.named:
            watched.named = True
            self._refused += 1
            self._complaints += 1
            level = logging.WARNING if self._complaints <= _MAX_COMPLAINTS else logging.DEBUG
            _log.log(
                level, "agent_metadata.refused pid=%d reason=%r", watched.process.pid, complaint
            )
        watched.suspected = bool(complaint)

    def _denied(self, pid: int, error: PermissionError) -> None:
        self._refused += 1
        if not self._blind:
            self._blind = True
            _log.info(
                "agent_sensor.denied pid=%d reason=%r; a SkyWalking agent in such a process is not"
                " seen; %s",
                pid,
                error.strerror,
                remedy(own_capabilities(), LOOK_INTO_ANY_PROCESS, READ_ANY_FILE),
            )


def _pids(opened: int, limit: int) -> Collection[int] | None:
    """List the pids that a directory has entries for; None where it has more entries than that."""
    pids: set[int] = set()
    with os.scandir(opened) as entries:
        for number, entry in enumerate(entries):
            if number >= limit:
                return None
            if entry.name.isdecimal():
                pids.add(int(entry.name))
    return pids

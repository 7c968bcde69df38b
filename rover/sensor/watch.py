"""What SkyWalking agents inside processes say of themselves, kept in memory and up to date.

A directory of agents' files is shared by many processes, so it is listed once a look for all of
them: a process without an agent costs nothing but its place in the tables. The looks themselves are
the child's (`rover.foreign`); its answers come when they come.
"""

from __future__ import annotations

import errno
import itertools
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.foreign import wire
from rover.foreign.records import Look, Lost
from rover.sensor.complaints import Complaints
from rover.sensor.directory import SHOWN, Directory, Seat, java_tmpdir
from rover.sensor.file import MetadataFile, Moment

if TYPE_CHECKING:
    from rover.foreign.lane import Answer
    from rover.foreign.reads import ForeignReads
    from rover.model import Place, Process, ProcessKey
    from rover.sensor.metadata import Metadata

_DEFAULT_TMPDIR: Final = "/tmp"  # noqa: S108  only looked at
_MAX_WATCHED: Final = 65_536
_MAX_KEPT: Final = 8 * 1_048_576
"""Bytes of all files whose metadata is kept, so that no user fills the agent's memory."""
_STRANGERS: Final = 256
"""Entries that a directory may have beyond one a process; of a longer one no list is made."""
_LOOKS: Final = 128
"""Directories that are looked at each time; of more, those with agents and the next of the rest."""
_TRIED: Final = 4 * _LOOKS
"""Of which that is tried each time: whose user is left out are none, and cost something too."""
_ASKED_EACH: Final = 256
"""Files that are asked for at each answer of a directory."""
_PENDING_S: Final = 1.0
"""Seconds for which a process's first look is waited for."""
_AVOIDED_S: Final = 30.0
_LONGEST_AVOIDED_S: Final = 3_600.0
"""Seconds for which a place is left alone that held a look up, or leads where none is made."""


class SensorFigures(NamedTuple):
    """Sizes of the tables, for metrics."""

    watched: int
    directories: int
    agents: int
    """Processes that have metadata which counts now."""
    refused: int
    """Processes, directories and files passed over since the start, for whichever reason."""
    avoided: int
    """Directories left alone now, for they held a look up or lie where none is made."""
    pending: int
    """Processes whose first look has no answer yet."""


class Sensor:
    """Watches for the metadata of the agents in all known processes; one thread uses it."""

    def __init__(self, stale_after: float, reads: ForeignReads) -> None:
        """Start with no process.

        Args:
            stale_after: Age in seconds at which a file no longer counts.
            reads: Looks at the files, in a process of its own.
        """
        self._stale_after = stale_after
        self._reads = reads
        self._watched: dict[ProcessKey, tuple[Seat, ...]] = {}
        """Where the agent's file of each process may lie, the likeliest place first."""
        self._directories: dict[Place, Directory] = {}
        self._numbered: dict[int, Directory] = {}
        self._numbers = itertools.count(1)
        self._pending: dict[ProcessKey, float] = {}
        self._changed: set[ProcessKey] = set()
        self._asked: dict[int, Seat] = {}
        """Files that are looked at now, by the request's serial."""
        self._kept = 0
        self._complaints = Complaints()

    @property
    def figures(self) -> SensorFigures:
        """Sizes of the tables now."""
        now = time.monotonic()
        holders = {
            key: seat
            for directory in self._directories.values()
            for key, seat in directory.holders.items()
            if seat.file and seat.file.metadata
        }
        avoided = sum(each.avoided_until > now for each in self._directories.values())
        return SensorFigures(
            len(self._watched),
            len(self._directories),
            len(holders),
            self._complaints.refused,
            avoided,
            len(self._pending),
        )

    @property
    def next_news(self) -> float | None:
        """The time.monotonic() at which `refresh` has something to tell, None where it has not."""
        if self._changed:
            return 0.0
        return next(iter(self._pending.values()), None)

    def metadata(self, key: ProcessKey) -> Metadata | None:
        """Return what a process's agent said of it, None while there is nothing that counts."""
        for seat in self._watched.get(key, ()):
            if seat.file and seat.file.metadata:
                return seat.file.metadata
        return None

    def is_pending(self, key: ProcessKey) -> bool:
        """Tell whether a process's first look has no answer yet."""
        return key in self._pending

    def obstacle(self, key: ProcessKey) -> str:
        """Say why a process's agent is not looked for, "" where it is."""
        found = (seat.directory.obstacle for seat in self._watched.get(key, ()))
        return next(filter(None, found), "")

    def watch(self, process: Process, now: float) -> None:
        """Look at a process that is new, or that became another by an exec, and keep looking.

        Its metadata is mostly known on return; where it `is_pending`, `take` will tell of it. A
        process that cannot be looked into is counted and passed over; one that is watched already
        and is the same costs nothing.

        Args:
            process: What is known of it now.
            now: Wall-clock time, seconds.
        """
        known = self._watched.get(process.key)
        place = process.place
        if known and known[0].process == process and known[0].process.place == place:
            return
        self.forget(process.key)
        if place is None:
            return
        if not place.tmpdir:
            self._complaints.denied(process.pid, "Permission denied")
            return
        if len(self._watched) >= _MAX_WATCHED:
            self._complaints.refused += 1
            return
        # Java looks at no TMPDIR, and other runtimes at none that is not there
        tmpdirs = dict.fromkeys((java_tmpdir(process), place.tmpdir, _DEFAULT_TMPDIR))
        places = (place._replace(tmpdir=tmpdir) for tmpdir in tmpdirs if tmpdir)
        seats = tuple(Seat(process, self._directory(each)) for each in places)
        self._watched[process.key] = seats
        for seat in seats:
            seat.directory.add(seat, seats)
        waits = [serial for seat in seats if (serial := self._first_look(seat))]
        if self._is_looked_for(process.key):
            self._pending[process.key] = time.monotonic() + _PENDING_S
            for serial in waits:
                self._reads.wait(serial)
            self._changed |= self.take(now) - {process.key}

    def forget(self, key: ProcessKey) -> None:
        """Drop a process that has ended."""
        seats = self._watched.pop(key, ())
        self._pending.pop(key, None)
        self._changed.discard(key)
        for seat in seats:
            directory, process = seat.directory, seat.process
            if seat.file:
                self._reads.send(wire.DROP, directory.number, process.namespace_pid, process.uid)
            self._lose(seat)
            directory.remove(seat)
            if not directory.members:
                del self._directories[directory.place], self._numbered[directory.number]
                self._reads.send(wire.LEAVE, directory.number)

    def refresh(self, now: float) -> set[ProcessKey]:
        """Have the directories looked at, and tell what became of earlier looks.

        Args:
            now: Wall-clock time, seconds.

        Returns:
            The processes whose metadata appeared, changed, went or became stale, or is no longer
            waited for.
        """
        changed = self.take(now)
        self._have_looked_over()
        moment = Moment.at(now, self._stale_after)
        for directory in self._directories.values():
            for seat in directory.holders.values():
                if self._recount(seat, moment):
                    changed.add(seat.process.key)
        return changed

    def expired(self) -> set[ProcessKey]:
        """Give up waiting for first looks that take too long; return whose."""
        now, late = time.monotonic(), []
        for key, until in self._pending.items():
            if until > now:
                break
            late.append(key)
        for key in late:
            del self._pending[key]
        return set(late)

    def take(self, now: float) -> set[ProcessKey]:
        """Take in what the child has said; return the processes whose metadata changed."""
        changed, self._changed = self._changed, set()
        moment = Moment.at(now, self._stale_after)
        for news in self._reads.received():
            if isinstance(news, Lost):
                self._begin_anew(news)
            else:
                changed |= self._answered(news, moment)
        return changed

    def _answered(self, answer: Answer, moment: Moment) -> set[ProcessKey]:
        numbers = answer.numbers
        if answer.word == wire.DEFECT:
            return self._unanswered(answer)
        directory = self._numbered.get(numbers[1]) if len(numbers) > 1 else None
        if directory is None:
            self._asked.pop(answer.serial, None)
            return set()
        if answer.word == wire.LISTED and len(numbers) > 2:  # noqa: PLR2004 - see wire
            return self._listed(directory, numbers[2], answer.text)
        if len(numbers) < 4:  # noqa: PLR2004
            return set()
        asked = self._asked.pop(answer.serial, None)
        if asked:
            asked.asked = False
        own_pid, uid = numbers[2:4]
        changed = set()
        for seat in directory.members.get(own_pid, ()):
            if seat.process.uid == uid and self._told(seat, answer, moment):
                changed.add(seat.process.key)
        return changed

    def _unanswered(self, answer: Answer) -> set[ProcessKey]:
        """Leave what the child had no answer to alone for a while; return who waited for it."""
        seat = self._asked.pop(answer.serial, None)
        if seat:
            seat.asked = False
            return {seat.process.key} if self._settle(seat) else set()
        for directory in self._directories.values():
            if directory.asked == answer.serial:
                directory.asked, directory.present = 0, None  # what is there is not known
                self._avoid(directory, answer.text[:SHOWN].decode("utf-8", "replace"))
                waiting, directory.waiting = directory.waiting, []
                return {each.process.key for each in waiting if self._settle(each)}
        return set()

    def _told(self, seat: Seat, answer: Answer, moment: Moment) -> bool:
        """Take in what was said of one file; tell whether the process is to be judged again."""
        before = seat.file.metadata if seat.file else None
        if answer.word == wire.NO_FILE and not answer.text:
            self._lose(seat)
        else:
            file = seat.file or MetadataFile(seat.process)
            size = file.size
            match answer.word:
                case wire.FILE:
                    file.take(answer.text, answer.numbers[4] / 1e9, moment)
                case wire.TOUCHED:
                    file.touch(answer.numbers[4] / 1e9, moment)
                case _:
                    file.reject(answer.text.decode("utf-8", "replace"))
            seat.file = file
            seat.directory.holders[seat.process.key] = seat
            self._keep(file, size)
        after = seat.file.metadata if seat.file else None
        return self._settle(seat) or (after is not before and after != before)

    def _listed(self, directory: Directory, outcome: int, text: bytes) -> set[ProcessKey]:
        """Take in what a directory has; return the processes that waited for it in vain."""
        directory.asked, directory.listed, directory.obstacle = 0, True, ""
        match outcome:
            case wire.SAME:
                pass
            case wire.TOO_MANY:
                directory.present = None
            case 0:
                directory.present = {int(name) for name in text.split()}
            case _:
                directory.present = ()
                self._missed(directory, outcome, text.decode("utf-8", "replace"))
        waiting, directory.waiting = directory.waiting, []
        settled = set()
        for seat in waiting:
            if not (directory.may_have(seat) and self._ask(seat)) and self._settle(seat):
                settled.add(seat.process.key)
        for seat in directory.candidates(_ASKED_EACH):
            self._ask(seat)
        return settled

    def _missed(self, directory: Directory, outcome: int, reason: str) -> None:
        """Take note why a directory was not looked at."""
        if outcome == wire.FOREIGN:
            self._avoid(directory, reason)
        elif outcome in {errno.EACCES, errno.EPERM}:
            self._complaints.denied(next(iter(directory.doors()), 0), reason)

    def _avoid(self, directory: Directory, reason: str) -> None:
        """Leave a directory alone for a while, and longer each time that it held a look up."""
        if not directory.avoided_until:
            self._complaints.avoided(directory, reason)
        pause = _AVOIDED_S * 2.0 ** min(directory.avoided_times, 20)
        directory.avoided_until = time.monotonic() + min(pause, _LONGEST_AVOIDED_S)
        directory.obstacle = f"{directory.shown()} is left alone: {reason}"

    def _begin_anew(self, news: Lost) -> None:
        """Tell a new child what the one before it knew."""
        culprit = self._numbered.get(news.directory)
        if culprit:
            self._avoid(culprit, "a look at it did not end")
            culprit.avoided_times += 1
        asked, self._asked = self._asked, {}
        for seat in asked.values():
            seat.asked = False
        for directory in self._directories.values():
            directory.asked = 0
            if directory.waiting and directory is not culprit:
                directory.asked = self._have_listed(directory)
            if not directory.asked:
                waiting, directory.waiting = directory.waiting, []
                self._settle_all(waiting)
            for seat in directory.holders.values():
                self._ask(seat)
        self._settle_all([seat for seat in asked.values() if not (seat.asked or self._ask(seat))])

    def _settle_all(self, seats: list[Seat]) -> None:
        """Give up waiting for first looks that will not be made."""
        for seat in seats:
            if self._settle(seat):
                self._changed.add(seat.process.key)

    def _first_look(self, seat: Seat) -> int:
        """Begin to look for a new process's file; return the request to wait for, 0 for none."""
        directory = seat.directory
        if directory.avoided_until > time.monotonic():
            return 0
        if not directory.listed:
            directory.asked = directory.asked or self._have_listed(directory)
            seat.waits = bool(directory.asked)
            if seat.waits:
                directory.waiting.append(seat)
            return directory.asked
        serial = self._ask(seat) if directory.may_have(seat) else 0
        seat.waits = bool(serial)
        return serial

    def _ask(self, seat: Seat) -> int:
        """Have one file looked at, and held."""
        process, directory = seat.process, seat.directory
        if seat.asked or directory.avoided_until > time.monotonic():
            return 0
        serial = self._reads.send(
            wire.HOLD,
            *directory.named(),
            process.namespace_pid,
            process.uid,
            *directory.doors(),
            text=directory.path(),
            look=self._look(directory, process),
        )
        if serial:
            seat.asked = True
            self._asked[serial] = seat
        return serial

    def _have_listed(self, directory: Directory) -> int:
        look = self._look(directory, directory.owner())
        serial = self._reads.send(
            wire.LIST,
            *directory.named(),
            len(directory.members) + _STRANGERS,
            *directory.doors(),
            text=directory.path(),
            look=look,
        )
        if not serial:
            reason = self._reads.why_late(look.blame)
            directory.obstacle = f"{directory.shown()} is left alone: {reason}"
        return serial

    def _look(self, directory: Directory, process: Process) -> Look:
        place = directory.place
        blame = self._reads.blame(process.pid, process.uid, place.mount_namespace)
        return Look(directory.number, blame)

    def _have_looked_over(self) -> None:
        """Have as many directories looked at as one look may cost, in turns."""
        now, looks, tried = time.monotonic(), 0, 0
        for place in list(self._directories):
            directory = self._directories[place]
            if looks >= _LOOKS or tried >= _TRIED:
                break
            if directory.asked or directory.avoided_until > now:
                continue
            directory.asked = self._have_listed(directory)
            looks += bool(directory.asked)
            tried += 1
            # to the end of the line
            self._directories[place] = self._directories.pop(place)

    def _directory(self, place: Place) -> Directory:
        directory = self._directories.get(place)
        if directory is None:
            directory = self._directories[place] = Directory(next(self._numbers), place)
            self._numbered[directory.number] = directory
        return directory

    def _settle(self, seat: Seat) -> bool:
        """Take note that a first look is over; tell whether its process waited for no other."""
        seat.waits = False
        key = seat.process.key
        return not self._is_looked_for(key) and bool(self._pending.pop(key, None))

    def _is_looked_for(self, key: ProcessKey) -> bool:
        """Tell whether some place has not been looked at for a process yet."""
        return any(seat.waits for seat in self._watched.get(key, ()))

    def _recount(self, seat: Seat, moment: Moment) -> bool:
        """Look what counts now, though nothing was said of the file."""
        file = seat.file
        if file is None:
            return False
        before, size = file.metadata, file.size
        file.recount(moment)
        self._keep(file, size)
        self._complaints.bad_file(seat, file.complaint)
        return file.metadata is not before and file.metadata != before

    def _keep(self, file: MetadataFile, before: int) -> None:
        """Take note of how much is kept of a file."""
        self._kept += file.size - before
        if self._kept > _MAX_KEPT:
            self._kept -= file.size
            file.reject(f"all metadata together would be more than {_MAX_KEPT} bytes")

    def _lose(self, seat: Seat) -> None:
        """Take note that a process has no file."""
        file, seat.file = seat.file, None
        if file:
            self._kept -= file.size
        seat.directory.holders.pop(seat.process.key, None)

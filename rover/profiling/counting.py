"""What was counted of the processes followed, under names."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rover.binaries.reader import Reader, ReadError
from rover.profiling import layout
from rover.profiling.frames import called, without_tracing
from rover.profiling.layout import TargetValue, Walk
from rover.profiling.records import Target
from rover.profiling.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rover.profiling.draining import Drain, Met
    from rover.profiling.records import StackCount

log = logging.getLogger("rover.profiling")

UNKEPT: Final = "[not kept: too many stacks at once]"

BITS: Final = {Target.ON_CPU: layout.ON_CPU, Target.OFF_CPU: layout.OFF_CPU}
_BY_BIT: Final = {bit: target for target, bit in BITS.items()}


@dataclass(slots=True)
class Followed:
    """A process that is sampled, or was until it ended."""

    ticks: int
    """Its start, as /proc shows it here."""
    wanted: frozenset[Target]
    value: TargetValue = field(default_factory=TargetValue)
    ended: bool = False
    vain: int = 0
    """Looks in a row for code that was not known, which found none."""
    look_at: float = 0.0
    """time.monotonic() before which there is no further such look."""
    slowed: bool = False
    unkept: dict[Target, tuple[int, int]] = field(default_factory=dict)
    """Counted without its stack, and how much of it was given."""
    walks: Counter[Walk] = field(default_factory=Counter)


class Counting:
    """Names stacks and adds up; one thread at a time."""

    def __init__(self, reader: Reader) -> None:
        """Know nothing yet.

        Args:
            reader: knows the names.
        """
        self._reader = reader
        self._totals = Totals()

    def counts(self) -> Sequence[StackCount]:
        """Give all that was counted."""
        return self._totals.counts()

    def forget(self, pid: int, target: Target) -> None:
        """Forget what was counted of a process."""
        self._totals.forget(pid, target)

    def add(self, drain: Drain, part: list[Met], followed: Mapping[int, Followed]) -> None:
        """Name stacks and add to their totals.

        Args:
            drain: where they come from; it remembers the totals of those that stay in the kernel.
            part: the stacks.
            followed: processes by pid; what is of others is dropped.
        """
        names = self._names([met for met in part if drain.total_of(met.key) is None])
        for met in part:
            process = followed.get(met.key.tgid)
            if process is None:
                continue
            process.walks[met.walk] += met.count
            target = _BY_BIT.get(met.key.target)
            if target not in process.wanted:
                continue
            total = drain.total_of(met.key)
            if total is None:
                place = met.key.tgid, met.key.generation
                kernel = tuple([names[0, 0][address] for address in called(met.kernel)])
                user = tuple([names[place][address] for address in called(met.user)])
                if target is Target.OFF_CPU:
                    kernel = without_tracing(kernel)
                total = self._totals.of(met.key.tgid, target, kernel, user)
                drain.keep_total(met.key, total)
            total.count += met.count
            total.ns += met.ns

    def add_unkept(self, pid: int, followed: Followed, value: TargetValue) -> None:
        """Add what the kernel had no room for, and tell where one of several is taken."""
        if value.every > 1 and not followed.slowed:
            followed.slowed = True
            log.warning(
                "process %d switches so often that one of %d switches is taken, and weighs as much",
                pid,
                value.every,
            )
        for target, now in (
            (Target.ON_CPU, (value.unkept_on, 0)),
            (Target.OFF_CPU, (value.unkept_off, value.unkept_ns)),
        ):
            before = followed.unkept.get(target, (0, 0))
            if now > before and target in followed.wanted:
                if before == (0, 0):
                    log.warning("more stacks of process %d than the kernel keeps", pid)
                total = self._totals.of(pid, target, (), (UNKEPT,))
                total.count += max(now[0] - before[0], 0)
                total.ns += max(now[1] - before[1], 0)
                followed.unkept[target] = now

    def _names(self, new: list[Met]) -> dict[tuple[int, int], dict[int, str]]:
        """Return names by process and look, and those of the kernel under (0, 0)."""
        wanted: dict[tuple[int, int], set[int]] = {(0, 0): set()}
        for met in new:
            wanted[0, 0].update(called(met.kernel))
            place = met.key.tgid, met.key.generation
            wanted.setdefault(place, set()).update(called(met.user))
        names = {}
        for (pid, generation), addresses in wanted.items():
            asked = sorted(addresses)
            try:
                told = self._reader.names(pid, generation, asked) if asked else []
            except ReadError as error:
                log.warning("stacks of process %d have no names: %s", pid, error)
                told = ["[unknown]"] * len(asked)
            names[pid, generation] = dict(zip(asked, told, strict=True))
        return names

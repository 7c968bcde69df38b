"""Which processes the sampler follows: by key on one side, by pid on the other.

A pid may come to belong to another process; what could not be sampled is tried again, ever more
rarely, for loading programs in vain is what costs most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.errors import RoverError
from rover.guard import Defect
from rover.profiling.merge import Amount, Source, Stack, summed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rover.guard import Guard
    from rover.model import ProcessKey
    from rover.profiling.merge import Counts
    from rover.profiling.records import Sampler, Target

Wanted = dict["ProcessKey", "frozenset[Target]"]

RETRY_FIRST: Final = 5.0
"""Seconds until a process that could not be sampled is tried again; doubles up to RETRY_LAST."""
RETRY_LAST: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    tries: int
    retry_at: float
    """time.monotonic()"""


class Following:
    """The sampler, with the processes that it follows; of one thread.

    Args:
        make_sampler: Gives what samples by pid; called once there is something to sample, so that
            an agent without tasks need not hold it. May raise RoverError.
        guard: Calls it.
    """

    def __init__(self, make_sampler: Callable[[], Sampler], guard: Guard) -> None:
        self._make_sampler = make_sampler
        self._sampler: Sampler | None = None
        self._guard = guard
        self._keys: dict[int, ProcessKey] = {}
        self._targets: dict[int, frozenset[Target]] = {}
        self._failures: dict[ProcessKey, _Failure] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def sources(self) -> dict[Source, ProcessKey]:
        """Give what is sampled now, and of whom."""
        return {
            Source(pid, target): self._keys[pid]
            for pid, targets in self._targets.items()
            for target in targets
        }

    def differs(self, wanted: Wanted, now: float) -> bool:
        """Tell whether `follow` would change anything."""
        keys, targets = self._possible(wanted, now)
        return (keys, targets) != (self._keys, self._targets)

    def follow(self, wanted: Wanted, now: float) -> dict[ProcessKey, str]:
        """Sample these, and no others; return why not, of those that cannot be.

        Args:
            wanted: targets by process.
            now: time.monotonic().
        """
        self._failures = {key: each for key, each in self._failures.items() if key in wanted}
        keys, targets = self._possible(wanted, now)
        if (keys, targets) != (self._keys, self._targets):
            others = [pid for pid, key in keys.items() if self._keys.get(pid, key) != key]
            if others:  # the pid of another process: what was counted of that one must go first
                kept = {pid: each for pid, each in targets.items() if pid not in others}
                self._sample(kept, keys)
            failed = self._sample(targets, keys)
            for pid, why in failed.items():
                key = keys.pop(pid, None)
                if key is not None:
                    del targets[pid]
                    self._note(key, why, now)
            self._keys, self._targets = keys, targets
        return {key: each.why for key, each in self._failures.items()}

    def counts(self) -> dict[Source, Counts] | None:
        """Give what has been counted so far; None where the sampler does not say."""
        if self._sampler is None or not self._keys:
            return {}
        counted = self._guard.one("sampler counts", "", self._sampler.counts)
        if isinstance(counted, Defect):
            return None
        return summed(
            (
                Source(each.pid, each.target),
                Stack(each.kernel, each.user),
                Amount(each.count, each.ns),
            )
            for each in counted
        )

    def close(self) -> None:
        """Detach everything."""
        self._keys, self._targets = {}, {}
        if self._sampler is not None:
            self._guard.one("sampler close", "", self._sampler.close)

    def _possible(
        self, wanted: Wanted, now: float
    ) -> tuple[dict[int, ProcessKey], dict[int, frozenset[Target]]]:
        """Leave out what failed lately; of two processes with one pid the later one lives."""
        keys: dict[int, ProcessKey] = {}
        for key in sorted(wanted):
            failure = self._failures.get(key)
            if failure is None or failure.retry_at <= now:
                keys[key.pid] = key
        return keys, {pid: wanted[key] for pid, key in keys.items()}

    def _sample(
        self, targets: Mapping[int, frozenset[Target]], keys: Mapping[int, ProcessKey]
    ) -> dict[int, str]:
        started = {pid: keys[pid].start_ticks for pid in targets}
        failed = self._guard.one("sampler follow", "", self._follow, targets, started)
        return dict.fromkeys(targets, failed.what) if isinstance(failed, Defect) else failed

    def _follow(
        self, targets: Mapping[int, frozenset[Target]], started: Mapping[int, int]
    ) -> dict[int, str]:
        try:
            if self._sampler is None:
                self._sampler = self._make_sampler()
            return self._sampler.follow(targets, started)
        except RoverError as error:  # nothing can be sampled on this host, or not now
            return dict.fromkeys(targets, str(error))

    def _note(self, key: ProcessKey, why: str, now: float) -> None:
        known = self._failures.get(key)
        tries = known.tries + 1 if known else 0
        pause = min(RETRY_FIRST * 2 ** min(tries, 10), RETRY_LAST)
        self._failures[key] = _Failure(why, tries, now + pause)

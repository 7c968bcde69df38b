"""What is sampled of a process: the border between what samples and what sends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Target(StrEnum):
    """What of a process is profiled, by the protocol's names."""

    ON_CPU = "ON_CPU"
    """Where it spends CPU time: one dump of a running thread's stack a period."""
    OFF_CPU = "OFF_CPU"
    """Where its threads are switched out, and for how long."""


@dataclass(frozen=True, slots=True)
class StackCount:
    """How often one stack of a process was met since the process is followed."""

    pid: int
    """Of the process (tgid) in the initial pid namespace, whichever its thread."""
    target: Target
    kernel: tuple[str, ...]
    """Names of the kernel's frames, leaf first; empty where there are none."""
    user: tuple[str, ...]
    """Names of the process's own frames, leaf first; empty where there are none."""
    count: int
    """ON_CPU: dumps. OFF_CPU: switches; a wait under way counts as one. Weighted where the kernel
    took one of several."""
    ns: int
    """OFF_CPU: nanoseconds switched out, of a wait under way until now. ON_CPU: 0."""


class Sampler(Protocol):
    """Samples stacks of processes; used by one thread at a time.

    At rest nothing is loaded: programs come with the first `follow` that has something in it, and
    have gone when `follow({})` or `close` returns. After `follow({})` it can be used again.
    """

    def follow(
        self,
        wanted: Mapping[int, frozenset[Target]],
        started: Mapping[int, int] = MappingProxyType({}),
    ) -> dict[int, str]:
        """Sample these processes for these targets from now on, and no others.

        What is wanted already goes on undisturbed, counts and all; what is no longer wanted is
        detached and its counts are forgotten, so ask for `counts` before. A process that has ended
        may stay wanted: what was counted of it stays to be asked for, under names from files that
        were held open. A later process of the same pid is not sampled in its stead until the pid
        has been wanted no longer and then again.

        Args:
            wanted: targets by pid in the initial pid namespace; none of the sets is empty.
            started: the host's ticks at which they have started, by pid, as far as that is known: a
                later process of that pid is not sampled in their stead.

        Returns:
            Why not, in words for a log line, for each of them that cannot be sampled (gone, no
            room, programs refused). The others are sampled. Those named here may be asked for
            again later.
        """

    def counts(self) -> Sequence[StackCount]:
        """Give all that was counted of the processes followed.

        Cumulative: for as long as a pid is followed for a target, neither `count` nor `ns` of a
        stack ever falls, and no stack that was once given is left out later or under another name
        (a stack is named when it is first given, and keeps its names through exec and newer perf
        maps). Several items may have equal names; their sums are meant. The receiver makes the
        differences, so a reading that could not be sent loses nothing.
        """

    def close(self) -> None:
        """Detach and unload all; may be called twice, and from another thread at the end."""

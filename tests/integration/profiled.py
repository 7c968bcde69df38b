"""Sampling until there is enough, and what is in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rover.profiling.records import StackCount, Target
from rover.profiling.sampling import KernelSampler

ON = frozenset({Target.ON_CPU})
OFF = frozenset({Target.OFF_CPU})


def sampled(
    sampler: KernelSampler,
    pid: int,
    enough: Callable[[Sequence[StackCount]], bool],
    within: float = 30,
) -> Sequence[StackCount]:
    """Read until there is enough; fail where there never is."""
    until = time.monotonic() + within
    while True:
        stacks = [stack for stack in sampler.counts() if stack.pid == pid]
        if enough(stacks):
            return stacks
        if time.monotonic() > until:
            raise AssertionError(f"not within {within:g} s: {stacks[:20]}")
        time.sleep(0.1)


def counted(stacks: Sequence[StackCount], *names: str) -> int:
    """Return how many were met whose user frames have all these names, in this order."""

    def has(user: tuple[str, ...]) -> bool:
        left = iter(user)
        return all(any(name in frame for frame in left) for name in names)

    return sum(stack.count for stack in stacks if has(stack.user))


def total(stacks: Sequence[StackCount]) -> int:
    return sum(stack.count for stack in stacks)

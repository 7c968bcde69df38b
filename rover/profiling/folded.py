"""Collapsed stacks: one line a stack, root first, as Brendan Gregg's flamegraph.pl reads them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rover.profiling.records import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.profiling.records import StackCount

KERNEL_SUFFIX: Final = "_[k]"
"""Marks frames of the kernel, as perf's stackcollapse scripts do."""
UNITS: Final = {Target.ON_CPU: "dumps", Target.OFF_CPU: "microseconds"}


def root_first(stack: StackCount) -> tuple[str, ...]:
    """Return a stack's frames from its root to its leaf, the kernel's marked."""
    kernel = tuple(name + KERNEL_SUFFIX for name in reversed(stack.kernel))
    return (*reversed(stack.user), *kernel) or ("[no stack]",)


def weight(stack: StackCount) -> int:
    """Return what a stack weighs: ON_CPU dumps, OFF_CPU microseconds."""
    return stack.count if stack.target is Target.ON_CPU else stack.ns // 1_000


def folded(stacks: Iterable[StackCount]) -> str:
    """Return collapsed stacks, the heaviest first."""
    sums: Counter[tuple[str, ...]] = Counter()
    for stack in stacks:
        sums[root_first(stack)] += weight(stack)
    return "".join(
        f"{';'.join(name.replace(';', ':') for name in frames)} {value}\n"
        for frames, value in sums.most_common()
        if value
    )

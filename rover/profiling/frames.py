"""What of a stack's frames is looked up, and what of them is told."""

from __future__ import annotations


def called(addresses: tuple[int, ...]) -> list[int]:
    """Return addresses inside of the instructions that made the calls, not after them."""
    return [max(address - 1, 0) if at else address for at, address in enumerate(addresses)]


def without_tracing(kernel: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out what the sampling itself put above the scheduler."""
    for at, name in enumerate(kernel[:8]):
        if name in {"__schedule", "schedule", "preempt_schedule_common"}:
            return kernel[at:]
    return kernel

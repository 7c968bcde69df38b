"""Run the loader's child for the programs that profile, and hold what it loaded."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rover.probes import pid_namespace
from rover.probes.loading import Loading
from rover.probes.programs import source

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("rover.probes")

TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class ProfilePrograms:
    """Programs that are loaded and attached to nothing."""

    maps: dict[str, int]
    on_cpu: int
    off_cpu: int
    not_unwound: str
    """Why stacks are walked by frame pointers alone; empty where they are unwound."""

    def close(self) -> None:
        """Free programs and maps."""
        for descriptor in (self.on_cpu, self.off_cpu, *self.maps.values()):
            os.close(descriptor)


def load(
    sizes: dict[str, int],
    *,
    given_up: Callable[[], bool] = lambda: False,
    **request: Any,  # noqa: ANN401 - JSON
) -> ProfilePrograms:
    """Compile and load in a child; 0.6 s on an idle host.

    Args:
        sizes: of the maps, by the names that bpf/profile.c has for them.
        given_up: asked several times a second whether they are no longer wanted.
        request: what the loader's request may hold beside, for tests.

    Raises:
        ProbeError: eBPF does not work here; the message says what was tried and what to do.
    """
    whole = {
        "source": str(source("profile.c")),
        "sizes": sizes,
        "pid_namespace": pid_namespace.own(),
        **request,
    }
    answer, descriptors = Loading("profile_loader", whole).answer(TIMEOUT_S, given_up)
    maps = dict(zip(answer["maps"], descriptors, strict=False))
    on_cpu, off_cpu = descriptors[len(maps) :]
    log.info(
        "profiling programs loaded headers=%s unwinding=%s seconds=%.2f",
        answer["headers"],
        "no" if answer["not_unwound"] else "yes",
        answer["seconds"],
    )
    return ProfilePrograms(maps, on_cpu, off_cpu, answer["not_unwound"])

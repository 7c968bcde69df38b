"""All looks in the order in which one failure explains another."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover import __version__
from rover.doctor import backend, cluster, host, kernel, profiling, rights
from rover.doctor.checks import Check, explained, fail, ok, warn
from rover.errors import RoverError
from rover.profiling.gaps import own_gaps
from rover.profiling.perf_events import clock_refused
from rover.status.client import NotAskedError, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rover.config.settings import Settings

AGENT: Final = "running agent"


def examine(settings: Settings, agent_id: str, *, load: bool = True) -> list[Check]:
    """Look at all there is; some seconds, most of them for a real load of the programs.

    Args:
        settings: the agent's.
        agent_id: of the agent, or a word in its place.
        load: whether to load and attach the programs.
    """
    offers, own = kernel.gather(), rights.gather()
    state_dir = Path(settings.core.state_dir)

    def looks() -> Iterator[Check]:
        yield ok("rover", f"{__version__}, Python {platform.python_version()}")
        yield from rights.checks(own, raw=not offers.btf)
        yield from kernel.checks(offers)
        yield kernel.load() if load else kernel.SKIPPED_LOAD
        yield from _safe(profiling.PROFILING, lambda: _profiling(settings))
        yield from _safe("host", lambda: host.checks(state_dir))
        yield from _safe("backend", lambda: backend.checks(settings, agent_id))
        yield from _safe("cluster", lambda: cluster.checks(settings))
        yield _agent(settings.core.state_dir)

    return explained(looks())


def _profiling(settings: Settings) -> Iterator[Check]:
    return profiling.checks(
        active=settings.profiling.active, clock=clock_refused(), gaps=own_gaps()
    )


def _safe(subject: str, looks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Go on where one look meets what nobody foresaw: a sick host is what the doctor is for."""
    try:
        yield from looks()
    except Exception as error:  # noqa: BLE001 - told as a line of its own
        yield fail(subject, f"the doctor itself fails here: {error!r}", "please report it")


def _agent(state_dir: str) -> Check:
    try:
        told = ask(state_dir, "/status").json()
    except NotAskedError as error:
        return ok(AGENT, str(error).partition(";")[0])
    except RoverError as error:
        return warn(AGENT, str(error), "look into its log; `rover status` asks it again")
    state = told.get("state", "of another version")
    if state == "well":
        return ok(AGENT, f"well, pid {told['agent']['pid']}")
    return warn(
        AGENT, f"{state}: {'; '.join(told.get('because', ()))}", "`rover status` has all of it"
    )

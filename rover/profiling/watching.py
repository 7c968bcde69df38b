"""Watching the processes of services with a policy, and deciding when one is to be profiled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from rover.profiling.policies import Monitor
from rover.profiling.windows import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from rover.model import Entity, ProcessKey
    from rover.profiling.policies import Policy, Rule
    from rover.profiling.records import Target
    from rover.profiling.usage import Usage
    from rover.profiling.windows import Cause

MOST_WATCHED: Final = 1_000
"""Processes whose figures are read each time, 15 us each."""


class Watched(NamedTuple):
    """An entity of a service that has a policy."""

    process_id: str
    """The backend's."""
    entity: Entity
    processes: tuple[ProcessKey, ...]


class Trigger(NamedTuple):
    """An entity that is to be profiled, and why."""

    watched: Watched
    target: Target
    causes: tuple[Cause, ...]


@dataclass(slots=True)
class _State:
    watched: Watched
    windows: dict[Monitor, Window] = field(default_factory=dict)
    spent: dict[ProcessKey, float] = field(default_factory=dict)
    """CPU seconds of each process when it was looked at last."""
    looked_at: float = 0.0


class Watch:
    """The policies, and the figures of the processes they speak of; of one thread.

    Args:
        usage: Reads what a process uses, None where it has ended.
        load: Reads the host's load.
        silence: Seconds from one trigger of an entity for a target to the next at least.
    """

    def __init__(
        self,
        usage: Callable[[ProcessKey], Usage | None],
        load: Callable[[], float],
        silence: float,
    ) -> None:
        self._usage = usage
        self._load = load
        self._silence = silence
        self._policies: dict[str, Policy] = {}
        self._states: dict[str, _State] = {}
        self._silent_until: dict[tuple[str, Target], float] = {}

    def __bool__(self) -> bool:
        return any(policy.rules for policy in self._policies.values())

    def known(self, services: Iterable[str]) -> dict[str, str]:
        """Give the version of each service's policy that is known, "" for none; forget others."""
        listed = list(services)
        self._policies = {
            name: policy for name, policy in self._policies.items() if name in set(listed)
        }
        return {
            name: policy.uuid if (policy := self._policies.get(name)) else "" for name in listed
        }

    def learn(self, policies: Iterable[Policy]) -> None:
        """Take over policies that changed."""
        for policy in policies:
            self._policies[policy.service] = policy

    def services(self) -> set[str]:
        """Name the services that have a rule."""
        return {name for name, policy in self._policies.items() if policy.rules}

    def watch(self, entities: Sequence[Watched]) -> int:
        """Watch these from now on, up to the bound; return how many entities are left out."""
        states: dict[str, _State] = {}
        room = MOST_WATCHED
        for watched in entities:
            room -= len(watched.processes)
            if room < 0:
                break
            known = self._states.get(watched.process_id) or _State(watched)
            known.watched = watched
            states[watched.process_id] = known
        self._states = states
        return len(entities) - len(states)

    def fetch(self, now: float) -> None:
        """Read all figures once.

        Args:
            now: time.monotonic().
        """
        load: float | None = None
        for state in self._states.values():
            periods = _periods(self._rules(state))
            if Monitor.SYSTEM_LOAD in periods and load is None:
                load = self._load()
            figures = self._figures(state, now, periods)
            if load is not None:
                figures[Monitor.SYSTEM_LOAD] = load
            for monitor, period in periods.items():
                if monitor in figures:
                    window = state.windows.setdefault(monitor, Window())
                    window.add(now, figures[monitor], period)

    def due(self, now: float) -> list[Trigger]:
        """Give what is to be profiled now: rules hold, and it is not too soon after the last time.

        Args:
            now: time.monotonic().
        """
        self._silent_until = {key: end for key, end in self._silent_until.items() if end > now}
        triggers = []
        for process_id, state in self._states.items():
            causes: dict[Target, list[Cause]] = {}
            for rule in self._rules(state):
                window = state.windows.get(rule.monitor)
                cause = window.cause(rule, now) if window else None
                if cause and (process_id, rule.target) not in self._silent_until:
                    causes.setdefault(rule.target, []).append(cause)
            triggers += [
                Trigger(state.watched, target, tuple(why)) for target, why in causes.items()
            ]
        return triggers

    def silence(self, trigger: Trigger, now: float, seconds: float | None = None) -> None:
        """Let a trigger not come again for a while: the usual time, or so many seconds."""
        until = now + (self._silence if seconds is None else seconds)
        self._silent_until[trigger.watched.process_id, trigger.target] = until

    def _rules(self, state: _State) -> Collection[Rule]:
        policy = self._policies.get(state.watched.entity.service)
        return policy.rules if policy else ()

    def _figures(
        self, state: _State, now: float, periods: Mapping[Monitor, int]
    ) -> dict[Monitor, float]:
        """Add up what an entity's processes use; CPU since the last look, if there was one."""
        if not {Monitor.PROCESS_CPU, Monitor.PROCESS_THREAD_COUNT} & periods.keys():
            return {}
        found = {key: used for key in state.watched.processes if (used := self._usage(key))}
        figures: dict[Monitor, float] = {}
        if found:
            figures[Monitor.PROCESS_THREAD_COUNT] = sum(used.threads for used in found.values())
        passed = now - state.looked_at
        both = state.spent.keys() & found.keys()
        if both and passed > 0:
            spent = sum(found[key].cpu_seconds - state.spent[key] for key in both)
            figures[Monitor.PROCESS_CPU] = 100 * spent / passed
        state.spent = {key: used.cpu_seconds for key, used in found.items()}
        state.looked_at = now
        return figures


def _periods(rules: Iterable[Rule]) -> dict[Monitor, int]:
    """Give the longest period that is asked about, of each figure."""
    periods: dict[Monitor, int] = {}
    for rule in rules:
        periods[rule.monitor] = max(rule.period, periods.get(rule.monitor, 0))
    return periods

"""The control interface's part for profiling: tasks and what came for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from rover.backend.profiling import LONGEST
from rover.backend.questions import Json, flag_of, nothing_else, number_of, text_of
from rover.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.backend.profiling import Profiling
    from rover.backend.state import State

END_OF_TIME: Final = 1e11
"""A time.time() beyond which no task begins."""


class Backend(Protocol):
    """What is controlled."""

    @property
    def state(self) -> State:
        """What it holds."""

    @property
    def profiling(self) -> Profiling:
        """Its tasks and profiles."""


class ProfilingRoutes:
    """What can be asked; each method takes the JSON object of the request's body."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.routes: dict[tuple[str, str], Callable[[Json], Json]] = {
            ("GET", "/profiling/tasks"): self._tasks,
            ("POST", "/profiling/tasks"): self._create,
            ("POST", "/profiling/profile"): self._profile,
            ("POST", "/profiling/policies"): self._policy,
        }

    def _tasks(self, _: Json) -> Json:
        return {"tasks": [task.as_dict() for task in self._backend.profiling.tasks]}

    def _create(self, body: Json) -> Json:
        target = text_of(body, "target") or "ON_CPU"
        seconds = int(number_of(body, "seconds", default=60, most=LONGEST))
        service, process_id = text_of(body, "service"), text_of(body, "process_id")
        labels = body.pop("labels", [])
        if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
            raise ConfigError("labels is a list of texts")
        start = number_of(body, "start", default=0, most=END_OF_TIME)
        overlapping = flag_of(body, "overlapping", default=False)
        process = self._process(body) if not (service or process_id) else process_id
        nothing_else(body)
        task = self._backend.profiling.create_task(
            target,  # type: ignore[arg-type]  # refused where it is another
            seconds,
            service=service,
            labels=labels,
            process_id=process,
            start=start or None,
            overlapping=overlapping,
        )
        return {"task": task.as_dict()}

    def _profile(self, body: Json) -> Json:
        task_id = text_of(body, "task_id")
        nothing_else(body)
        return self._backend.profiling.profile(task_id).as_dict()

    def _policy(self, body: Json) -> Json:
        service, rules = text_of(body, "service"), body.pop("rules", {})
        nothing_else(body)
        if not isinstance(rules, dict):
            raise ConfigError("rules is an object, by target and by what is watched")
        return {"uuid": self._backend.profiling.policies.set(service, rules)}

    def _process(self, body: Json) -> str:
        """Find the one process with this name or pid."""
        name, pid = text_of(body, "process"), int(number_of(body, "pid", default=0, most=1 << 31))
        if not name and not pid:
            raise ConfigError("name a service, a process_id, a process or a pid")
        found = self._backend.state.snapshot().find(process=name or None, pid=pid or None)
        if len(found) != 1:
            what = f"process {name!r}" if name else f"pid {pid}"
            raise ConfigError(f"{len(found) or 'no'} processes here are {what}; name one by its id")
        return found[0].id

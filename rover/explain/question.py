"""Which processes somebody asks about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.errors import RoverError
from rover.k8s.cgroup import containers_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rover.discovery.census import Census
    from rover.naming.judge import Judge

CONTAINER: Final = re.compile(r"(?:[a-z0-9-]{1,32}://)?([0-9a-f]{6,64})")
"""An id, or at least six digits from its beginning; the runtime may stand before it."""
POD: Final = re.compile(r"([a-z0-9.-]{1,253})/([a-z0-9.-]{1,253})")
PID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Question:
    """One of them is set."""

    pid: int = 0
    container: str = ""
    """The beginning of its id."""
    pod: tuple[str, str] | None = None
    """Namespace and name."""

    def __str__(self) -> str:
        if self.pod:
            return f"pod {'/'.join(self.pod)}"
        return f"container {self.container}" if self.container else f"pid {self.pid}"


def ask_of(pid: str = "", container: str = "", pod: str = "") -> Question:
    """Read a question.

    Raises:
        RoverError: it is none, or more than one.
    """
    if sum(map(bool, (pid, container, pod))) != 1:
        raise RoverError("ask for a pid, a container or a pod, and for one of them")
    if pid:
        if not PID.fullmatch(pid) or int(pid) == 0:
            raise RoverError(f"{pid[:40]!r} is no pid")
        return Question(pid=int(pid))
    if container:
        match = CONTAINER.fullmatch(container)
        if not match:
            raise RoverError(
                f"{container[:80]!r} is no container id: give six of its hex digits or more"
            )
        return Question(container=match[1])
    match = POD.fullmatch(pod)
    if not match:
        raise RoverError(f"{pod[:80]!r} is no pod: write NAMESPACE/NAME")
    return Question(pod=(match[1], match[2]))


def pids_of(question: Question, census: Census, judge: Judge) -> list[int]:
    """Find the live processes that are asked about, in the order of their pids.

    Raises:
        RoverError: there is no such pod, as far as the agent knows.
    """
    if question.pid:
        return [question.pid] if census.why(question.pid) else []
    containers: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()
    if question.pod:
        known = judge.pod(*question.pod)
        if known is None:
            raise RoverError(_no_pod(question.pod, judge.figures()))
        containers, uids = known.containers, known.uids
    return sorted(_in_container(census, question.container, containers, uids))


def _in_container(
    census: Census, begins: str, containers: frozenset[str], uids: frozenset[str]
) -> Iterator[int]:
    for row in census.table:
        for ref in containers_of(row.process.cgroup):
            asked = bool(begins) and ref.id.startswith(begins)
            if asked or ref.id in containers or (ref.pod_uid and ref.pod_uid in uids):
                yield row.process.pid
                break


def _no_pod(pod: tuple[str, str], figures: Mapping[str, Mapping[str, int]]) -> str:
    name = "/".join(pod)
    if "pod_join" not in figures:
        return f"no pod is known, {name} neither: Kubernetes is not active here"
    return (
        f"no pod {name} is known on this node: ask the agent of the node that "
        f"`kubectl get pod -n {pod[0]} {pod[1]} -o wide` names"
    )

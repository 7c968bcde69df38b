"""What would have a process reported, and which line of the configuration says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.model import Reason
from rover.naming.trail import ANALYZERS, HOST_PROCESSES, IGNORE, MODE, NAMESPACES, REGEX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rover.naming.trail import Trail
    from rover.table import Why


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do."""

    text: str
    key: str = ""
    """Of the configuration, which it concerns; empty where nothing in it does."""


_ALWAYS: Final = {
    Reason.PENDING: Remedy(
        "wait a second or two; where it stays so, the detail names what holds up the look"
    ),
    Reason.KERNEL_THREAD: Remedy("kernel threads are never reported: they have no program"),
    Reason.SELF: Remedy("the agent never reports itself and its own children"),
    Reason.NOT_IN_POD: Remedy("set it to true to have it reported", HOST_PROCESSES),
    Reason.DEFECT: Remedy(
        "a defect of the agent: its log has the traceback, please report it; it is tried again "
        "every 30 s"
    ),
}


def remedy(why: Why, trail: Trail) -> Remedy | None:
    """Say what to change, by the first reason for which a process is not reported; None: it is.

    Args:
        why: what became of the process.
        trail: the way that it took.
    """
    if why.reason is Reason.REPORTED:
        return None
    decide = _BY_REASON.get(why.reason)
    return decide(why, trail) if decide else _ALWAYS[why.reason]


def _of_a_rule(why: Why, _trail: Trail) -> Remedy:
    return Remedy(f"take {why.detail!r} out of it, or make it narrower", IGNORE)


def _of_a_namespace(why: Why, _trail: Trail) -> Remedy:
    return Remedy(f"add {why.detail} to it, or leave it empty for all", NAMESPACES)


def _of_a_follower(why: Why, trail: Trail) -> Remedy:
    leaders = ", ".join(str(leader) for _, leader in why.follows)
    key = next((step.key for step in trail.steps if step.entity), "")
    text = f"nothing is wrong: pid {leaders} has the same names and is older, so it is reported"
    if key.startswith(REGEX):
        key += ".process_name"
        text += "; to tell them apart, add {{.Process.Pid}} or another of their facts here"
    elif key.startswith(ANALYZERS):
        text += "; to tell them apart, add {{.Container.Name}} or another of their facts here"
        key += ".process_name"
    elif key == MODE:
        text += "; to tell them apart, add a regex finder that matches them"
        key = REGEX
    return Remedy(text, key)


def _without_finder(_why: Why, trail: Trail) -> Remedy:
    if trail.found is None:
        return Remedy("AUTO names every process; or add a regex finder that matches it", MODE)
    nearest = min(
        (step for step in trail.steps if step.key.startswith(ANALYZERS)),
        key=lambda step: (sum(test.value != "true" for test in step.tests), len(step.tests)),
        default=None,
    )
    if nearest is None:
        return Remedy("no analyzer is active: add one that applies", ANALYZERS)
    number, failed = next(
        (number, test) for number, test in enumerate(nearest.tests, start=1) if test.value != "true"
    )
    text = f"{nearest.rule} comes nearest: its filter {number}, {failed.source}, is {failed.value}"
    if failed.source == ".Pod.HasServiceName":
        text += "; a Service whose selector matches the pod's labels makes it true"
    return Remedy(f"{text}; or add an analyzer that applies", f"{nearest.key}.filters")


def _of_a_template(_why: Why, trail: Trail) -> Remedy:
    for step in trail.steps:
        failed = step.outcome.partition("fails: ")[2]
        if failed:
            name = failed.partition(":")[0].partition(",")[0].strip()
            return Remedy(f"mend it: {failed}", f"{step.key}.{_field(name)}")
    return Remedy("mend the template that the detail names")


def _field(name: str) -> str:
    return "filters" if name.startswith("filter ") else name


def _without_pod(why: Why, _trail: Trail) -> Remedy:
    if "sandbox" in why.detail:
        return Remedy("a pod's sandbox runs nothing of its own, and is never reported")
    if "no pod has it" in why.detail:
        return Remedy(
            "a container of the node's own, not of a pod: set it to true to have it reported",
            HOST_PROCESSES,
        )
    if "not been listed yet" in why.detail:
        return Remedy("`rover status` tells why the pods are not listed, `rover doctor` what for")
    if "left after" in why.detail:
        return Remedy(
            "the API server still does not show it: compare the node's name that `rover status` "
            "tells with the pod's (kubectl get pod -o wide); a mirror pod or another kubelet's pod "
            "is shown by no API"
        )
    return Remedy("wait: a kubelet tells of a container within a second or two of its start")


_BY_REASON: Final[Mapping[Reason, Callable[[Why, Trail], Remedy]]] = {
    Reason.IGNORED: _of_a_rule,
    Reason.NAMESPACE: _of_a_namespace,
    Reason.FOLLOWS: _of_a_follower,
    Reason.NO_FINDER: _without_finder,
    Reason.TEMPLATE: _of_a_template,
    Reason.POD_UNKNOWN: _without_pod,
}

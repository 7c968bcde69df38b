"""Processes' stories as text: what the agent tells of them, in the order of their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rover.cli.cells import filled
from rover.cli.terminal import emphasised
from rover.cli.text import duration
from rover.k8s.cgroup import SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rover.cli.terminal import Screen

    Lines = Iterator[tuple[str, str]]
    """What a line is about, and its text; two blanks more begin a line that belongs to another."""

LABEL: Final = 12
COMMAND_SHOWN: Final = 1_000
"""Characters of a command line."""


def pages(told: Mapping[str, Any], shown: Screen) -> list[str]:
    """Write an answer of `Explainer.answer` as lines for a screen."""
    lines: list[str] = []
    for story in told["processes"]:
        if lines:
            lines.append("")
        for label, text in _story(story, told["now"]):
            lines += _wrapped(label, text, shown)
    if told["more"]:
        lines += ["", f"and {told['more']} more processes"]
    return lines


def _story(story: Mapping[str, Any], now: float) -> Lines:
    started = duration(now - story["started"])
    yield (
        "process",
        f"{story['pid']}  {story['name']}, child of {story['ppid']}, uid {story['uid']}",
    )
    yield "", f"started {started} ago"
    if story["namespace_pid"] != story["pid"]:
        yield "", f"pid {story['namespace_pid']} in its own namespace"
    yield "executable", story["exe"] or "cannot be read"
    yield "command", story["command_line"][:COMMAND_SHOWN] or "none"
    if story["late"]:
        yield "", f"not read in time: {story['late']}"
    yield "directory", story["cwd"] or "cannot be read"
    yield from _labelled("cgroup", story["cgroup"])
    yield from _container(story["container"])
    yield from _rules(story)
    yield from _entities(story, now)
    yield from _end(story)


def _container(container: Mapping[str, Any] | None) -> Lines:
    if container is None:
        yield "container", "none"
        return
    runtime = f" ({container['runtime']})" if container["runtime"] else ""
    yield (
        "container",
        f"{container['id'][:SHOWN]}{runtime}"
        + (f" {container['name']}" if "name" in container else ""),
    )
    if "pod" in container:
        service = container["service"]
        owners = ", ".join(container["owners"])
        yield (
            "pod",
            f"{container['namespace']}/{container['pod']}"
            + (f", {container['pod_ip']}" if container["pod_ip"] else ""),
        )
        yield "", f"service {service}" if service else "no service selects it"
        if owners:
            yield "", f"owned by {owners}"
    elif container["pod_uid"]:
        yield "pod", f"of the UID {container['pod_uid']}, which is not known"


def _rules(story: Mapping[str, Any]) -> Lines:
    label = "rules"
    for step in story["steps"]:
        mark = "*" if step["decides"] else "-"
        place = f"  [{_place(step)}]" if step["key"] and step["decides"] else ""
        yield label, f"{mark} {step['rule']}: {step['outcome']}{place}"
        label = ""
        for test in step["tests"]:
            facts = ", ".join(f"{name} is {value!r}" for name, value in test["facts"].items())
            yield (
                "  ",
                f"{test['what']} {test['source']}: {test['value']}"
                + (f"; {facts}" if facts else ""),
            )
    if story["trace_fault"]:
        yield label, f"the agent itself fails here: {story['trace_fault']}"


def _place(of: Mapping[str, Any]) -> str:
    where = of["where"]
    return f"{of['key']}, {where}" if where != "default" else f"{of['key']}, by default"


def _entities(story: Mapping[str, Any], now: float) -> Lines:
    for entity in story["entities"]:
        names = (entity[name] for name in ("layer", "service", "instance", "process"))
        yield "entity", " / ".join(names)
        if entity["labels"]:
            yield "", f"labels {', '.join(entity['labels'])}"
        leads = entity["leader"] == story["pid"]
        yield "", "this process leads it" if leads else f"pid {entity['leader']} leads it"
        yield from _standing(entity, now)


def _standing(entity: Mapping[str, Any], now: float) -> Lines:
    if "backend" not in entity:
        yield "backend", "not asked"
        return
    yield (
        "backend",
        f"it {entity['backend']}" + (f": {entity['detail']}" if entity["detail"] else ""),
    )
    if entity["answered_at"]:
        answer = f"the id {entity['process_id']}" if entity["process_id"] else "no id"
        yield "", f"last report {duration(now - entity['answered_at'])} ago, answered by {answer}"
    else:
        yield "", "no report of it has been answered yet"
    beat = entity["beaten_at"]
    yield "", f"last beat {duration(now - beat)} ago" if beat else "no beat yet"


def _end(story: Mapping[str, Any]) -> Lines:
    detail = f": {story['detail']}" if story["detail"] else ""
    yield "verdict", f"{story['reason']}{detail}"
    remedy = story["remedy"]
    if remedy is not None:
        yield "to do", remedy["text"]
        if remedy["key"]:
            yield "", f"the line: {remedy['key']} ({_set(remedy['where'])})"


def _set(where: str) -> str:
    return "not set, so its default counts" if where == "default" else f"set by {where}"


def _labelled(label: str, texts: list[str]) -> Lines:
    for text in texts:
        yield label, text
        label = ""


def _wrapped(label: str, text: str, shown: Screen) -> list[str]:
    inner = label.isspace()
    begin = " " * (LABEL + 4) if inner else f"{label:{LABEL}}"
    hanging = LABEL + (6 if inner else 2 if text[:2] in {"* ", "- "} else 0)
    lines = filled(begin, text, shown.width, hanging)
    if label == "verdict":
        reason = text.partition(":")[0]
        colour = "green" if reason == "reported" else "yellow"
        lines = emphasised(lines, reason, colour, shown)
    return lines

"""``rover status``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from rover.cli.cells import filled
from rover.cli.options import configured
from rover.cli.output import as_json, formed, watched
from rover.cli.terminal import Screen, emphasised, screen, show
from rover.cli.text import amount, duration
from rover.cli.watching import watch
from rover.errors import RoverError
from rover.status.client import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rover.config.load import Loaded

EXIT_CODES: Final = {"well": 0, "degraded": 3, "ill": 4}
COLOURS: Final = {"well": "green", "degraded": "yellow", "ill": "red"}
LABEL: Final = 12
"""Columns for what a line is about."""


@click.command()
@configured
@formed("text", "json")
@watched
def status(loaded: Loaded, *, output: str, again: bool, every: float) -> None:
    """Show on one screen how the running agent fares.

    It is asked over its socket in the state directory, which root and the agent's own user may.

    Ends with 0 where all is well, 3 where it works and something is missing (eBPF, the backend, a
    watch), 4 where a part of it does nothing, 1 where no agent answers.
    """
    state_dir = loaded.settings.core.state_dir
    if again:
        _watch(state_dir, output, every)
        return
    told = _asked(state_dir)
    if output == "json":
        show([as_json(told)])
    else:
        show(page(told, screen()))
    sys.exit(EXIT_CODES.get(told["state"], 1))


def _watch(state_dir: str, output: str, every: float) -> None:
    before: Mapping[str, Any] | None = None

    def look(shown: Screen) -> list[str]:
        nonlocal before
        former, before = before, None
        told = before = _asked(state_dir)
        return [as_json(told, line=True)] if output == "json" else page(told, shown, former)

    watch(look, every, output=output)


def _asked(state_dir: str) -> Any:  # noqa: ANN401 - JSON
    told = ask(state_dir, "/status").json()
    if "state" not in told:
        raise RoverError(
            f"the agent that runs there is of another version: {told.get('error', told)}"
        )
    return told


def page(
    told: Mapping[str, Any], shown: Screen, before: Mapping[str, Any] | None = None
) -> list[str]:
    """Write an overview as lines for a screen.

    Args:
        told: what the agent answered.
        shown: where they are to fit.
        before: its answer of a while ago, to tell what became different since.
    """
    state, agent = told["state"], told["agent"]
    since = f"{datetime.fromtimestamp(agent['started'], UTC):%Y-%m-%d %H:%M:%S} UTC"
    first = f"{state}, up {duration(agent['uptime'])}, since {since}"
    lines = filled(f"{'state':{LABEL}}", first, shown.width, LABEL)
    lines = emphasised(lines, state, COLOURS.get(state, "red"), shown)
    for label, text in _lines(told, before):
        lines += filled(f"{label:{LABEL}}", text, shown.width, LABEL)
    return lines


def _lines(told: Mapping[str, Any], before: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    agent, now = told["agent"], told["now"]
    for why in told["because"]:
        yield "", f"- {why}"
    yield "agent", f"{agent['id']}, pid {agent['pid']}, version {agent['version']}"
    yield "eBPF", told["ebpf"]["detail"] if told["ebpf"]["way"] != "none" else "none"
    yield "lost", _losses(told["discovery"])
    yield from _session(told["session"], now, told["because"])
    yield from _watches(told["kubernetes"])
    yield from _processes(told["discovery"])
    if told["foreign_reads"] != "works":
        yield "reads", told["foreign_reads"]
    yield "cost", _cost(told, before)


def _losses(discovery: Mapping[str, Any]) -> str:
    if not discovery:
        return "not known: the discovery thread gives no answer"
    lost = [f"{name} {count}" for name, count in discovery["lost"].items() if count]
    repairs = [f"{count} {name}" for name, count in discovery["repairs"].items() if count]
    if not lost and not repairs:
        return "nothing"
    return f"{', '.join(lost) or 'no event'}; put right by comparing: {', '.join(repairs) or '0'}"


def _session(
    session: Mapping[str, Any], now: float, because: Sequence[str]
) -> Iterator[tuple[str, str]]:
    since = f" for {duration(now - session['since'])}" if session["since"] else ""
    said = any(session["reason"] in why for why in because)
    reason = "" if said else f"; {session['reason']}"
    yield "backend", f"{session['backend']}: {session['state']}{since}{reason}"
    beat = session["last_beat_at"]
    entities = f"{session['entities']} entities"
    if session["waiting"]:
        entities += f", {session['waiting']} of them waiting to be reported"
    if session["set_aside"]:
        entities += f", {session['set_aside']} of them set aside"
    yield "", f"{entities}; last beat {f'{duration(now - beat)} ago' if beat else 'none yet'}"
    if session["last_error"]:
        ago = duration(now - session["last_error_at"])
        yield "", f"last error {ago} ago: {session['last_error']}"


def _watches(kubernetes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not kubernetes["active"]:
        yield "Kubernetes", "not active"
        return
    watches = [
        f"{each['resource']} {'listed' if each['listed'] else 'not listed yet'}"
        + (f" ({each['fault']})" if each["fault"] else "")
        for each in kubernetes["watches"]
    ]
    yield "Kubernetes", f"node {kubernetes['node']}: {', '.join(watches)}"


def _processes(discovery: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not discovery:
        return
    total, threads = discovery["processes"], discovery["kernel_threads"]
    yield "processes", f"{total}, and {threads} kernel threads"
    reasons = sorted(discovery["reasons"].items(), key=lambda each: -each[1])
    width = max((len(str(count)) for _, count in reasons), default=0)
    for reason, count in reasons:
        yield "", f"{count:{width}} {reason}"
    if discovery["late"]:
        yield "", f"{discovery['late']} could not be read in time, and are looked at again"


def _cost(told: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    cost, span, since = told["cost"], told["agent"]["uptime"], "since its start"
    seconds = cost["cpu_seconds"]
    if before is not None and before["agent"]["pid"] == told["agent"]["pid"]:
        seconds -= before["cost"]["cpu_seconds"]
        span, since = told["now"] - before["now"], "since the last look"
    share = 100 * seconds / span if span > 0 else 0.0
    return (
        f"{amount(cost['memory'])} of memory, {max(share, 0.0):.2g} % of a core {since}, "
        f"{cost['processes']} processes, {cost['threads']} threads, {cost['files']} files"
    )

"""``rover profile PID``."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rover.binaries.reader import Reader
from rover.cli.logs import write_logs
from rover.cli.options import load_settings
from rover.cli.signals import until_signalled
from rover.discovery.procfs import ProcReader
from rover.errors import ProbeError, RoverError
from rover.model import Process
from rover.printable import printable
from rover.profiling.flamegraph import svg
from rover.profiling.folded import folded
from rover.profiling.layout import Walk
from rover.profiling.pprof import pprof
from rover.profiling.records import Target
from rover.profiling.sampling import PERIOD_NS, KernelSampler
from rover.stopping import StopRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rover.config.patterns import Pattern
    from rover.profiling.records import StackCount

SUFFIXES: Final = {"svg": "svg", "folded": "folded", "pprof": "pb.gz"}
STEP_S: Final = 1.0
"""Between two lines of progress, each of which takes what was counted so far."""
MIN_PERIOD_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What was sampled of one process."""

    stacks: Sequence[StackCount]
    began_ns: int
    """Unix time."""
    seconds: float
    whole: float
    """Share of stacks that reach the bottom."""


@click.command()
@click.argument("pid", type=click.IntRange(1))
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 86_400),
    default=10.0,
    show_default=True,
    help="For how long; Ctrl-C ends earlier, with what there is.",
)
@click.option("--off-cpu", is_flag=True, help="Where its threads wait, instead of where they run.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(list(SUFFIXES)),
    default="svg",
    show_default=True,
    help="A flame graph, collapsed stacks, or pprof's format.",
)
@click.option(
    "--file",
    "place",
    metavar="PATH",
    help="Where to write it, - for standard output.  [default: profile-PID.svg, .folded, .pb.gz]",
)
@click.option(
    "--period",
    type=click.FloatRange(MIN_PERIOD_MS, 1_000),
    default=PERIOD_NS / 1e6,
    show_default=True,
    help="Milliseconds between two dumps on a CPU.",
)
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Configuration file.")
@click.option(
    "--ignored", is_flag=True, help="Profile it even if process_discovery.ignore names it."
)
@click.option("--log-level", metavar="LEVEL", default="WARN", hidden=True)
def profile(
    pid: int,
    *,
    seconds: float,
    off_cpu: bool,
    output: str,
    place: str | None,
    period: float,
    config: Path | None,
    ignored: bool,
    log_level: str,
) -> None:
    """Sample the stacks of a process, and write a flame graph of its own.

    Needs no backend and no configuration, but root or the capabilities of the agent. What the
    agent's configuration, if there is one, ignores is profiled with --ignored alone.
    """
    write_logs(log_level, tracebacks=False)
    target = Target.OFF_CPU if off_cpu else Target.ON_CPU
    path = place or f"profile-{pid}.{SUFFIXES[output]}"
    name = _name(pid)
    if not ignored:
        _refuse_ignored(pid, load_settings(config, (), {}).settings.process_discovery.ignore)
    period_ns = int(period * 1e6)
    stop = StopRequest()
    with until_signalled(stop):
        found = sample(pid, target, seconds, period_ns, stop)
    title = f"{name} ({pid}), {'off' if off_cpu else 'on'} CPU, {found.seconds:.1f} s"
    if output == "svg":
        content = svg(found.stacks, title, target).encode()
    elif output == "folded":
        content = folded(found.stacks).encode()
    else:
        content = pprof(
            found.stacks,
            target,
            period_ns=period_ns,
            began_ns=found.began_ns,
            lasted_ns=int(found.seconds * 1e9),
        )
    write(path, content)
    click.echo(f"{title}: {_said(found.stacks, target, found.whole)}", err=True)
    if not found.stacks:
        click.echo(
            "it did not run" if target is Target.ON_CPU else "none of its threads was switched out",
            err=True,
        )
    if path != "-":
        click.echo(path)


def sample(pid: int, target: Target, seconds: float, period_ns: int, stop: StopRequest) -> Profile:
    """Sample one process for some time, telling how far it is where a terminal listens.

    Raises:
        ProbeError: the kernel does not allow it, or the process cannot be sampled.
    """
    # by a reader that knows no hurry: who ends early wants names as well
    sampler = KernelSampler(period_ns, reader=Reader(), given_up=stop.is_set)
    try:
        _progress("loading the programs")
        if refused := sampler.follow({pid: frozenset({target})}):
            raise ProbeError(f"process {pid} cannot be profiled: {refused[pid]}")
        began, began_ns = time.monotonic(), time.time_ns()
        passed, stacks = 0.0, sampler.counts()
        while (left := began + seconds - time.monotonic()) > 0 and not stop.is_set():
            stop.wait(min(left, STEP_S))
            passed = time.monotonic() - began
            stacks = sampler.counts()
            _progress(
                f"{min(passed, seconds):.0f} of {seconds:g} s, "
                f"{_said(stacks, target, _whole(sampler, pid))}"
            )
            if sampler.ended(pid):
                _progress("")
                click.echo(f"process {pid} has ended", err=True)
                break
        return Profile(stacks, began_ns, passed, _whole(sampler, pid))
    finally:
        _progress("")
        sampler.close()


def write(path: str, content: bytes) -> None:
    """Write what was asked for.

    Raises:
        RoverError: the file cannot be written.
    """
    if path == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        # made anew and for its owner: names of functions are not everybody's
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise RoverError(
            f"cannot write {path}: {error.strerror}; --file names another place"
        ) from error


def _name(pid: int) -> str:
    """Return a process's name.

    Raises:
        RoverError: there is none of this pid, or it is that of a thread.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError as error:
        raise RoverError(f"no process has pid {pid}") from error
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    if (leader := fields.get("Tgid", str(pid))) != str(pid):
        raise RoverError(f"{pid} is a thread of process {leader}: profile that one")
    return printable(fields.get("Name", "?").strip())


def _refuse_ignored(pid: int, patterns: Sequence[Pattern]) -> None:
    """Refuse what the configuration keeps from being reported, as the agent does.

    Raises:
        RoverError: one of the patterns names the process.
    """
    process = ProcReader().read(pid) if patterns else None
    if not isinstance(process, Process):
        return
    for pattern in patterns:
        if pattern.search(process.command_line):
            raise RoverError(
                f"process {pid} is ignored, by {pattern.pattern!r} of process_discovery.ignore; "
                "--ignored profiles it all the same"
            )


def _whole(sampler: KernelSampler, pid: int) -> float:
    walks = sampler.walks(pid)
    return walks[Walk.WHOLE] / total if (total := walks.total()) else 1.0


def _said(stacks: Sequence[StackCount], target: Target, whole: float) -> str:
    count = sum(stack.count for stack in stacks)
    if target is Target.ON_CPU:
        return f"{count:,} dumps, {100 * whole:.1f} % of stacks whole"
    waited = sum(stack.ns for stack in stacks) / 1e9
    return f"{count:,} waits of {waited:,.1f} s, {100 * whole:.1f} % of stacks whole"


def _progress(text: str) -> None:
    """Write over the line of progress; nothing where nobody looks."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)

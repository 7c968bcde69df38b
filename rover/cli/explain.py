"""``rover explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from rover.cli.options import configured
from rover.cli.output import as_json, formed
from rover.cli.stories import pages
from rover.cli.terminal import complain, screen, show
from rover.cli.unknown_pid import hint
from rover.errors import RoverError
from rover.explain.question import ask_of
from rover.status.client import NotAskedError, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.load import Loaded
    from rover.explain.question import Question


@click.command()
@configured
@click.argument("pid", required=False)
@click.option("--container", metavar="ID", help="All processes of a container, by its id.")
@click.option("--pod", metavar="NAMESPACE/NAME", help="All processes of a pod.")
@formed("text", "json")
def explain(
    loaded: Loaded, *, pid: str | None, container: str | None, pod: str | None, output: str
) -> None:
    """Tell the whole way of a process: from /proc over its names to the server's answer.

    Where it is not reported, the first reason is told, and the line to change. The running agent is
    asked; where none runs, one scan tells what an agent with this configuration would do.
    """
    try:
        question = ask_of(pid or "", container or "", pod or "")
    except RoverError as error:
        raise click.UsageError(str(error)) from None
    try:
        told = _asked(loaded, question)
    except NotAskedError as error:
        complain(f"{error}; scanning instead, by this configuration")
        told = _scanned(loaded, question)
    if "error" in told:
        raise RoverError(f"{told['error']}{hint(question.pid) if question.pid else ''}")
    if output == "json":
        show([as_json(told)])
    else:
        show(pages(told, screen()))


def _asked(loaded: Loaded, question: Question) -> Mapping[str, Any]:
    """Ask the running agent.

    Raises:
        NotAskedError: there is none, or none for this user.
    """
    names = {
        "pid": question.pid or "",
        "container": question.container,
        "pod": "/".join(question.pod or ()),
    }
    target = urlencode({name: value for name, value in names.items() if value}, safe="/")
    told: Mapping[str, Any] = ask(loaded.settings.core.state_dir, f"/explain?{target}").json()
    return told


def _scanned(loaded: Loaded, question: Question) -> Mapping[str, Any]:
    from rover.cli.logs import write_logs  # noqa: PLC0415 - mostly an agent is there to be asked
    from rover.cli.scan import scan  # noqa: PLC0415
    from rover.explain.story import Explainer  # noqa: PLC0415

    write_logs("DEBUG" if loaded.settings.logger.level == "DEBUG" else "WARN", tracebacks=False)
    return scan(
        loaded.settings,
        lambda census, judge: Explainer(judge, lambda _: None, loaded.origins).answer(
            question, census
        ),
    )

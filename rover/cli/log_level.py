"""``rover log-level``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import click

from rover.cli.options import configured, tell
from rover.cli.terminal import show
from rover.config.scalars import format_duration, parse_duration
from rover.errors import RoverError
from rover.log_level import LEVELS, LONGEST
from rover.status.client import ask

if TYPE_CHECKING:
    from rover.config.load import Loaded

CONFIGURED: Final = "configured"
PATH: Final = "/log-level"


def _span(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Read a span of time as configurations have it, of those for which the level may change."""
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 0 < seconds <= LONGEST:
        raise click.BadParameter(f"say more than 0 and at most {format_duration(LONGEST)}")
    return seconds


@click.command("log-level")
@configured
@click.argument(
    "level", required=False, type=click.Choice([*LEVELS, CONFIGURED], case_sensitive=False)
)
@click.option(
    "--for",
    "seconds",
    metavar="DURATION",
    callback=_span,
    default="10m",
    show_default=True,
    help="How long, as 5m or 1h; then the configured level is back.",
)
def log_level(loaded: Loaded, *, level: str | None, seconds: float) -> None:
    """Show how much the running agent logs, or have it log LEVEL for a while.

    It asks the agent by its socket in the state directory, as root or as the agent's own user. With
    "configured" the level of the configuration is in force again at once.
    """
    tell(loaded)
    state_dir = loaded.settings.core.state_dir
    if level is None:
        told = ask(state_dir, PATH)
    elif level == CONFIGURED:
        told = ask(state_dir, PATH, "POST")
    else:
        wanted = urlencode({"level": level.upper(), "seconds": seconds})
        told = ask(state_dir, f"{PATH}?{wanted}", "POST")
    now = told.json()
    if told.status is not HTTPStatus.OK:
        raise RoverError(f"the agent does not change its level: {now.get('error')}")
    left = now["seconds_left"]
    further = "as configured" if left is None else f"for {_rounded(left)}, then {now['configured']}"
    show([f"{now['level']} {further}"])


def _rounded(seconds: float) -> str:
    return format_duration(round(seconds))

"""``rover id``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rover.cli.options import configured, tell
from rover.cli.terminal import show
from rover.identity import read_agent_id
from rover.this_machine import machine

if TYPE_CHECKING:
    from rover.config.load import Loaded


@click.command()
@configured
def id(loaded: Loaded) -> None:  # noqa: A001 - the command's name
    """Print this host's agent id, the one it has or would get."""
    tell(loaded)
    show([read_agent_id(loaded.settings.core.state_dir, machine(loaded.settings))])

"""``rover version``."""

from __future__ import annotations

import click

from rover import __version__
from rover.cli.terminal import show


@click.command()
def version() -> None:
    """Print the version."""
    show([f"rover {__version__}"])

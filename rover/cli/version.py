"""``rover version``."""

from __future__ import annotations

import click

from rover import __version__


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"rover {__version__}")

"""Options that several commands share, and how they become settings."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rover.cli.terminal import complain
from rover.config.load import find_file, load
from rover.config.origin import file_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.config.load import Loaded

SHORTCUTS: Final = {
    "backend_addr": "core.backend.addr",
    "state_dir": "core.state_dir",
    "log_level": "logger.level",
    "require_ebpf": "process_discovery.require_ebpf",
    "kubeconfig": "process_discovery.kubernetes.kubeconfig",
}
"""Options with a name of their own, and the key each sets."""


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that settings come from; it is called with ``loaded``."""

    @click.option("-c", "--config", type=click.Path(path_type=Path), help="Configuration file.")
    @click.option(
        "--set",
        "assignments",
        metavar="KEY=VALUE",
        multiple=True,
        help="Set any key, as core.cluster_name=east; may be repeated.",
    )
    @click.option("--backend-addr", metavar="HOST:PORT", help="Sets core.backend.addr.")
    @click.option("--state-dir", metavar="DIR", help="Sets core.state_dir.")
    @click.option("--log-level", metavar="LEVEL", help="Sets logger.level.")
    @click.option(
        "--require-ebpf", is_flag=True, default=None, help="End where eBPF does not work."
    )
    @click.option(
        "--kubeconfig", metavar="FILE", help="Sets process_discovery.kubernetes.kubeconfig."
    )
    @functools.wraps(command)
    def with_settings(
        config: Path | None,
        assignments: tuple[str, ...],
        **options: Any,  # noqa: ANN401
    ) -> None:
        shortcuts = {name: options.pop(name) for name in SHORTCUTS}
        command(loaded=load_settings(config, assignments, shortcuts), **options)

    return with_settings


def tell(loaded: Loaded) -> None:
    """Print on stderr what is likely a mistake in the configuration, and what of it is ignored."""
    for warning in loaded.warnings:
        complain(f"warning: {warning}")
    if loaded.sets_nothing and loaded.file is not None:
        complain(f"warning: {file_name(loaded.file)} sets nothing that this agent reads")
    if loaded.ignored:
        complain(
            f"ignored: {', '.join(loaded.ignored)} configure modules that this agent does not have"
        )


def load_settings(
    config: Path | None, assignments: tuple[str, ...], shortcuts: dict[str, Any]
) -> Loaded:
    """Load the file, the environment and the command line's settings.

    Raises:
        ConfigError: one of them is wrong.
        click.UsageError: a `--set` is not KEY=VALUE.
    """
    flags: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set {assignment!r} is not KEY=VALUE")
        flags[key.strip()] = value
    for name, value in shortcuts.items():
        if value is not None:
            flags[SHORTCUTS[name]] = str(value)
    return load(find_file(config, os.environ), os.environ, flags)

"""The command `rover`: parses, calls and prints; everything else is done elsewhere.

Exit codes: 0 done; 1 something on this host or on the way to the backend does not allow it; 2 the
command line or the configuration is wrong; 130 ended by Ctrl-C before anything was running. Some
commands have codes of their own beyond 2, which their help tells.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any, Final

import click

from rover import __version__
from rover.cli.terminal import complain, mute, unwritable
from rover.errors import INTERRUPTED, RoverError
from rover.host_limits import exhausted

MEANT: Final = "Did you mean"
"""Later versions of click say it themselves, where more of a word is right."""
ALIKE: Final = 0.6
"""How much of two words must be the same for the one to be a slip of the other, 0 to 1."""

COMMANDS: Final = {
    "start": "discover this host's processes and report them",
    "backend": "run a backend of our own that speaks SkyWalking's protocol",
    "status": "show how the running agent fares, on one screen",
    "explain": "tell the whole way of one process, and why it is not reported",
    "ps": "show what is reported and as what, and why the rest is not",
    "events": "show what happens to processes and entities, as it happens",
    "doctor": "look for what keeps the agent from its work, and tell the mend",
    "profile": "sample the stacks of a process: a flame graph, without a backend",
    "id": "print this host's agent id",
    "config": "check and show the configuration",
    "log-level": "show how much the running agent logs, or change it for a while",
    "version": "print the version",
}
"""Each command lives in the module of its name, imported only when it is asked for: an agent that
runs for months need not hold what draws tables."""


class Commands(click.Group):
    """The group of all commands, with errors told in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"rover.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; one that there is not is told with the one that was likely meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, 1, ALIKE)
            if not near or MEANT in error.message:
                raise
            raise click.UsageError(f"{error.message} {MEANT} {near[0]!r}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the command; Ctrl-C before it hears of that itself ends it without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's signature
        """Run, and end with the error's own exit code and message."""
        try:
            return super().main(*args, **kwargs)
        except RoverError as error:
            complain(f"rover: {error}")
            sys.exit(error.exit_code)
        except (OSError, RuntimeError) as error:
            if not (told := exhausted(error) or unwritable(error)):
                raise
            mute()
            complain(f"rover: {told}")
            sys.exit(RoverError.exit_code)


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 this host or the backend does not allow it, 2 wrong usage or "
    "configuration.",
)
@click.version_option(__version__, "-V", "--version", message="rover %(version)s")
def main() -> None:
    """Tell Apache SkyWalking which processes run on this host, the moment they start."""

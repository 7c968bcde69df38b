"""The console script ``rover``: an agent that runs for months gets the C library's allocator.

Python's own allocator gives memory back in pieces of 1 MiB, and one small object keeps a piece: of
what a storm of 16,000 processes took, half would stay for ever. The C library gives back each page
(`rover.heap`). The choice is made by a variable that Python reads when it starts, so the agent
starts itself once more with it, in the same process and within 20 ms. Whoever sets PYTHONMALLOC
has chosen already.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from rover.errors import INTERRUPTED, ProbeError

if TYPE_CHECKING:
    from rover.probes.loading import Loading

ALLOCATOR: Final = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1"}
"""One arena: threads that hold Python's lock in turn need no arena each."""

HELP: Final = frozenset({"-h", "--help"})

STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
"""By their number."""

EARLY: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""Signals that people send to daemons, and that would end the agent before it runs."""


def main() -> None:
    """Run the command line; an agent with the allocator that gives memory back."""
    try:
        _run()
    except KeyboardInterrupt:  # while the command is still being imported
        sys.exit(INTERRUPTED)


def _run() -> None:
    _fill_standard_streams()
    _take_any_letter()
    is_start = sys.argv[1:2] == ["start"]
    if is_start:
        _take_signals()
        for number in EARLY:  # until the command itself says what becomes of it
            signal.signal(number, signal.SIG_IGN)
        if not ALLOCATOR.keys() & os.environ.keys():
            _start_again()
    for name in ALLOCATOR:  # what the agent starts chooses for itself
        os.environ.pop(name, None)
    loading = _begin_loading() if is_start and not HELP & set(sys.argv) else None
    try:
        from rover.cli import main as commands  # noqa: PLC0415 - by the second of two starts alone

        commands(obj=loading)
    finally:
        if loading:
            loading.abandon()


def _fill_standard_streams() -> None:
    """Lead standard streams that are closed (``>&-``) nowhere, also in what is started.

    Else the next file or socket would have the number of one, and be written to in its place.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) < len(STREAMS):
        os.set_inheritable(opened, True)  # noqa: FBT003 - its one argument
    os.close(opened)
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _take_any_letter() -> None:
    """Have a name shown that holds what standard output's encoding has no letter for.

    On a terminal a mark takes the letter's place, for more would not fit; elsewhere its number.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace" if sys.stdout.isatty() else "backslashreplace")


def _take_signals() -> None:
    """Let signals come that whoever started this has blocked, and the ends of children be told.

    A mask and what is ignored are inherited: with SIGTERM blocked the agent would never end, and
    with SIGCHLD ignored the kernel takes its children's exit status away.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _begin_loading() -> Loading | None:
    """Have the programs compiled while the command and the rest of the agent are imported."""
    from rover.probes import programs  # noqa: PLC0415 - as above

    try:
        return programs.begin()
    except ProbeError:  # the agent meets it once more, and tells it
        return None


def _start_again() -> None:
    """Replace this process by itself with the variables set; go on as it is where that fails."""
    environment = {**os.environ, **ALLOCATOR}
    script = sys.argv[0]
    try:
        # by the script, as a user does it: so the process keeps its name
        if sys.orig_argv[1:2] == [script] and "/" in script and os.access(script, os.X_OK):
            os.execve(script, sys.argv, environment)  # noqa: S606 - no shell is wanted
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606
    except OSError:
        return


if __name__ == "__main__":
    main()

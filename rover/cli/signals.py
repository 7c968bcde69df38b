"""What signals do to a running agent: some end it in order, the others are told and change nothing.

Left as they are: what tells of a fault of the program itself, what cannot be caught, what stops and
continues a job, and what Python ignores already (SIGPIPE, SIGXFSZ).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.stopping import StopRequest

log = logging.getLogger("rover.cli")

ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_LEFT_ALONE: Final = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT),
        *(signal.SIGTRAP, signal.SIGSYS, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT),
        *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGCHLD),
        *(signal.SIGURG, signal.SIGPIPE, signal.SIGXFSZ),
    }
)
IGNORED: Final = frozenset(signal.valid_signals()) - ENDING - _LEFT_ALONE
"""Those that would end a program which does not speak of them."""
_STANDARD_STREAMS: Final = (0, 1, 2)


@contextlib.contextmanager
def until_signalled(stop: StopRequest) -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGQUIT ask for an orderly end, which is over within 5 s.

    More of them change nothing: Ctrl-C reaches a whole group, and `timeout` sends twice, so a
    second one is no sign of impatience. Any other signal is ignored, and the log says so; SIGHUP
    asks for the end only where it comes from the terminal's having gone.
    """
    terminals = [stream for stream in _STANDARD_STREAMS if os.isatty(stream)]
    untold: set[int] = set()

    def end(_number: int, _frame: object) -> None:
        stop.set()

    def ignore(number: int, _frame: object) -> None:
        if number == signal.SIGHUP and not all(map(os.isatty, terminals)):
            stop.set()
        elif number not in untold:
            untold.add(number)
            stop.meanwhile(lambda: tell(number))

    def tell(number: int) -> None:
        untold.discard(number)
        log.warning("%s ignored: %s", _name(number), _why(number))

    before = {number: signal.signal(number, end) for number in ENDING}
    before |= {number: signal.signal(number, ignore) for number in IGNORED}
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals that have no name of their own
        return f"signal {number}"


def _why(number: int) -> str:
    if number == signal.SIGHUP:
        return (
            "the configuration is read at the start alone, so restart the agent; certificates and "
            "tokens are read again by themselves"
        )
    return "it means nothing to the agent"

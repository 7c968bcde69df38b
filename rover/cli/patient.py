"""Standard output of what runs until it is told to end, and ends then though nobody takes its text.

A pipe that nobody reads, or a terminal at Ctrl-S, holds it up, as it does any program; but not for
longer than until the end is asked for. A write that waits would be begun again after each signal.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import threading
from typing import TYPE_CHECKING, Final, TextIO

from rover.cli.ways import way_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.stopping import StopRequest

LOOK_S: Final = 0.2
"""Seconds between two looks whether the end was asked for."""
LAST_S: Final = 1.0
"""Seconds for which a text is waited for once it was."""


class Patient(io.TextIOBase, TextIO):
    """Writes to a stream, and waits for whoever takes it until the end is asked for.

    From any thread: each text is written whole before the next.
    """

    def __init__(self, stream: TextIO, stop: StopRequest) -> None:
        """Begin.

        Args:
            stream: has a descriptor, and says how text is encoded.
            stop: asks for the end; what is not taken a moment later is dropped.

        Raises:
            OSError: the stream is none of the system's.
        """
        self._stream = stream
        self._stop = stop
        self._way = way_to(stream.fileno())
        self._lock = threading.Lock()
        self._given_up = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As of the stream."""
        return self._stream.encoding

    def fileno(self) -> int:
        """As of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """As of the stream."""
        return self._stream.isatty()

    def write(self, text: str, /) -> int:
        """Write a text, or drop the rest of it once the end is asked for.

        Raises:
            BrokenPipeError: nobody reads any longer.
        """
        with self._lock:
            rest = memoryview(text.encode(self.encoding, self._stream.errors or "strict"))
            while rest and not self._given_up:
                try:
                    rest = rest[self._way.put(rest) :]
                except BlockingIOError:
                    self._given_up = not self._waited()
        return len(text)

    def _waited(self) -> bool:
        """Wait for room until the end is asked for, and a moment longer; tell whether there is."""
        while not self._way.has_room(LOOK_S):
            if self._stop.is_set():
                return self._way.has_room(LAST_S)
        return True

    def close(self) -> None:
        """Let go of the way out; the stream stays open."""
        if not self.closed:
            self._way.close()
        super().close()


@contextlib.contextmanager
def patient_output(stop: StopRequest) -> Iterator[None]:
    """Have standard output wait no longer than the end is asked for, until the end of the block.

    A file is left as it is: it tells who writes of a disk that is full.
    """
    try:
        kind = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):  # none of the system's
        yield
        return
    if stat.S_ISREG(kind):
        yield
        return
    sys.stdout.flush()
    with (
        contextlib.closing(Patient(sys.stdout, stop)) as patient,
        contextlib.redirect_stdout(patient),
    ):
        yield

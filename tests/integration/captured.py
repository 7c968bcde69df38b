"""What a command shows, on terminals of several kinds and sizes and in a pipe, kept as text.

`GOLDEN=write` has the kept texts written anew; look at what became different before it is kept.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Protocol

import pyte

KEPT = Path(__file__).parents[1] / "golden"
SIZES = {"80x24": (80, 24), "140x40": (140, 40)}
WAYS = ("80x24", "140x40", "dumb", "pipe")
LONG = 2_000
"""Lines of a terminal's memory."""


def shown(
    *command: object, way: str, until: str = "", within: float = 20.0, presses: bytes = b""
) -> str:
    """Run a command and return what a person sees in the end.

    Args:
        command: its arguments.
        way: one of `WAYS`.
        until: a regex; once it is seen the command is told to end by Ctrl-C. Where lines follow
            each other, without a cursor that moves, what comes after it is left out.
        within: seconds.
        presses: what is typed as soon as something is seen.
    """
    arguments = [str(each) for each in command]
    if way == "pipe" and not until:
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=within, check=False
        )
        return done.stdout + done.stderr
    columns, rows = SIZES.get(way, SIZES["80x24"])
    if way == "pipe":
        seen: Seen = Piped()
        (ours, theirs), begin = os.pipe(), []
    else:
        seen = Drawn(columns, rows)
        # with the terminal as its own, as a shell gives it to a job in the foreground
        (ours, theirs), begin = pty.openpty(), ["setsid", "--ctty"]
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "dumb" if way == "dumb" else "xterm-256color"}
    for variable in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(variable, None)
    process = subprocess.Popen(
        [*begin, *arguments],
        stdin=subprocess.DEVNULL if way == "pipe" else theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    try:
        deadline = time.monotonic() + within
        text = _followed(seen, ours, process, until, deadline, presses=presses)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)
    return text if way in SIZES or not until else text[: re.search(until, text).end()] + "\n"


class Seen(Protocol):
    """What a command has shown."""

    def feed(self, data: bytes) -> None: ...

    def text(self) -> str: ...


class Piped:
    """What came through a pipe."""

    def __init__(self) -> None:
        self._sent = b""

    def feed(self, data: bytes) -> None:
        self._sent += data

    def text(self) -> str:
        return self._sent.decode(errors="replace")


class Drawn:
    """A terminal as pyte imitates it, and all that it was sent."""

    def __init__(self, columns: int, rows: int) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=LONG)
        self._stream = pyte.ByteStream(self.screen)
        self.sent = b""

    def feed(self, data: bytes) -> None:
        self.sent += data
        self._stream.feed(data)

    def text(self) -> str:
        above = [
            "".join(line[at].data for at in range(self.screen.columns))
            for line in self.screen.history.top
        ]
        lines = [line.rstrip() for line in (*above, *self.screen.display)]
        return "\n".join(lines).rstrip() + "\n"


def _followed(
    terminal: Seen,
    ours: int,
    process: subprocess.Popen[bytes],
    until: str,
    deadline: float,
    *,
    presses: bytes,
) -> str:
    seen = None
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                data = os.read(ours, 65_536)
            except OSError:  # closed at the other end
                break
            if not data:
                break
            terminal.feed(data)
            if presses and "Ctrl-C" in terminal.text():
                os.write(ours, presses)
                presses = b""
        if until and seen is None and re.search(until, terminal.text()):
            seen = terminal.text()
            process.send_signal(signal.SIGINT)
    else:
        raise AssertionError(f"not over within its time:\n{terminal.text()}")
    assert seen is not None or not until, terminal.text()
    return seen if seen is not None else terminal.text()


def without_times(text: str) -> str:
    """Have the time above each look the same each time."""
    return re.sub(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", "2026-11-27 11:06:40 UTC", text)


def agrees(name: str, text: str) -> None:
    """Compare with the text that is kept."""
    assert "Traceback" not in text
    file = KEPT / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text(), f"{file.name} has another text; GOLDEN=write keeps this one"

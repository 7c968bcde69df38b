"""A program of the node that runs until it is told to end, with its log."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from machines.attaching import eventually

ENDS_WITHIN: Final = 20.0
"""Seconds for an orderly end, before it is killed."""
PROBED: Final = 5.0
"""Seconds for one question whether it is up."""


class Daemon:
    """Started, killed and started again by its one name."""

    def __init__(self, name: str, command: list[str], logs: Path) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its log goes on."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """End it, and not what it has started."""
        if not self._process:
            return
        self._process.send_signal(sign)
        try:
            self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def answers(self, address: str) -> None:
        """Wait until an HTTP address of it answers, 401 included.

        Raises:
            RuntimeError: it has ended instead; with the end of its log.
            TimeoutError: it did neither.
        """

        def asked() -> bool:
            if self._process and self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {self.tail()}")
            with contextlib.suppress(OSError):
                try:
                    urllib.request.urlopen(address, timeout=PROBED).close()  # noqa: S310
                except urllib.error.HTTPError as error:
                    return error.code < 500
                return True
            return False

        eventually(asked, f"{self.name} at {address}")

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-1500:]

"""Where a neighbour lives: its folder, its dice, its children and the end of its time."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY = 65534
EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass
class Place:
    random: Random
    folder: Path
    until: float
    """time.monotonic() of the end."""
    status: str = ""
    """HOST:PORT of the agent's status address."""
    state_dir: str = ""
    children: list[int] = field(default_factory=list)

    def goes_on(self) -> bool:
        return time.monotonic() < self.until

    def pause(self, least: float, most: float) -> None:
        """Sleep for a time by chance, but not beyond the end."""
        wanted = self.random.uniform(least, most)
        time.sleep(max(0.0, min(wanted, self.until - time.monotonic())))

    def start(self, arguments: list[str | bytes], environment: Mapping[str, str] = EMPTY) -> int:
        """Start a program that sleeps for an hour, never as root; return its pid."""
        pid = os.fork()
        if pid == 0:
            try:
                if os.getuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                os.execve("/bin/sleep", arguments, dict(environment))
            except (OSError, ValueError):  # too long for the kernel, or no name for a variable
                signal.pause()
            finally:
                os._exit(1)
        self.children.append(pid)
        return pid

    def end(self, pid: int) -> None:
        self.children.remove(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def end_one(self) -> None:
        if self.children:
            self.end(self.random.choice(self.children))

    def end_all(self) -> None:
        while self.children:
            self.end(self.children[-1])

    def text(self, most: int) -> str:
        """Make up to so many characters of all kinds, no NUL among them."""
        ranges = ((0x20, 0x7E), (0x01, 0x1F), (0xA0, 0x2FF), (0x4E00, 0x9FFF), (0x1F300, 0x1F6FF))
        lowest, highest = self.random.choice(ranges)
        length = self.random.randrange(most)
        return "".join(chr(self.random.randint(lowest, highest)) for _ in range(length))

"""The child as the agent sees it: started, looked at, ended, and never waited for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.foreign.lane import Lane

if TYPE_CHECKING:
    from rover.foreign.blame import Blame
    from rover.foreign.records import Look

_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from rover.foreign.child import main; main()"
)
"""The standard library is found before what lies beside this package."""
_STAT_BYTES: Final = 512


class Child:
    """One child with its two lanes."""

    def __init__(self, proc: str) -> None:
        """Start it; 25 ms until it answers.

        Raises:
            OSError: it cannot be started.
        """
        self.memory: Lane[Blame] = Lane()
        self.files: Lane[Look] = Lane()
        self.began = time.monotonic()
        self.held_by: Blame | None = None
        """Who has it hang, where it was left behind."""
        descriptors = self.memory.theirs.fileno(), self.files.theirs.fileno()
        arguments = [str(number) for number in (os.getpid(), *descriptors)]
        package = str(Path(__file__).parents[2])
        try:
            # -I -S -E: no variable and no user's directory has a say, and little is loaded
            self._process = subprocess.Popen(
                [sys.executable, "-ISE", "-c", _PROGRAM, package, *arguments, proc],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
                cwd="/",
                process_group=0,
            )
        except OSError:
            self.close()
            raise
        self.memory.give()
        self.files.give()

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    def is_at_work(self, lane: Lane[Blame] | Lane[Look]) -> bool:
        """Tell whether the thread behind a lane starts, computes or waits for a processor.

        One that sleeps is held up by what it reads. The first thread has the child's own id.
        """
        if not lane.ready:
            return True
        first = str(self.pid)
        try:
            threads = os.listdir(f"/proc/{first}/task")  # noqa: PTH208  the names are wanted
            wanted = [each for each in threads if (each == first) == (lane is self.memory)]
            return any(self._state(thread) == "R" for thread in wanted)
        except OSError:
            return False

    def _state(self, thread: str) -> str:
        with open(f"/proc/{self.pid}/task/{thread}/stat", "rb", buffering=0) as file:  # noqa: PTH123
            return file.read(_STAT_BYTES).rpartition(b") ")[2][:1].decode("ascii", "replace")

    def kill(self) -> None:
        """Tell the kernel to end it; one that waits there may stay."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def has_ended(self) -> bool:
        """Tell whether it is gone, and take its exit status where it is."""
        return self._process.poll() is not None

    def leave(self) -> None:
        """Let it go for good: nobody takes its exit status but init."""
        self._process.returncode = self._process.poll() or 0

    def close(self) -> None:
        """Close the agent's ends; the child ends by that, unless it is held up."""
        self.memory.close()
        self.files.close()

"""The child as the agent sees it: started when needed, asked, and ended when it is held up."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import subprocess
import sys
import time
from array import array
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rover.binaries.left_behind import LeftBehind
from rover.binaries.wire import ADDRESSES_AT_ONCE, ROWS_AT_ONCE, WireError, receive, send
from rover.foreign.blame import blame_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rover.foreign.blame import Blame

log = logging.getLogger("rover.binaries")

ANSWER_S: Final = 5.0
"""Seconds that one answer may take while the child waits for what it reads."""
BUSY_S: Final = 60.0
"""Seconds that it may take while the child computes, or waits for a processor: rows of the largest
files take 1 s where it has one to itself."""
HURRIED_S: Final = 1.5
"""Seconds that it may take in all while the agent ends."""
STEP_S: Final = 0.1
"""Between two looks whether the agent ends."""
SUPPORTS_AT_ONCE: Final = 64
"""Processes: questions and answers find room in a socket."""
MAX_KNOWN: Final = 1_024
"""Processes of which it is known who stands behind their reads."""
MAX_ROWS: Final = 700_000
MAX_MAPPINGS: Final = 512
KALLSYMS: Final = "/proc/kallsyms"

_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from rover.binaries.child import main; main()"
)


class ReadError(Exception):
    """What was asked cannot be told; the text says why."""


class GoneError(ReadError):
    """The process has ended."""


class HeldUpError(ReadError):
    """It is not tried now: children hang in what they read."""


class ChildLost(ReadError):  # noqa: N818  a state, told by its name
    """The child has ended or was ended; a new one knows nothing of what the former was asked."""


class Supported(NamedTuple):
    """What the child told of processes, in their order."""

    told: list[bool | None]
    """Whether each one's functions have names; None where that cannot be told."""
    held_up: bool
    """Whether the child was lost at the one that comes next."""


class CodeMapping(NamedTuple):
    """Code of a process."""

    start: int
    end: int
    bias: int
    """An address less this is what its image's rows speak of."""
    image: int
    """0: none."""
    trampoline: int
    """The row of CPython's trampolines where it is those; 0."""


class Reader:
    """Asks the child; one thread at a time."""

    def __init__(
        self,
        proc: str = "/proc",
        *,
        answer_s: float = ANSWER_S,
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start nothing yet.

        Args:
            proc: where the host's processes are.
            answer_s: seconds that an answer may take while the child is held up.
            hurried: asked while an answer is waited for whether it may take HURRIED_S alone.
        """
        self._hurried = hurried
        self._proc = proc
        self._answer_s = answer_s
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._left_behind = LeftBehind()
        self._whose: dict[int, tuple[int, Blame]] = {}
        """By pid, with its start: who stands behind reads of those that were looked at."""
        self._behind: Blame | None = None
        """Who stands behind what the child is at; None: nobody but the kernel."""
        self._until = float("inf")
        """When answers are waited for no longer; time.monotonic()."""
        self.started = 0
        """Children started so far; indices of images hold for one child."""

    @property
    def pid(self) -> int | None:
        """The child's pid; None where there is none."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the child, if there is none; it ends with the thread that calls this.

        Raises:
            ReadError: see there.
        """
        if self._socket is None:
            if why := self._left_behind.obstacle(None):
                raise HeldUpError(why)
            self._socket = self._start()

    def look(self, pid: int, ticks: int) -> tuple[int, list[CodeMapping]]:
        """Return which look at a process's mappings this is, and the mappings by address.

        Raises:
            ReadError: see there.
        """
        answer, _ = self._ask(self._blame(pid, ticks), ["look", pid, ticks])
        try:
            found = [CodeMapping(*map(int, each)) for each in answer["mappings"]]
            generation = int(answer["generation"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._lost(f"no answer: {error!r}") from error
        return generation, found[:MAX_MAPPINGS]

    def prepare(self, pid: int, ticks: int) -> None:
        """Have the child look at a process and make the rows of its files, to be asked for later.

        Raises:
            ReadError: see there.
        """
        self._ask(self._blame(pid, ticks), ["prepare", pid, ticks])

    def rows(self, image: int) -> tuple[int, Iterator[bytes]]:
        """Return how many rows an image has, and the rows, 8 bytes each, in parts.

        Raises:
            ReadError: see there; also while the parts are taken.
        """
        total, first = self._some_rows(image, 0)

        def parts() -> Iterator[bytes]:
            yield first
            for at in range(ROWS_AT_ONCE, total, ROWS_AT_ONCE):
                again, text = self._some_rows(image, at)
                if again != total:
                    raise self._lost("another number of rows than before")
                yield text

        return total, parts()

    def _some_rows(self, image: int, first: int) -> tuple[int, bytes]:
        answer, text = self._ask(self._behind, ["rows", image, first])
        try:
            total = int(answer["total"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._lost(f"no answer: {error!r}") from error
        if not 0 <= total <= MAX_ROWS or len(text) != 8 * max(0, min(total - first, ROWS_AT_ONCE)):
            raise self._lost("rows that are none")
        return total, text

    def names(self, pid: int, generation: int, addresses: Sequence[int]) -> list[str]:
        """Name addresses of a process, of the kernel for pid 0.

        Raises:
            ReadError: see there.
        """
        words = ["names", pid, generation] if pid else ["kernel"]
        named: list[str] = []
        for first in range(0, len(addresses), ADDRESSES_AT_ONCE):
            part = array("Q", addresses[first : first + ADDRESSES_AT_ONCE])
            _, text = self._ask(self._blame(pid), words, part.tobytes())
            found = text.decode("utf-8", "replace").split("\0")
            if len(found) != len(part):
                raise self._lost("other names than were asked for")
            named += found
        return named

    def forget(self, pid: int) -> None:
        """Have the child forget a process; it closes the files that no other has."""
        if self._child:
            with contextlib.suppress(ReadError):
                self._ask(self._blame(pid), ["forget", pid])
        self._whose.pop(pid, None)

    def supports(self, whom: Sequence[Blame], within: float) -> Supported:
        """Tell whether processes' functions have names, as far as the child is not lost.

        All are asked before the first answer is waited for.

        Args:
            whom: the processes, SUPPORTS_AT_ONCE at most.
            within: seconds for all of them together.

        Raises:
            ChildLost: it cannot be started, or is lost before it reads of any.
        """
        self.start()
        found: list[bool | None] = []
        asked = [not self._left_behind.obstacle(each) for each in whom]
        self._until = time.monotonic() + within
        try:
            for blame in compress(whom, asked):
                self._say(["supports", blame.pid])
            for blame, is_asked in zip(whom, asked, strict=True):
                self._behind = blame
                try:
                    found.append(self._hear_support(blame.pid) if is_asked else None)
                except ChildLost:
                    return Supported(found, held_up=True)
        except BaseException:
            self.close()  # what is still to be heard would be taken for other answers
            raise
        finally:
            self._until = float("inf")
        return Supported(found, held_up=False)

    def _hear_support(self, pid: int) -> bool | None:
        try:
            answer, _ = self._hear(["supports", pid])
        except ChildLost:
            raise
        except ReadError:
            return None
        supports = answer.get("supports")
        return supports if isinstance(supports, bool) else None

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if self._socket:
            self._socket.close()
            self._socket = None
        if child:
            child.kill()
            try:
                child.wait(0.5)
            except subprocess.TimeoutExpired:
                # the kernel holds it; what is left is to take its exit status, some day
                self._left_behind.add(child.pid, self._behind)
                child.returncode = 0
        self._whose.clear()

    def _blame(self, pid: int, ticks: int = 0) -> Blame | None:
        """Say who stands behind reads of a process; None for pid 0, which is the kernel.

        What was found when it was looked at first is kept: it may end before its read does.
        """
        if not pid:
            return None
        known_ticks, blame = self._whose.get(pid, (0, None))
        if blame is None or ticks not in {0, known_ticks}:
            blame = blame_of(pid, self._proc)
            if ticks:
                if len(self._whose) >= MAX_KNOWN:
                    self._whose.clear()
                self._whose[pid] = ticks, blame
        return blame

    def _ask(
        self, behind: Blame | None, words: list[Any], text: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        """Ask on somebody's account; return the answer, and bytes with it.

        Raises:
            ReadError: see there.
        """
        if why := self._left_behind.obstacle(behind):
            raise HeldUpError(why)
        self._behind = behind
        self.start()
        self._say(words, text)
        return self._hear(words)

    def _say(self, words: list[Any], text: bytes = b"") -> None:
        """Send a question.

        Raises:
            ChildLost: the child takes nothing, or is gone.
        """
        if self._socket is None:
            raise ChildLost("there is none")
        try:
            send(self._socket, words, text)
        except OSError as error:
            raise self._lost(f"it ended at {words}: {error}") from error

    def _hear(self, words: list[Any]) -> tuple[dict[str, Any], bytes]:
        """Wait for the next answer.

        Raises:
            ReadError: see there.
        """
        peer = self._socket
        if peer is None:
            raise ChildLost("there is none")
        try:
            self._wait(peer)
            answer, found = receive(peer)
        except TimeoutError as error:
            raise self._lost(f"it was held up, or takes too long, at {words}") from error
        except (WireError, OSError) as error:
            raise self._lost(f"it ended at {words}: {error}") from error
        except (RecursionError, MemoryError) as error:
            raise self._lost(f"no answer: {error!r}") from error
        if not isinstance(answer, dict):
            raise self._lost("no answer")
        if "gone" in answer:
            raise GoneError(str(answer["gone"])[:200])
        if "failed" in answer:
            raise ReadError(str(answer["failed"])[:500])
        return answer, found

    def _wait(self, peer: socket.socket) -> None:
        """Wait for an answer; longer where the child is at work than where it is held up.

        Raises:
            TimeoutError: none came.
        """
        poll = select.poll()
        poll.register(peer, select.POLLIN)
        began = looked = time.monotonic()
        step = min(STEP_S, self._answer_s)
        while not poll.poll(step * 1000):
            now = time.monotonic()
            if now > self._until or now - began > (HURRIED_S if self._hurried() else BUSY_S):
                raise TimeoutError
            if now - looked > self._answer_s:
                looked = now
                if not self._is_at_work():
                    raise TimeoutError

    def _is_at_work(self) -> bool:
        try:
            text = Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return False
        return text.rpartition(b") ")[2][:1] == b"R"

    def _lost(self, why: str) -> ChildLost:
        log.warning("the child that reads binaries is started anew: %s", why)
        self.close()
        return ChildLost(why)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        kernel = -1
        with contextlib.suppress(OSError):
            kernel = os.open(KALLSYMS, os.O_RDONLY | os.O_CLOEXEC)
        passed = [theirs.fileno(), *([kernel] if kernel >= 0 else [])]
        package = str(Path(__file__).parents[2])
        arguments = [str(os.getpid()), str(theirs.fileno()), str(kernel), self._proc]
        try:
            # no user's directory and no variable but these has a say, and little is loaded; what
            # Python's own allocator once took for rows it would keep
            self._child = subprocess.Popen(
                [sys.executable, "-sSP", "-c", _PROGRAM, package, *arguments],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1", "PYTHONMALLOC": "malloc"},
                cwd="/",
                process_group=0,
            )
        except OSError as error:
            ours.close()
            raise ChildLost(f"it cannot be started: {error}") from error
        finally:
            theirs.close()
            if kernel >= 0:
                os.close(kernel)
        ours.settimeout(self._answer_s)
        self.started += 1
        return ours

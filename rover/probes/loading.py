"""A loader child at work: started, waited for, or given up."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rover.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable

LOADER: Final = """
import sys
sys.path.append(sys.argv[1])
from rover.probes import loader, {module}
loader.main({module}.load)
"""
"""The child, in a Python that may know nothing of this package; its own libraries come first."""
DISTRIBUTION_PYTHON: Final = "/usr/bin/python3"
MESSAGES_KEPT: Final = 4_096
"""Bytes of what the child printed that go into an error: half from the beginning, where the
compiler says what is wrong, half from the end, where the kernel's verifier does."""
ANSWER_BYTES: Final = 65_536
DESCRIPTORS: Final = 32
LOOK_UP: Final = 0.2
"""Seconds between two looks whether the programs are still wanted."""


class Answer(NamedTuple):
    """What a child sent."""

    words: dict[str, Any]
    descriptors: list[int]
    """Of maps, programs and attachments; the receiver's to close."""


def interpreter() -> str:
    """Return a Python that has the distribution's bcc, without importing it here.

    The agent may run in a Python that the distribution's package was not built for.
    """
    spec = importlib.util.find_spec("bcc")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if Path(place, "libbcc.py").is_file():
            return sys.executable
    return DISTRIBUTION_PYTHON


class Loading:
    """One child, from its start on; it ends with this process in any case."""

    def __init__(self, module: str, request: dict[str, Any]) -> None:
        """Start it.

        Args:
            module: of this package, whose `load` the child calls.
            request: JSON.

        Raises:
            ProbeError: no child can be started.
        """
        self._python = interpreter()
        with contextlib.ExitStack() as held:
            try:
                ours, theirs = socket.socketpair()
                held.callback(ours.close)
                printed = os.memfd_create("rover-loader")
                held.callback(os.close, printed)
                with theirs:
                    self._child = _start(self._python, module, request, theirs.fileno(), printed)
            except OSError as error:
                raise self._cannot_run(error) from error
            self._socket, self._printed, self._held = ours, printed, held.pop_all()

    def answer(self, timeout: float, given_up: Callable[[], bool] = lambda: False) -> Answer:
        """Wait for the child's answer and its end.

        Args:
            timeout: seconds after which the child is ended.
            given_up: asked several times a second; where it says so, the child is ended at once.

        Raises:
            ProbeError: eBPF does not work here; the message says what was tried and what to do. Or
                it was given up.
        """
        try:
            return self._answer(timeout, given_up)
        except OSError as error:
            raise self._cannot_run(error) from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End the child where it still runs, and forget what it sent; once is enough."""
        self.kill()
        self._child.wait()
        self._held.close()

    def kill(self) -> None:
        """End the child where it still runs; whoever waits for its answer is told."""
        self._child.kill()

    def _answer(self, timeout: float, given_up: Callable[[], bool]) -> Answer:
        received = self._receive(time.monotonic() + timeout, given_up)
        if received is None:
            self._child.kill()
        text, descriptors = received or (b"", [])
        status = self._child.wait()
        printed = _both_ends(self._printed)
        if not text:
            raise self._unanswered(status, timeout, printed, given_up=given_up())
        words = json.loads(text)
        if "error" in words:
            for descriptor in descriptors:
                os.close(descriptor)
            raise _failure(words["error"], words["advice"], printed)
        return Answer(words, descriptors)

    def _receive(
        self, until: float, given_up: Callable[[], bool]
    ) -> tuple[bytes, list[int]] | None:
        """Wait for the answer, empty where the child has ended, and its descriptors.

        Returns:
            None where it came too late or is no longer wanted.
        """
        while (left := until - time.monotonic()) > 0 and not given_up():
            self._socket.settimeout(min(left, LOOK_UP))
            try:
                answer, descriptors, _, _ = socket.recv_fds(
                    self._socket, ANSWER_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
                )
            except TimeoutError:
                continue
            return answer, descriptors
        return None

    def _cannot_run(self, error: OSError) -> ProbeError:
        return ProbeError(f"cannot run the eBPF loader with {self._python}: {error}")

    def _unanswered(
        self, status: int, timeout: float, printed: str, *, given_up: bool
    ) -> ProbeError:
        if given_up:
            return ProbeError("loading the eBPF programs was given up, for the agent is to end")
        how = (
            f"was killed after {timeout:g} s"
            if status == -signal.SIGKILL
            else f"ended with status {status}"
        )
        told = f"the eBPF loader ({self._python}) {how} without an answer"
        return _failure(told, "what it printed follows", printed)


def _start(
    python: str, module: str, request: dict[str, Any], channel: int, printed: int
) -> subprocess.Popen[bytes]:
    folder = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [
            *(python, "-I", "-c", LOADER.format(module=module), folder),
            *(str(channel), json.dumps(request)),
        ],
        pass_fds=(channel,),
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=printed,
        # without a home Python asks the user database for one, which may not answer
        env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/"},
        # Ctrl-C is the parent's to hear: it ends the child itself
        process_group=0,
    )


def _both_ends(file: int) -> str:
    """Return the beginning and the end of a file, all of it where it is short."""
    size, half = os.fstat(file).st_size, MESSAGES_KEPT // 2
    text = os.pread(file, min(size, half), 0)
    if size > 2 * half:
        text += b"\n...\n"
    text += os.pread(file, half, max(half, size - half))
    return text.decode(errors="replace").strip()


def _failure(told: str, advice: str, printed: str) -> ProbeError:
    said = f"\n{printed}" if printed else ""
    return ProbeError(f"{told}; {advice}{said}")

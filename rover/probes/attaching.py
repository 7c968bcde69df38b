"""Programs that are attached while the agent that will use them is still being imported."""

from __future__ import annotations

from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING

from rover.aside import begun
from rover.probes import programs
from rover.probes.loading import LOOK_UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.probes.loading import Loading


class Attaching:
    """A thread that waits for the loader: the log tells of the programs once they are attached."""

    def __init__(self, loading: Loading, given_up: Callable[[], bool]) -> None:
        """Begin to wait.

        Args:
            loading: the child that is at it.
            given_up: asked several times a second; where it says so, the child is ended at once.
        """
        self._loading = loading
        self._is_taken = False
        load = partial(programs.load, loading=loading, given_up=given_up)
        self._loaded = begun(load, "attaching")

    def result(self) -> programs.Programs:
        """Wait for the programs, the caller's from now on.

        Raises:
            ProbeError: as `programs.load`.
        """
        self._is_taken = True
        # not at once: a signal that the kernel gives to another thread is handled between two looks
        while not self._loaded.done():
            wait((self._loaded,), LOOK_UP)
        return self._loaded.result()

    def abandon(self) -> None:
        """End the child where it still runs, and detach programs that nobody has taken."""
        self._loading.kill()
        if self._loaded.exception() is None and not self._is_taken:
            self._loaded.result().close()
            self._is_taken = True

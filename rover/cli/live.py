"""The live view: a table of what the backend holds on a terminal, a line a change elsewhere."""

from __future__ import annotations

import queue
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from rover.cli.patient import patient_output
from rover.cli.terminal import mute, screen
from rover.cli.terminal import show as print_lines
from rover.cli.view import View
from rover.guard import Defect, Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rover.backend import Change, State
    from rover.model import Changes
    from rover.stopping import StopRequest

T = TypeVar("T")

GONE_AFTER: Final = 50.0
"""Seconds without a beat: two and a half of the usual heartbeat periods."""
REFRESH: Final = 0.25
"""Seconds between two looks at what changed."""
AGEING: Final = 1.0
"""Seconds between two looks at what only time changes."""


def show(
    state: State,
    withdrawn: queue.SimpleQueue[Changes] | None,
    stop: StopRequest,
    *,
    gone_after: float = GONE_AFTER,
    title: str = "",
) -> None:
    """Show what the backend holds until ``stop`` is set.

    Args:
        state: The backend's.
        withdrawn: What changes in the table of an agent beside the backend, which knows at once
            which process ended; None where there is no such agent.
        stop: Ends the view. Set here when nobody reads standard output any longer.
        gone_after: Seconds without report or beat after which a process counts as gone.
        title: Stands above the table.
    """
    inbox = _Inbox()
    unsubscribe = state.subscribe(inbox.put)
    view = View(gone_after)
    try:
        with patient_output(stop):
            if screen().moves:
                # lines need nothing that draws
                from rover.cli.keys import Keys  # noqa: PLC0415
                from rover.cli.screen import draw  # noqa: PLC0415

                draw(_news(state, inbox, withdrawn, view, stop, all_looks=True), title, Keys())
            else:
                _show_lines(_news(state, inbox, withdrawn, view, stop))
    except BrokenPipeError:
        stop.set()
        mute()
    finally:
        unsubscribe()


class _Inbox:
    """The last change of each process since it was emptied: bounded by what the backend holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: dict[str, Change] = {}

    def put(self, changes: tuple[Change, ...]) -> None:
        with self._lock:
            self._changes.update((change.process.id, change) for change in changes)

    def empty(self) -> tuple[Change, ...]:
        with self._lock:
            changes = tuple(self._changes.values())
            self._changes.clear()
        return changes


def _news(
    state: State,
    inbox: _Inbox,
    withdrawn: queue.SimpleQueue[Changes] | None,
    view: View,
    stop: StopRequest,
    *,
    all_looks: bool = False,
) -> Iterator[tuple[View, list[str]]]:
    """Give the view and what is new in it, at once and then each time it may have changed.

    Ages change with time alone: it is given once a second even when nothing is new; with
    ``all_looks`` at each look, for whoever has keys to look after.
    """
    given_at = 0.0
    guard = Guard()
    lines: list[str] = []

    def take(about: str, told: Callable[[T], Iterator[str]], news: T) -> None:
        """Take the lines for one piece of news; where that fails, the others still have theirs."""
        found = guard.one("view", about, lambda: list(told(news)))
        lines.extend(() if isinstance(found, Defect) else found)

    for process in state.snapshot().processes:
        take(process.id, view.heard, process)
    while True:
        ending = stop.is_set()
        now = time.monotonic()
        # what the table announced comes before the report of it
        for changes in _drained(withdrawn):
            take("agent", partial(view.agent_changed, now=now), changes)
        told = inbox.empty()
        for change in told:
            take(change.process.id, view.backend_changed, (change,))
        if told or lines or ending or now - given_at >= AGEING:
            take("time", view.pass_time, now)
            given_at = now
            yield view, lines.copy()
            lines.clear()
        elif all_looks:
            yield view, []
        if ending:
            return
        stop.wait(REFRESH)


def _drained(withdrawn: queue.SimpleQueue[Changes] | None) -> Iterator[Changes]:
    while withdrawn is not None:
        try:
            yield withdrawn.get_nowait()
        except queue.Empty:
            return


def _show_lines(news: Iterable[tuple[View, list[str]]]) -> None:
    for _, lines in news:
        if lines:
            print_lines(lines)

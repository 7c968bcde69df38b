"""What foreign reads give."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rover.foreign.blame import Blame


class Found(NamedTuple):
    """What the child read of one process; an errno in place of what cannot be read."""

    command_line: bytes
    command_line_errno: int
    place_errno: int
    root_mount: int
    root_inode: int
    tmpdir: bytes
    tail: bytes = b""
    """The end of a command line that is too long to be read as a whole."""


class Look(NamedTuple):
    """What the child is asked for of a directory of language agents."""

    directory: int
    blame: Blame
    """Who stands behind it: a process that keeps its files there."""


class Lost(NamedTuple):
    """News that the child was replaced: what it held is to be told to the next."""

    directory: int
    """The one whose look was held up, 0 where it was none."""


class ReadFigures(NamedTuple):
    """For the metrics."""

    children_started: int
    held_up: int
    """Reads that had to be given up with their child."""
    left_behind: int
    """Children that wait in the kernel now and cannot be ended."""
    left_out: int
    """Users, mount namespaces and processes that are not read for a while, now."""
    late: int
    """Answers that did not come in time."""
    defects: int
    """Requests that the child had no answer to."""

"""Programs in pid namespaces of their own, seen from the host's."""

from __future__ import annotations

from pathlib import Path

NEST = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Starts a program as the first process of a new namespace."""
ENTER = ("nsenter", "--pid", "--mount", "--target")
"""Starts a program in a namespace from outside, so that its parent is not in it."""


def child_of(pid: int) -> int:
    """Give the one process that unshare or nsenter has started, as the host has its pid."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def numbers_of(pid: int) -> list[int]:
    """Give the pids of a process, from the host's namespace to its own."""
    status = Path(f"/proc/{pid}/status").read_text()
    return [int(word) for word in status.partition("\nNSpid:")[2].partition("\n")[0].split()]


def descendant(pid: int, name: str) -> int | None:
    """Find the process below one that runs a program, by the host's pid."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in map(int, children):
        if Path(f"/proc/{child}/comm").read_text() == f"{name}\n":
            return child
        if found := descendant(child, name):
            return found
    return None

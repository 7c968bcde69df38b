"""Processes that call themselves what they like: arguments, environments, titles, names."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.neighbours.place import Place

WIDE = "\N{OK HAND SIGN}"
LIVING = 60
TITLED = 12
PR_SET_NAME = 15
ARG_START, ARG_END = 45, 46
"""Fields 48 and 49 of /proc/self/stat, counted after the name (proc(5))."""
TMPDIRS = ("/", "relative", "/proc/self/root", "/dev/fd/0", "a/../" * 700, "/" * 4000, "\x01\x7f")


def arguments(place: Place) -> None:
    """Keep processes with arguments of the largest size, of all characters, coming and going."""
    while place.goes_on():
        while len(place.children) < LIVING:
            kind = place.random.randrange(4)
            words: list[str | bytes] = ["sleep", "3600"]
            if kind == 0:
                words += [WIDE * 15_000]
            elif kind == 1:
                words += [place.text(30) for _ in range(2_000)]
            elif kind == 2:
                words += [place.random.randbytes(60_000).replace(b"\0", b"\xff")]
            else:
                words += [f"--password={place.text(30) * 100}", place.text(100) * 1_000]
            # sleep refuses what is no number: so a shell-less program that only waits
            _start_waiting(place, words)
        place.end_one()
        place.pause(0.05, 0.3)


def environments(place: Place) -> None:
    """Keep processes with environments that are large or speak of odd places."""
    while place.goes_on():
        while len(place.children) < LIVING:
            environment = {f"V{n}": place.text(60) * 150 for n in range(40)}
            environment["TMPDIR"] = place.random.choice((*TMPDIRS, place.text(50) * 100))
            place.start(["sleep", "3600"], environment)
        place.end_one()
        place.pause(0.05, 0.3)


def titles(place: Place) -> None:
    """Fork processes that change title and name all the time."""
    for number in range(TITLED):
        pid = os.fork()
        if pid == 0:
            place.children.clear()
            place.random.seed(number)
            with contextlib.suppress(BaseException):
                _flap(place)
            os._exit(0)
        place.children.append(pid)
    while place.goes_on():
        place.pause(0.5, 1)


def _start_waiting(place: Place, words: list[str | bytes]) -> None:
    """Start `cat` on a pipe that nobody writes: it takes any arguments after ``-``."""
    pid = os.fork()
    if pid:
        place.children.append(pid)
        return
    try:
        reading, _ = os.pipe()
        os.dup2(reading, 0)
        os.execve("/bin/sh", [b"sh", b"-c", b"read x", *map(os.fsencode, words[2:])], {})
    except (OSError, ValueError):  # too long for the kernel, or a NUL in it: then it only waits
        os.read(reading, 1)
    finally:
        os._exit(0)


def _flap(place: Place) -> None:
    libc = ctypes.CDLL(None)
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    start, end = int(fields[ARG_START]), int(fields[ARG_END])
    counter = 0
    while place.goes_on():
        counter += 1
        title = f"worker {counter} {place.text(200)}".encode()[: end - start - 1]
        ctypes.memmove(start, title.ljust(end - start, b"\0"), end - start)
        libc.prctl(PR_SET_NAME, place.random.randbytes(15), 0, 0, 0)
        place.pause(0.01, 0.5)

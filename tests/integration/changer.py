"""A process that changes itself as daemons do, at a test's word; run as a program.

Each line of its standard input is a change and its value; each is answered when it is made.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

PR_SET_NAME = 15
PR_SET_MM = 35
PR_SET_MM_MAP = 14
NO_FILE = 0xFFFFFFFF
CLONE_NEWNS = 0x00020000

libc = ctypes.CDLL(None, use_errno=True)
libc.sbrk.restype = ctypes.c_size_t
kept = []
"""Memory that the kernel was told of."""


def check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def layout() -> list[int]:
    """Return code, stack, data, heap, arguments and environment: fields 26-28 and 45-51 of stat."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return [int(field) for field in (*fields[23:26], *fields[42:49])]


def title(text: str) -> None:
    """Write over the arguments in place, as gunicorn, nginx and postgres do."""
    start, end = layout()[6:8]
    written = text.encode()[: end - start - 1]
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, written, len(written))


def moved(text: str) -> None:
    """Have the kernel look elsewhere for the arguments, as systemd's helpers do."""
    memory = ctypes.create_string_buffer(text.encode() + b"\0")
    kept.append(memory)
    start = ctypes.addressof(memory)
    code, code_end, stack, data, data_end, heap, _, _, environment, environment_end = layout()
    heap_end = libc.sbrk(0)
    # struct prctl_mm_map; alone among these calls it needs no capability
    places = struct.pack(
        "=11QQII",
        *(code, code_end, data, data_end, heap, heap_end, stack),
        *(start, start + len(text) + 1, environment, environment_end),
        *(0, 0, NO_FILE),
    )
    check(libc.prctl(PR_SET_MM, PR_SET_MM_MAP, places, ctypes.c_ulong(len(places)), 0))


def name(text: str) -> None:
    check(libc.prctl(PR_SET_NAME, text.encode(), 0, 0, 0))


def comm(text: str) -> None:
    Path("/proc/self/comm").write_text(text)


def user(text: str) -> None:
    os.setgroups([])
    os.setresgid(int(text), int(text), int(text))
    os.setresuid(int(text), int(text), int(text))


def namespace(_: str) -> None:
    check(libc.unshare(CLONE_NEWNS))


def metadata(service: str) -> None:
    """Keep the file of a SkyWalking agent."""
    place = Path(os.environ["TMPDIR"], "apache_skywalking/process", str(os.getpid()))
    place.mkdir(parents=True)
    names = f"layer=GENERAL\nservice_name={service}\ninstance_name=i\nprocess_name=p\n"
    (place / "metadata.properties").write_text(names)


CHANGES = {
    "title": title,
    "moved": moved,
    "name": name,
    "comm": comm,
    "user": user,
    "directory": os.chdir,
    "namespace": namespace,
    "metadata": metadata,
}

if __name__ == "__main__":
    for line in sys.stdin:
        change, _, value = line.rstrip("\n").partition(" ")
        CHANGES[change](value)
        sys.stdout.write(f"{change}\n")
        sys.stdout.flush()

"""Try what the programs make of processes that are known, before what they say is believed.

The standard library and libbpf alone: the loader's child imports this.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from pathlib import Path
from typing import Final

from rover.probes import layout, libbpf

THREAD_ENDS_WITHIN: Final = 2.0
"""Seconds until a thread that has done its work is out of /proc."""


def contradiction(pending: int, tracked: int) -> str:
    """Say what the programs got wrong of a process and a thread; empty where all is right.

    A child of this process must be in `pending` under the pid that fork(2) gave while it lives, and
    out of it afterwards; and the end of one of this process's threads is not its own end.

    Args:
        pending: descriptor of the map.
        tracked: descriptor of the map.
    """
    return _wrong_of_process(pending) or _wrong_of_thread(tracked)


def _wrong_of_process(pending: int) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    key, entry = ctypes.c_uint32(child), layout.PendingValue()
    began = libbpf.lookup(pending, key, entry) and entry.parent == os.getpid()
    os.close(writing)
    os.waitpid(child, 0)
    if not began:
        return f"the start of process {child} was not told by its pid"
    if libbpf.delete(pending, key):
        return f"the end of process {child} was not told for that of its last thread"
    return ""


def _wrong_of_thread(tracked: int) -> str:
    own = ctypes.c_uint32(os.getpid())
    libbpf.update(tracked, own, ctypes.c_uint32(layout.FOLLOW))
    thread = threading.Thread(target=lambda: None)
    thread.start()
    task = Path(f"/proc/self/task/{thread.native_id}")
    thread.join()
    until = time.monotonic() + THREAD_ENDS_WITHIN
    while task.exists() and time.monotonic() < until:
        time.sleep(0.001)
    if not libbpf.delete(tracked, own):
        return "the end of a thread was taken for that of its process"
    return ""

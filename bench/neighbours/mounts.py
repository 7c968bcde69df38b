"""File systems that do not answer, mounted where the agent would look.

FUSE, in a mount namespace of its own; mounted as root, since not every host opens /dev/fuse to all,
and used by processes of another user.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.neighbours.place import Place

CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
FUSE_INIT = 26
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
"""struct fuse_init_out of protocol 7.31 and later (include/uapi/linux/fuse.h)."""
REQUEST = struct.Struct("<IIQQIIII")
ANSWER = struct.Struct("<IiQ")
READ = 1_048_576
"""Bytes: the kernel wants room for the largest request."""
LIVING = 10
SERVED = 0.7
"""Share of the mounts whose server takes requests, which makes waiting for them unkillable."""


def mounts(place: Place) -> None:
    """Keep processes whose TMPDIR lies on a file system that never answers."""
    libc = ctypes.CDLL(None, use_errno=True)
    private = libc.unshare(CLONE_NEWNS) or libc.mount(
        b"none", b"/", None, MS_REC | MS_PRIVATE, None
    )
    if private:
        raise SystemExit(f"no mount namespace to be had: {os.strerror(ctypes.get_errno())}")
    while place.goes_on():
        _mount_for_a_while(place, libc)


def _mount_for_a_while(place: Place, libc: ctypes.CDLL) -> None:
    point = place.folder / f"m{place.random.randrange(10**9)}"
    point.mkdir()
    device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"fuse", os.fsencode(point), b"fuse", 0, options.encode()):
        raise SystemExit(f"FUSE cannot be mounted: {os.strerror(ctypes.get_errno())}")
    try:
        served = place.random.random() < SERVED
        if served:
            _answer_first(device)
        link = place.folder / f"l{place.random.randrange(10**9)}"
        link.symlink_to(point)
        for _ in range(LIVING):
            tmpdir = place.random.choice((point, point / "deep/er", link))
            place.start(["sleep", "3600"], {"TMPDIR": str(tmpdir)})
        end = time.monotonic() + place.random.uniform(5, 15)
        while place.goes_on() and time.monotonic() < end:
            if served:
                _swallow(device)
            place.pause(0.1, 0.3)
    finally:
        place.end_all()
        # in this order: nobody may wait for the device while it is still held here
        libc.umount2(os.fsencode(point), MNT_DETACH)
        os.close(device)


def _answer_first(device: int) -> None:
    """Agree on the protocol, after which the kernel sends what is asked of the file system."""
    request = os.read(device, READ)
    _, operation, unique, *_ = REQUEST.unpack_from(request)
    assert operation == FUSE_INIT
    body = INIT_OUT.pack(7, 31, 65_536, 0, 12, 9, 65_536, 1, 16, 0, 0)
    os.write(device, ANSWER.pack(ANSWER.size + len(body), 0, unique) + body)


def _swallow(device: int) -> None:
    """Take requests and answer none: who asked can no longer be interrupted."""
    try:
        while os.read(device, READ):
            pass
    except BlockingIOError:
        return

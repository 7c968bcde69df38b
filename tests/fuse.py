"""A FUSE file system in a few lines, whose server answers what it is told to and no more.

`python fuse.py MOUNTPOINT OPCODE,... DELAY [CONTENT]` mounts it and serves it: requests of these
opcodes are read and never answered, and the kernel waits for each of them without end; with `none`,
no request is read at all. Names are looked up after so many seconds. Where there is a file CONTENT,
`file` has what it has, and all is answered until the server gets SIGUSR1. It prints a line once it
is mounted. A look at it ends when the server does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

LOOKUP, GETATTR, OPEN, READ, STATFS, INIT, OPENDIR, ACCESS = 1, 3, 14, 15, 17, 26, 27, 34
FORGET, BATCH_FORGET, INTERRUPT = 2, 42, 36
FILE = 2
DIRECTORY_MODE, FILE_MODE = 0o40777, 0o100777
ENOSYS = 38
ALL = ",".join(map(str, (LOOKUP, GETATTR, OPEN, READ, STATFS, OPENDIR, ACCESS)))


@contextlib.contextmanager
def mounted(
    place: Path, unanswered: str, delay: float = 0.0, content: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Mount it at a place until the end of the block; see the module."""
    server = subprocess.Popen(
        [sys.executable, __file__, str(place), unanswered, str(delay)]
        + ([str(content)] if content else []),
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout
        assert server.stdout.readline() == b"mounted\n"
        yield server
    finally:
        server.kill()
        server.wait()
        assert server.stdout
        server.stdout.close()
        subprocess.run(["umount", "-l", str(place)], check=False)


def attributes(node: int, content: bytes) -> bytes:
    mode = FILE_MODE if node == FILE else DIRECTORY_MODE
    size = len(content) if node == FILE else 0
    blocks, owner = -(-size // 512), 65534
    times = (0,) * 6
    return struct.pack("<6Q10I", node, size, blocks, *times, mode, 1, owner, 0, 0, 4096, 0)


def answer(opcode: int, node: int, body: bytes, content: bytes) -> bytes | None:
    """Return what follows the header; None where the request is not known."""
    if opcode == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 16, 12, 65536, 1, 16, 0, *[0] * 8)
    if opcode == LOOKUP:
        name = body.partition(b"\0")[0]
        found = FILE if name == b"file" else 3
        return struct.pack("<4Q2I", found, 0, 3600, 3600, 0, 0) + attributes(found, content)
    if opcode == GETATTR:
        return struct.pack("<Q2I", 3600, 0, 0) + attributes(node, content)
    if opcode in {OPEN, OPENDIR}:
        return struct.pack("<Q2I", 1, 0, 0)
    if opcode == READ:
        offset, size = struct.unpack_from("<QI", body, 8)
        return content[offset : offset + size]
    return None


def main() -> None:
    place, unanswered, delay = sys.argv[1], sys.argv[2], float(sys.argv[3])
    connection = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={connection},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"rover-test", place.encode(), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    hold = set() if unanswered == "none" else set(map(int, filter(None, unanswered.split(","))))
    content, held = b"x\0" * 2048, hold
    if sys.argv[4:]:
        content, held = Path(sys.argv[4]).read_bytes(), set()
        signal.signal(signal.SIGUSR1, lambda _number, _frame: held.update(hold))
    if unanswered == "none":
        os.write(1, b"mounted\n")
        signal.pause()
    while True:
        request = os.read(connection, 1 << 17)
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        if opcode in held or opcode in {FORGET, BATCH_FORGET, INTERRUPT}:
            continue
        if opcode == LOOKUP:
            time.sleep(delay)
        found = answer(opcode, node, request[40:], content)
        error = 0 if found is not None else -ENOSYS
        words = found or b""
        os.write(connection, struct.pack("<IiQ", 16 + len(words), error, unique) + words)
        if opcode == INIT:
            os.write(1, b"mounted\n")


if __name__ == "__main__":
    main()

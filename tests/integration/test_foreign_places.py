"""Files of language agents that say odd things of themselves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rover.foreign.places import Places
from rover.foreign.walk import identity_of
from rover.foreign.wire import FILE, unpack

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  a tmpfs, which keeps any time
OWN_PID, UID = 7, 0


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        (Path(folder) / str(OWN_PID)).mkdir()
        yield Path(folder)


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 2**40])
def test_a_file_of_any_year_is_told_in_numbers_that_the_agent_takes(place, seconds):
    file = place / str(OWN_PID) / "metadata.properties"
    file.write_text("layer=GENERAL")
    os.utime(file, ns=(0, seconds * 10**9))
    if abs(file.stat().st_mtime_ns) < 2**64 < abs(seconds) * 10**9:
        pytest.skip("this file system keeps no such time")
    told: list[bytes] = []
    root = os.open("/", os.O_PATH)
    identity, namespace = identity_of(root), Path("/proc/self/ns/mnt").stat().st_ino
    os.close(root)
    held = [1, 1, namespace, identity.mount, identity.inode, OWN_PID, UID, os.getpid()]
    Places("/proc", told.append).hold(held, os.fsencode(place))
    word, numbers, content = unpack(told[0])
    assert (word, content) == (FILE, b"layer=GENERAL")
    assert (numbers[4] > 0) is (seconds > 0)

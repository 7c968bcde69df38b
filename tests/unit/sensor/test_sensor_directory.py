"""One directory of language agents: how it is shown, and who stands for it."""

from __future__ import annotations

import pytest

from rover.model import Place, Process, ProcessKey
from rover.sensor.directory import Directory, Seat, java_tmpdir


def directory(tmpdir: str = "/srv") -> Directory:
    return Directory(1, Place(1, 1, 1, tmpdir))


def member(pid: int, uid: int, arguments: bytes = b"", cwd: str = "") -> Process:
    return Process(
        key=ProcessKey(pid, 1), ppid=1, name="p", exe="", arguments=arguments, cwd=cwd, uid=uid,
        cgroup="", pid_namespace=1, mount_namespace=1, namespace_pid=pid, image=0,
    )  # fmt: skip


def test_a_tmpdir_of_any_bytes_is_shown_as_text_that_can_be_told():
    assert directory("/\udcff\udcfeé").shown() == "/\ufffd\ufffdé"
    assert len(directory("/x" * 2_000).shown()) == 200


def enter(place: Directory, pid: int, uid: int) -> None:
    seat = Seat(member(pid, uid), place)
    place.add(seat, (seat,))


def test_of_several_that_share_it_roots_process_stands_for_it():
    shared = directory()
    for pid, uid in ((7, 1000), (8, 0), (9, 65534)):
        enter(shared, pid, uid)
    assert shared.owner().pid == 8
    alone = directory()
    enter(alone, 9, 65534)
    assert alone.owner().pid == 9


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (b"java\0-Djava.io.tmpdir=/a\0-Djava.io.tmpdir=/b/\0-jar\0x", "/b"),
        (b"java\0-Djava.io.tmpdir=temp", "/srv/temp"),
        (b"java\0-Djava.io.tmpdir=/", "/"),
        (b"java\0-Djava.io.tmpdir=/\xff", "/\udcff"),
        (b"java\0-Djava.io.tmpdir=", ""),
        (b"java\0-Djava.io.tmpdir=/" + "\N{OK HAND SIGN}".encode() * 900, ""),
        (b"sh\0-c\0java -Djava.io.tmpdir=/a", ""),
        (b"java", ""),
    ],
)
def test_the_last_directory_that_java_is_given_counts(arguments, found):
    assert java_tmpdir(member(7, 0, arguments, "/srv")) == found

"""One directory of language agents: how it is shown, and who stands for it."""

from __future__ import annotations

from rover.model import Place, Process, ProcessKey
from rover.sensor.directory import Directory, Seat, Watched


def directory(tmpdir: str = "/srv") -> Directory:
    return Directory(1, Place(1, 1, 1, tmpdir))


def member(pid: int, uid: int) -> Process:
    return Process(
        key=ProcessKey(pid, 1), ppid=1, name="p", exe="", arguments=b"", cwd="", uid=uid,
        cgroup="", pid_namespace=1, mount_namespace=1, namespace_pid=pid, image=0,
    )  # fmt: skip


def test_a_tmpdir_of_any_bytes_is_shown_as_text_that_can_be_told():
    assert directory("/\udcff\udcfeé").shown() == "/\ufffd\ufffdé"
    assert len(directory("/x" * 2_000).shown()) == 200


def test_of_several_that_share_it_roots_process_stands_for_it():
    shared = directory()
    for pid, uid in ((7, 1000), (8, 0), (9, 65534)):
        shared.add(Seat(Watched(member(pid, uid)), shared))
    assert shared.owner().pid == 8
    alone = directory()
    alone.add(Seat(Watched(member(9, 65534)), alone))
    assert alone.owner().pid == 9

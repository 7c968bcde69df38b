"""How much one look over all directories may cost."""

from __future__ import annotations

from rover.foreign import wire
from rover.foreign.blame import Blame
from rover.model import Place, Process, ProcessKey
from rover.sensor.watch import Sensor


class LeftOut:
    """Reads of users who are all left out: nothing is sent, and why not is told each time."""

    def __init__(self) -> None:
        self.tried: list[int] = []

    def send(self, word: str, *numbers: int, **_more: object) -> int:
        if word == wire.LIST:
            self.tried.append(numbers[0])
        return 0

    def blame(self, pid: int, uid: int, namespace: int) -> Blame:
        return Blame(pid, uid, namespace)

    def why_late(self, _blame: Blame) -> str:
        return "its user is left out"

    def received(self) -> list[object]:
        return []


def test_directories_whose_users_are_left_out_are_tried_in_turns():
    reads = LeftOut()
    sensor = Sensor(60.0, reads)
    for pid in range(1, 2_001):
        sensor.watch(
            Process(
                key=ProcessKey(pid, 1), ppid=1, name="p", exe="", arguments=b"", cwd="", uid=1000,
                cgroup="", pid_namespace=1, mount_namespace=1, namespace_pid=pid, image=0,
                place=Place(1, 1, 1, f"/own/{pid}"),
            ),
            0.0,
        )  # fmt: skip
    met = set()
    for _ in range(4):
        reads.tried.clear()
        sensor.refresh(0.0)
        assert len(reads.tried) == 512
        met.update(reads.tried)
    assert len(met) == 2_001  # /tmp, which all share, as well

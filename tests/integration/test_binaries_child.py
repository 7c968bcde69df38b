"""The child that reads binaries: its rights, its end, and what holds it up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuse
import pytest
from profiled import ON, counted, sampled
from reporter_rig import process

from bench.rig.profiled import SPLIT_C, built, running
from rover.binaries.reader import ChildLost, GoneError, Reader, ReadError
from rover.profiling.sampling import KernelSampler
from rover.profiling.support import Supports
from rover.profiling.usage import start_ticks

pytestmark = pytest.mark.kernel

MAPS = """
import mmap, os, sys, time
file = os.open(sys.argv[1], os.O_RDONLY)
kept = mmap.mmap(file, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
print("mapped", flush=True)
while 1: sum(range(1000))
"""


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader(answer_s=3)
    yield made
    made.close()


@pytest.fixture
def sleeper() -> Iterator[int]:
    with running("/bin/sleep", "600") as process:
        until = time.monotonic() + 5
        while "sleep" not in Path(f"/proc/{process.pid}/comm").read_text():
            assert time.monotonic() < until
        yield process.pid


def status(pid: int | None, name: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return text.partition(f"{name}:")[2].split("\n")[0].strip()


def test_the_child_keeps_three_capabilities_and_can_start_nothing(reader: Reader, sleeper: int):
    reader.look(sleeper, start_ticks(sleeper))
    kept = int(status(reader.pid, "CapEff"), 16)
    assert kept & ~(1 << 2 | 1 << 19 | 1 << 40) == 0
    assert status(reader.pid, "NoNewPrivs") == "1"
    limits = Path(f"/proc/{reader.pid}/limits").read_text()
    assert "Max processes             0 " in limits
    assert "Max file size             0 " in limits


def test_the_child_ends_with_the_reader(reader: Reader, sleeper: int):
    reader.look(sleeper, start_ticks(sleeper))
    child = reader.pid
    reader.close()
    assert not Path(f"/proc/{child}").exists()


def test_the_child_ends_when_the_agent_is_killed(sleeper: int):
    code = (
        "import sys,time\nfrom rover.binaries.reader import Reader\n"
        f"r = Reader(); r.look({sleeper}, {start_ticks(sleeper)}); print(r.pid, flush=True)\n"
        "time.sleep(600)"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert agent.stdout
    child = int(agent.stdout.readline())
    agent.kill()
    agent.wait()
    agent.stdout.close()
    until = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and status(child, "State")[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.01)


def test_another_process_under_the_same_pid_is_told_apart(reader: Reader, sleeper: int):
    with pytest.raises(GoneError):
        reader.look(sleeper, start_ticks(sleeper) + 1)


def test_a_deleted_executable_still_has_names(tmp_path: Path, reader: Reader):
    program = built(tmp_path, "split", SPLIT_C)
    with running(program) as process:
        generation, mappings = reader.look(process.pid, start_ticks(process.pid))
        said = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
        offset = next(int(line.split()[0], 16) for line in said.splitlines() if " heavy" in line)
        program.unlink()
        assert reader.names(process.pid, generation, [mappings[0].bias + offset]) == ["heavy"]


def test_names_are_told_of_a_process_that_has_ended(tmp_path: Path, reader: Reader):
    with running(built(tmp_path, "split", SPLIT_C)) as process:
        generation, mappings = reader.look(process.pid, start_ticks(process.pid))
    first = mappings[0].start
    assert reader.names(process.pid, generation, [first + 0x70]) != ["[unknown]"]


def test_ten_thousand_addresses_are_named_in_moments(reader: Reader):
    with running("/usr/bin/python3", "-c", "import time; time.sleep(600)") as process:
        time.sleep(0.5)
        generation, mappings = reader.look(process.pid, start_ticks(process.pid))
        largest = max(mappings, key=lambda each: each.end - each.start)
        step = (largest.end - largest.start) // 10_000
        asked = [largest.start + at * step for at in range(10_000)]
        began = time.monotonic()
        names = reader.names(process.pid, generation, asked)
        assert time.monotonic() - began < 3  # 0.1 s where the machine is idle
        assert len(names) == 10_000


def test_a_file_that_never_answers_costs_its_process_alone(tmp_path: Path):
    place = tmp_path / "mount"
    place.mkdir()
    sampler = KernelSampler(reader=Reader(answer_s=1))
    program = built(tmp_path, "split", SPLIT_C)
    with (
        fuse.mounted(place, str(fuse.READ)),
        running(program) as good,
        subprocess.Popen(
            [sys.executable, "-c", MAPS, place / "file"], stdout=subprocess.PIPE
        ) as bad,
    ):
        try:
            assert bad.stdout
            assert bad.stdout.readline() == b"mapped\n"
            assert sampler.follow({good.pid: ON}) == {}
            refused = sampler.follow({good.pid: ON, bad.pid: ON})
            assert "held up" in refused[bad.pid]
            assert set(refused) == {bad.pid}
            began = time.monotonic()
            assert bad.pid in sampler.follow({good.pid: ON, bad.pid: ON})
            assert time.monotonic() - began < 0.9  # it is left alone for a while
            known = counted(sampler.counts(), "heavy", "work", "main")
            sampled(sampler, good.pid, lambda found: counted(found, "heavy", "main") > known + 20)
        finally:
            sampler.close()
            bad.kill()


def test_while_the_agent_ends_an_answer_is_not_waited_for_long(sleeper: int):
    ending: list[bool] = []
    reader = Reader(answer_s=30, hurried=lambda: bool(ending))
    reader.look(sleeper, start_ticks(sleeper))
    held = reader.pid
    assert held is not None
    os.kill(held, signal.SIGSTOP)
    ending.append(True)
    began = time.monotonic()
    with pytest.raises(ChildLost):
        reader.look(sleeper, start_ticks(sleeper))
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{held}").exists()
    reader.close()


def test_rows_that_were_prepared_are_those_that_are_read_without(reader: Reader):
    with running("/usr/bin/python3", "-c", "while 1: sum(range(1000))") as process:
        while b"libc" not in Path(f"/proc/{process.pid}/maps").read_bytes():
            assert process.poll() is None
        time.sleep(0.2)
        ticks = start_ticks(process.pid)

        def rows() -> list[bytes]:
            images = {each.image for each in reader.look(process.pid, ticks)[1] if each.image > 1}
            return [b"".join(reader.rows(image)[1]) for image in sorted(images)]

        reader.prepare(process.pid, ticks)
        prepared = rows()
        assert sum(map(len, prepared)) > 50_000 * 8
        assert prepared == rows()


def test_a_process_that_has_ended_is_not_prepared(reader: Reader, sleeper: int):
    with pytest.raises(GoneError):
        reader.prepare(sleeper, start_ticks(sleeper) + 1)


def test_a_child_that_dies_is_replaced(tmp_path: Path):
    sampler = KernelSampler(reader=(reader := Reader()))
    with running(built(tmp_path, "split", SPLIT_C)) as process:
        try:
            sampler.follow({process.pid: ON})
            sampled(sampler, process.pid, lambda found: counted(found, "heavy", "main") > 10)
            assert reader.pid
            os.kill(reader.pid, signal.SIGKILL)
            with pytest.raises(ChildLost):
                reader.look(process.pid, start_ticks(process.pid))
            known = counted(sampler.counts(), "heavy", "work", "main", "_start")
            sampled(
                sampler,
                process.pid,
                lambda found: counted(found, "heavy", "work", "main", "_start") > known + 30,
            )
        finally:
            sampler.close()


def test_a_perf_map_of_another_user_and_a_pipe_in_its_place_are_left_alone(reader: Reader):
    with running("/bin/sleep", "600", user=65534) as process:
        path = Path("/", "tmp", f"perf-{process.pid}.map")
        os.mkfifo(path)
        try:
            generation, _ = reader.look(process.pid, start_ticks(process.pid))
            assert reader.names(process.pid, generation, [0x1234]) == ["[unknown]"]
        finally:
            path.unlink()
        path.write_text("1234 10 forged\n")
        os.chown(path, 1234, 1234)
        try:
            reader.look(process.pid, start_ticks(process.pid))
            assert reader.names(process.pid, generation, [0x1234]) == ["[unknown]"]
            os.chown(path, 65534, 65534)
            reader.look(process.pid, start_ticks(process.pid))
            assert reader.names(process.pid, generation, [0x1234]) == ["forged"]
        finally:
            path.unlink()


def test_a_perf_map_that_a_former_process_has_left_is_left_alone(reader: Reader, sleeper: int):
    path = Path("/", "tmp", f"perf-{sleeper}.map")
    path.write_text("1234 10 former\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    try:
        generation, _ = reader.look(sleeper, start_ticks(sleeper))
        assert reader.names(sleeper, generation, [0x1234]) == ["[unknown]"]
        path.write_text("1234 10 present\n")
        reader.look(sleeper, start_ticks(sleeper))
        assert reader.names(sleeper, generation, [0x1234]) == ["present"]
    finally:
        path.unlink()


def test_a_perf_map_in_the_place_of_another_is_read(reader: Reader, sleeper: int):
    path = Path("/", "tmp", f"perf-{sleeper}.map")
    try:
        for name in ("first", "second"):
            path.unlink(missing_ok=True)
            path.write_text(f"1234 10 {name}\n")
            generation, _ = reader.look(sleeper, start_ticks(sleeper))
            assert reader.names(sleeper, generation, [0x1234]) == [name]
        path.unlink()  # nothing is there to be read in its place
        reader.look(sleeper, start_ticks(sleeper))
        assert reader.names(sleeper, generation, [0x1234]) == ["second"]
    finally:
        path.unlink(missing_ok=True)


def supported(reader: Reader, pid: int) -> dict[str, Any]:
    """What the child says, with its reason."""
    return reader._ask(None, ["supports", pid])[0]


def test_executables_are_judged_by_what_they_are(tmp_path: Path, reader: Reader):
    (tmp_path / "a.c").write_text("int main(void){for(;;)__builtin_ia32_pause();}")
    subprocess.run(["gcc", "-static", "-o", tmp_path / "java", tmp_path / "a.c"], check=True)
    with running(tmp_path / "java") as process:
        assert supported(reader, process.pid)["supports"]
    subprocess.run(["strip", "-o", tmp_path / "bare", tmp_path / "java"], check=True)
    with running(tmp_path / "bare") as process:
        told = supported(reader, process.pid)
        assert not told["supports"]
        assert "stripped" in told["why"]


def test_what_cannot_be_read_is_told_to_be_supported(sleeper: int):
    judge = Supports()
    try:
        assert judge.supports_profiling([process(2**22 - 1), process(sleeper)]) == [True, True]
    finally:
        judge.close()


def test_a_question_with_a_defect_is_answered(reader: Reader, sleeper: int):
    reader.look(sleeper, start_ticks(sleeper))
    with pytest.raises(ReadError):
        reader._ask(None, ["no such question"])
    assert reader.started == 1

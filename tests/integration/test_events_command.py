"""`rover events`: what happens, as it happens, from a running agent."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import census_rig
import pytest
import stories
from agent_rig import BY_PID, ROVER, running
from captured import WAYS, agrees, shown
from status_rig import Fake, serving

from rover.backend import EmbeddedBackend
from rover.status.client import ask

Spawn = Callable[..., "subprocess.Popen[bytes]"]
NOTHING = {
    "uid": 0, "name": "", "command_line": "", "layer": "", "service": "", "instance": "",
    "process": "", "container": "", "namespace": "", "pod": "",
}  # fmt: skip
AT = 1_795_000_000.25
HAPPENED = [
    NOTHING | {
        "number": 1, "at": AT, "kind": "exec", "pid": 4711, "name": "java",
        "command_line": "java -jar app.jar --db-password=*** " + "-Dx=y " * 20,
        "service": "cart-with-a-long-name.shop", "process": "java", "container": "app",
        "namespace": "shop", "pod": "cart-7f",
    },
    NOTHING | {
        "number": 2, "at": AT + 0.1, "kind": "appeared", "pid": 4711, "name": "java",
        "command_line": "java -jar app.jar", "service": "cart-with-a-long-name.shop",
        "process": "java", "container": "app", "namespace": "shop", "pod": "cart-7f",
    },
    NOTHING | {
        "number": 3, "at": AT + 1, "kind": "fork", "pid": 1_234_567, "name": "\x1b[2Jsh",
        "container": "ab" * 6,
    },
    NOTHING | {
        "number": 4, "at": AT + 2, "kind": "withdrawn", "pid": 0, "service": "other",
        "process": "nginx",
    },
]  # fmt: skip


class Told(Fake):
    """Has four events, after some that were missed."""

    def events(self, after: int | None) -> dict[str, Any]:
        if after is None:
            return {"events": [], "after": 0, "lost": 0}
        told = [each for each in HAPPENED if each["number"] > after]
        return {"events": told, "after": 4, "lost": 12 if after == 0 else 0}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    tmp_path.chmod(0o700)
    with serving(tmp_path, "", Told()):
        yield tmp_path


def events(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROVER, "events", "--state-dir", folder, *options],
        capture_output=True, text=True, check=False, timeout=30,
        env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_it_fits_every_terminal(agent: Path, way: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    text = shown(ROVER, "events", "--count", "4", "--state-dir", agent, way=way)
    agrees(f"events-{way}", text)


def test_as_json_each_event_is_a_line_and_so_is_what_was_missed(agent: Path):
    done = events(agent, "-o", "json", "--count", "4")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines == [{"kind": "lost", "count": 12}, *HAPPENED]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--kind", "exec", "--kind", "fork"), [1, 3]),
        (("--pid", "4711"), [1, 2]),
        (("--service", "cart*"), [1, 2]),
        (("--namespace", "shop", "--kind", "appeared"), [2]),
        (("--container", "app"), [1, 2]),
        (("--container", "ab" * 32), [3]),
        (("--container", "abab"), [3]),
        (("--count", "1"), [1]),
    ],
)
def test_events_are_chosen(agent: Path, options: tuple[str, ...], numbers: list[int]):
    done = events(agent, "-o", "json", "--for", "0.6", *options)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["number"] for each in told if each["kind"] != "lost"] == numbers
    assert done.returncode == 0


def test_a_reader_that_has_had_enough_ends_it_without_a_word(agent: Path):
    done = subprocess.run(
        ["sh", "-c", f"{ROVER} events --state-dir {agent} | head -n 1"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.stdout.startswith("TIME")
    assert done.stderr == ""


def test_a_reader_that_goes_while_nothing_happens_ends_it(agent: Path):
    command = [ROVER, "events", "--state-dir", agent, "-o", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    with process:
        try:
            for _ in range(1 + len(HAPPENED)):
                assert process.stdout.readline()
            process.stdout.close()
            assert process.wait(20) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()


def test_without_an_agent_it_ends_with_1(tmp_path: Path):
    done = events(tmp_path)
    assert done.returncode == 1
    assert "no agent runs with the state directory" in done.stderr


def test_a_wrong_number_is_refused(agent: Path):
    assert ask(agent, "/events?after=x").status == 400


@contextlib.contextmanager
def listening(folder: Path, state: Path, *options: str) -> Iterator[Path]:
    """Follow the events of an agent until the end of the block, into a file."""
    file = folder / "events"
    with file.open("wb") as sink:
        listener = subprocess.Popen(
            [ROVER, "events", "-o", "json", "--state-dir", state, *options],
            stdout=sink, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield file
    finally:
        listener.send_signal(signal.SIGINT)
        assert listener.wait(10) == 0


def wait_until_heard(file: Path, spawn: Spawn) -> None:
    """Start processes until one of them is told of."""
    for _ in range(30):
        pid = spawn("/bin/sleep", "60").pid
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            if told_of(file, pid):
                return
            time.sleep(0.05)
    pytest.fail(f"no event is told: {file.read_text()!r}")


def told_of(file: Path, pid: int) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
    return [each for each in lines if each.get("pid") == pid]


@pytest.mark.kernel
def test_the_life_of_a_process_is_told_by_a_running_agent(
    tmp_path: Path, spawn: Spawn, eventually: Callable
):
    with EmbeddedBackend() as backend, running(backend, tmp_path, config=BY_PID) as agent:
        agent.wait_for(os.getpid(), 30)
        with listening(tmp_path, agent.state) as file:
            wait_until_heard(file, spawn)
            child = spawn("/bin/sh", "-c", "sleep 61; : --password=hunter2")
            eventually(lambda: "appeared" in {e["kind"] for e in told_of(file, child.pid)}, 10)
            child.kill()
            child.wait()
            eventually(lambda: "exit" in {e["kind"] for e in told_of(file, child.pid)}, 10)
            kinds = [each["kind"] for each in told_of(file, child.pid)]
            assert kinds == ["exec", "appeared", "exit"]
            withdrawn = f'"withdrawn".*-{child.pid}"'
            eventually(lambda: re.search(withdrawn, file.read_text()), 10)
            assert stories.HUNTED not in file.read_text()
        figures = ask(agent.state, "/metrics").body.decode()
        assert "rover_lost_feed_events_total 0.0" in figures


@pytest.mark.kernel
def test_a_fork_that_runs_on_is_told(tmp_path: Path, spawn: Spawn, eventually: Callable):
    with EmbeddedBackend() as backend, running(backend, tmp_path, config=BY_PID) as agent:
        agent.wait_for(os.getpid(), 30)
        with listening(tmp_path, agent.state, "--kind", "fork") as file:
            script = (
                "import os, time\nwhile True:\n    os.fork() or (time.sleep(60), os._exit(0))\n"
            )
            script += "    time.sleep(1)\n"
            parent = spawn("/usr/bin/python3", "-c", script, start_new_session=True)
            try:
                eventually(lambda: '"fork"' in file.read_text(), 15)
            finally:
                os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.kernel
def test_without_ebpf_scans_find_and_miss_processes(spawn: Spawn, eventually: Callable):
    with census_rig.running(ebpf=False) as rig:
        feed = rig.discovery._census.feed
        after = feed.hear(None).after
        child = spawn("/bin/sleep", "60")
        eventually(lambda: _kinds(feed, after, child.pid) >= {"found", "appeared"}, 15)
        child.kill()
        child.wait()
        eventually(lambda: "gone" in _kinds(feed, after, child.pid), 15)


def _kinds(feed: Any, after: int, pid: int) -> set[str]:
    return {event.kind.value for event in feed.hear(after).events if event.pid == pid}

"""`rover explain`: a process's whole way, from a running agent or from a scan."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stories
from agent_rig import BY_PID, ROVER, running
from captured import WAYS, agrees, shown
from status_rig import Fake, serving
from stories import IN_POD, LISTED, ON_HOST, SERVICE, YOUNGER, cluster, host, regex, told

from rover.backend import EmbeddedBackend
from rover.explain.question import Question
from rover.k8s.records import PodsListed
from rover.status.client import ask

Spawn = Callable[..., "subprocess.Popen[bytes]"]
AGENT_SECONDS = 0.2
"""Of an answer, at most."""

STORIES = {
    "host": told(host(), ON_HOST),
    "follower": told(host(regex("nginx"), regex("java")), YOUNGER, ON_HOST),
    "pod": told(cluster(PodsListed((stories.MESH,)), SERVICE), IN_POD),
    "ignored": told(host(ignore=("sleep", "app.jar")), ON_HOST),
    "no-service": told(cluster(PodsListed((stories.MESH,)), namespaces=("shop",)), IN_POD),
    "unknown": told(cluster(*LISTED), stories.process(cgroup=stories.in_pod(stories.OTHER, "u9"))),
}


class Told(Fake):
    def __init__(self, story: dict[str, Any]) -> None:
        super().__init__()
        self.story = story
        self.asked: list[Question] = []

    def explain(self, question: Question) -> dict[str, Any]:
        self.asked.append(question)
        return self.story


@pytest.fixture(params=STORIES)
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    tmp_path.chmod(0o700)
    with serving(tmp_path, "", Told(STORIES[request.param])):
        yield request.param, tmp_path


def explain(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROVER, "explain", "--state-dir", folder, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_story_fits_every_terminal(agent: tuple[str, Path], way: str):
    name, folder = agent
    text = shown(ROVER, "explain", "42", "--state-dir", folder, way=way)
    agrees(f"explain-{name}-{way}", text)
    assert stories.HUNTED not in text


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("4711",), Question(pid=4711)),
        (("--container", "containerd://" + "ab" * 32), Question(container="ab" * 32)),
        (("--container", "abcdef"), Question(container="abcdef")),
        (("--pod", "shop/cart-7f"), Question(pod=("shop", "cart-7f"))),
    ],
)
def test_it_is_asked_by_pid_container_and_pod(tmp_path: Path, arguments: tuple, asked: Question):
    tmp_path.chmod(0o700)
    answers = Told(STORIES["host"])
    with serving(tmp_path, "", answers):
        done = explain(tmp_path, *arguments, "-o", "json")
    assert answers.asked == [asked]
    assert json.loads(done.stdout)["processes"][0]["pid"] == 42


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "ask for a pid, a container or a pod"),
        (("1", "--pod", "a/b"), "and for one of them"),
        (("0",), "is no pid"),
        (("x",), "is no pid"),
        (("--container", "nginx"), "is no container id"),
        (("--pod", "cart"), "write NAMESPACE/NAME"),
    ],
)
def test_what_is_no_question_is_told(tmp_path: Path, arguments: tuple, message: str):
    done = explain(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_over_the_socket_a_wrong_question_is_400_and_an_unknown_process_404(tmp_path: Path):
    tmp_path.chmod(0o700)
    with serving(tmp_path, ""):
        assert ask(tmp_path, "/explain?pid=x").status == 400
        assert ask(tmp_path, "/explain").status == 400
        assert ask(tmp_path, "/explain?pid=5").status == 404


def test_without_an_agent_a_scan_tells_and_says_so(tmp_path: Path, spawn: Spawn):
    file = tmp_path / "rover.yaml"
    file.write_text("process_discovery:\n  ignore:\n    - 'sleep 64[.]5'\n")
    child = spawn("/bin/sleep", "64.5")
    done = explain(tmp_path, child.pid, "--config", file)
    assert done.returncode == 0
    assert "no agent runs with the state directory" in done.stderr
    assert "verdict     matches an ignore rule" in done.stdout
    assert f"the line: process_discovery.ignore (set by {file}:3)" in done.stdout


def test_of_a_thread_its_process_is_named(tmp_path: Path):
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        done = explain(tmp_path, thread.native_id)
    finally:
        over.set()
        thread.join()
    assert f"it is a thread of process {os.getpid()}" in done.stderr


def test_of_no_process_that_is_said(tmp_path: Path):
    done = explain(tmp_path, 4_194_303)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no such process in /proc" in done.stderr


@pytest.mark.kernel
def test_a_running_agent_tells_the_whole_way_within_its_time(
    tmp_path: Path, spawn: Spawn, eventually: Callable
):
    beat = "process_discovery:\n  heartbeat_period: 1s\n"
    config = BY_PID.replace("process_discovery:\n", beat) + "  ignore: ['sleep 64[.]75']\n"
    with EmbeddedBackend() as backend, running(backend, tmp_path, config=config) as agent:
        agent.wait_for(os.getpid(), 30)
        mine = f"/explain?pid={os.getpid()}"
        eventually(lambda: agent.ask(mine)["processes"][0]["entities"][0]["beaten_at"], 10)
        (story,) = agent.ask(mine)["processes"]
        (entity,) = story["entities"]
        assert entity["leader"] == os.getpid()
        assert entity["backend"] == "is reported and kept alive"
        assert len(entity["process_id"]) == 64
        assert 0 < entity["answered_at"] <= entity["beaten_at"]
        assert story["remedy"] is None

        ignored = spawn("/bin/sleep", "64.75")
        asked = f"/explain?pid={ignored.pid}"
        eventually(lambda: "processes" in agent.ask(asked), 10)
        (story,) = agent.ask(asked)["processes"]
        assert story["reason"] == "matches an ignore rule"
        assert re.fullmatch(r".*/rover\.yaml:\d+", story["remedy"]["where"])

        before = cpu_seconds(agent.pid)
        for _ in range(20):
            agent.ask(mine)
        assert (cpu_seconds(agent.pid) - before) / 20 < AGENT_SECONDS
        text = explain(agent.state, os.getpid()).stdout
        assert "last report" in text
        assert "last beat" in text
        assert "no agent runs" not in text


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

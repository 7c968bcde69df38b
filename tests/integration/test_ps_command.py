"""`rover ps`: what the running agent knows, chosen and fitted to a terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stories
from agent_rig import ROVER, running
from captured import WAYS, agrees, shown, without_times
from status_rig import NOBODY, Fake, serving
from stories import IN_POD, LISTED, ON_HOST, YOUNGER, Known, cluster, host, in_pod, kept, process

from rover.backend import EmbeddedBackend
from rover.explain.entities import listed
from rover.model import Reason
from rover.reporter.state import EntityState, Standing
from rover.table import Why

SIDECAR = process(60, cgroup=in_pod(stories.OTHER), name="envoy", command_line="envoy -c x")
LONG = process(
    1_234_567,
    name="java",
    exe="/usr/bin/java",
    cgroup="0::/system.slice/a-service-with-quite-a-long-name.service\n",
    command_line="java " + "-Dsomething=else " * 20,
)


def rows() -> list[dict[str, Any]]:
    judge = cluster(*LISTED, ignore=("envoy",), outside=host(ignore=("postgres",)))
    postgres = replace(
        ON_HOST, key=ON_HOST.key._replace(pid=77), arguments=b"postgres", redacted=None
    )
    host_one = replace(ON_HOST, key=ON_HOST.key._replace(pid=900))
    known = Known(judge, IN_POD, SIDECAR, postgres, host_one, YOUNGER, LONG)
    thread = Why(process(2, name="kthreadd", command_line=""), Reason.KERNEL_THREAD, "", (), ())
    whys = [thread, *(known.table.why(pid) for pid in sorted(known.table.pids()))]

    def standing(key: Any) -> EntityState:
        if key.service == "a-service-with-quite-a-long-name":
            return EntityState(Standing.REFUSED, "", "INVALID_ARGUMENT: no")
        return kept(key)

    return [listed(why, standing) for why in whys]


class Told(Fake):
    def processes(self) -> list[dict[str, Any]]:
        return rows()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    tmp_path.chmod(0o700)
    with serving(tmp_path, "", Told()):
        yield tmp_path


def ps(folder: Path, *arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROVER, "ps", "--state-dir", folder, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60, **more,
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", ["table", "wide"])
def test_it_fits_every_terminal(agent: Path, way: str, output: str):
    text = shown(ROVER, "ps", "-o", output, "--state-dir", agent, way=way)
    agrees(f"ps-{output}-{way}", text)
    assert stories.HUNTED not in text


@pytest.mark.parametrize("way", ["80x24", "140x40"])
def test_watched_it_is_drawn_in_place(agent: Path, way: str):
    text = shown(ROVER, "ps", "--watch", "--state-dir", agent, way=way, until="Ctrl-C ends")
    agrees(f"ps-watch-{way}", text)


@pytest.mark.parametrize("way", ["dumb", "pipe"])
def test_watched_where_no_cursor_moves_each_look_follows_the_other_with_its_time(
    agent: Path, way: str
):
    text = shown(
        ROVER, "ps", "--watch", "--every", "0.5", "--state-dir", agent, way=way,
        until=r"(?s)(PID.*?1234567[^\n]*\s.*?){2}",
    )  # fmt: skip
    agrees(f"ps-watch-{way}", without_times(text))


def test_watched_names_have_nothing_between_two_looks(agent: Path):
    text = shown(
        ROVER, "ps", "--watch", "--every", "0.5", "-o", "name", "--service", "cart",
        "--state-dir", agent, way="pipe", until=r"(.+\n){2}",
    )  # fmt: skip
    assert text.split() == ["OS_LINUX/cart/node-1/python3.11"] * 2


def test_watched_it_ends_once_its_reader_is_gone_though_there_is_nothing_to_write(agent: Path):
    nobody = [ROVER, "ps", "--watch", "--every", "600", "-o", "name", "--service", "nobody"]
    with subprocess.Popen([*nobody, "--state-dir", agent], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.close()
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_watched_for_programs_it_says_once_on_standard_error_that_it_scans(tmp_path: Path):
    text = shown(
        ROVER, "ps", str(os.getpid()), "--watch", "--every", "0.5", "-o", "name", "--state-dir",
        tmp_path, way="pipe", until=r"(?s)(OS_LINUX/.*?\n){3}",
    )  # fmt: skip
    assert text.count("scanning instead") == 1


def test_watched_it_says_above_when_it_scans_for_want_of_an_agent(tmp_path: Path):
    text = shown(
        ROVER, "ps", str(os.getpid()), "--watch", "--state-dir", tmp_path, way="80x24",
        until="Ctrl-C ends",
    )  # fmt: skip
    assert text.startswith("no agent runs with the state directory")
    assert "scanning instead" in text
    assert re.search(rf"(?m)^{os.getpid()} ", text)


@pytest.mark.parametrize(
    ("options", "pids"),
    [
        ((), {42, 60, 77, 900, 4711, 1_234_567}),
        (("--all",), {2, 42, 60, 77, 900, 4711, 1_234_567}),
        (("--service", "cart"), {900, 4711}),
        (("--service", "w*"), {42}),
        (("--service", "cart", "--service", "w*"), {42, 900, 4711}),
        (("--namespace", "default"), {42}),
        (("--container", "app"), {42}),
        (("--container", stories.ID[:8]), {42}),
        (("--container", stories.OTHER[:12]), {60}),
        (("--reason", "ignored"), {77}),
        (("--reason", "follows"), {4711}),
        (("--reason", "kernel-thread"), {2}),
        (("--reason", "reported", "--service", "cart"), {900}),
        (("900", "2"), {900, 2}),
        (("--service", "none"), set()),
    ],
)
def test_processes_are_chosen(agent: Path, options: tuple, pids: set[int]):
    done = ps(agent, "-o", "json", *options)
    assert done.returncode == 0
    assert {each["pid"] for each in json.loads(done.stdout)} == pids


def test_names_are_one_a_line_and_each_once(agent: Path):
    assert (
        ps(agent, "-o", "name", "--service", "cart").stdout == "OS_LINUX/cart/node-1/python3.11\n"
    )


def test_json_is_whole_where_the_terminals_encoding_has_few_letters(tmp_path: Path):
    tmp_path.chmod(0o700)
    answers = Told()
    answers.processes = lambda: [{**rows()[1], "name": "caf\u00e9"}]
    with serving(tmp_path, "", answers):
        done = ps(tmp_path, "-o", "json", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert [each["name"] for each in json.loads(done.stdout)] == ["caf\u00e9"]


def test_a_pid_that_is_not_there_ends_with_1(agent: Path):
    done = ps(agent, "43")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no process has pid 43" in done.stderr


def test_a_scan_is_made_where_it_is_asked_for(agent: Path):
    found = json.loads(ps(agent, "--scan", "-o", "json", os.getpid()).stdout)
    assert [each["pid"] for each in found] == [os.getpid()]


def test_who_may_not_ask_the_agent_sees_what_the_kernel_shows_him(agent: Path):
    done = ps(agent, "-o", "json", user=NOBODY, group=NOBODY, extra_groups=[])
    assert done.returncode == 0
    assert "is for root and the agent's own user alone" in done.stderr
    assert os.getpid() in {each["pid"] for each in json.loads(done.stdout)}
    assert 1_234_567 not in {each["pid"] for each in json.loads(done.stdout)}


@pytest.mark.kernel
def test_a_running_agent_tells_of_all_processes(
    tmp_path: Path, spawn: Callable[..., subprocess.Popen[bytes]], eventually: Callable
):
    child = spawn("/bin/sh", "-c", "sleep 60; : --password=hunter2")
    with EmbeddedBackend() as backend, running(backend, tmp_path) as agent:
        eventually(lambda: agent.state.joinpath("rover.sock").exists(), 20)
        done = ps(agent.state, "-o", "json", "--all")
        assert done.stderr == ""
        found = {each["pid"]: each for each in json.loads(done.stdout)}
        assert found[child.pid]["entities"][0]["process"] == Path("/bin/sh").resolve().name
        assert found[agent.pid]["reason"] == "belongs to the agent itself"
        assert stories.HUNTED not in done.stdout
        if Path("/proc/2/comm").exists():
            assert found[2]["reason"] == "kernel thread"

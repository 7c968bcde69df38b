"""Programs that are attached before anybody asks for them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rover.errors import ProbeError
from rover.probes import programs
from rover.probes.attaching import Attaching

pytestmark = pytest.mark.kernel

ROVER = Path(sys.executable).with_name("rover")


def never() -> bool:
    return False


def bpf_descriptors() -> int:
    links = []
    for place in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(place.readlink()))
    return sum("bpf" in link for link in links)


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def test_they_are_told_of_once_they_are_attached_and_handed_over(caplog, eventually):
    attaching = Attaching(programs.begin(), never)
    eventually(lambda: "probes attached" in caplog.text, within=60)
    loaded = attaching.result()
    attaching.abandon()
    assert bpf_descriptors(), "they are the caller's"
    loaded.close()
    assert bpf_descriptors() == 0


def test_those_that_nobody_takes_are_detached(caplog, eventually):
    attaching = Attaching(programs.begin(), never)
    eventually(lambda: "probes attached" in caplog.text, within=60)
    attaching.abandon()
    attaching.abandon()
    assert bpf_descriptors() == 0


def test_abandoned_meanwhile_the_child_ends_and_why_is_told():
    loading = programs.begin()
    attaching = Attaching(loading, never)
    attaching.abandon()
    with pytest.raises(ProbeError, match="without an answer"):
        attaching.result()
    assert bpf_descriptors() == 0


def test_given_up_is_told_as_that():
    attaching = Attaching(programs.begin(), lambda: True)
    with pytest.raises(ProbeError, match="given up"):
        attaching.result()


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--set=core.nothing=1"], ["--help"]])
def test_a_command_that_does_not_start_an_agent_leaves_no_loader(tmp_path, arguments):
    run = subprocess.run(
        [ROVER, "start", "--state-dir", tmp_path, *arguments],
        capture_output=True, text=True, timeout=60, check=False, start_new_session=True,
    )  # fmt: skip
    assert run.returncode == (0 if arguments == ["--help"] else 2), run.stderr
    assert "Traceback" not in run.stderr
    assert not _with(str(tmp_path))


def test_ended_while_the_agent_is_imported_no_loader_is_left(tmp_path, eventually):
    process = subprocess.Popen([ROVER, "start", "--state-dir", tmp_path], stderr=subprocess.DEVNULL)
    loader = eventually(lambda: _children(process.pid))
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    eventually(lambda: not any(Path("/proc", child).exists() for child in loader))


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def _with(text: str) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found

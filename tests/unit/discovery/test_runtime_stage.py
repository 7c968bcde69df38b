"""What a container runtime does before it becomes the container's program."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rover.discovery.runtime_stage import LONGEST_S, is_runtime_stage
from rover.model import Process, ProcessKey

CONTAINER = f"0::/kubepods.slice/cri-containerd-{'a' * 64}.scope"
PODMAN = f"0::/machine.slice/libpod-{'b' * 64}.scope"
MONITOR = f"0::/machine.slice/libpod-conmon-{'b' * 64}.scope"
HOST = "0::/system.slice/containerd.service"


def process(
    name: str, exe: str, command_line: str, cgroup: str, namespace_pid: int = 4242
) -> Process:
    return Process(
        key=ProcessKey(4242, 1), ppid=1, name=name, exe=exe, cwd="/",
        arguments=command_line.replace(" ", "\0").encode(),
        uid=0, cgroup=cgroup, pid_namespace=2, mount_namespace=2, image=0,
        namespace_pid=namespace_pid,
    )  # fmt: skip


@pytest.mark.parametrize(
    "stage",
    [
        # as runc 1.1 shows itself: from a file that is mounted nowhere
        process("runc:[2:INIT]", "/", "runc init", CONTAINER),
        process("runc:[2:INIT]", "/memfd:runc_cloned:/proc/self/exe", "runc init", CONTAINER),
        process("runc:[2:INIT]", "/", "/usr/bin/runc init", PODMAN),
        process("runc:[1:CHILD]", "/usr/sbin/runc", "runc init", HOST),
        process("exe", "/usr/sbin/runc", "runc init", HOST),
        process("exe", "/", "runc init", HOST),
        process("6", "/memfd:runc_cloned:/proc/self/exe", "/usr/bin/runc init", PODMAN),
        process("6", "/", "/usr/bin/runc init", PODMAN),
        process("youki:[2:INIT]", "/usr/bin/youki", "youki create x", CONTAINER),
        process("3", "/", "/usr/bin/crun create x", HOST, namespace_pid=1),
        process("3", "/", "crun create x", PODMAN),
        process("3", "/memfd:crun_cloned:/proc/self/exe", "/usr/bin/crun create x", PODMAN),
        process("crun", "/usr/bin/crun", "/usr/bin/crun create x", PODMAN),
        process("crun", "/usr/bin/crun", "/usr/bin/crun create x", HOST, namespace_pid=1),
    ],
    ids=[
        *(
            "runc",
            "runc from memory",
            "runc by its path",
            "runc's child",
            "runc before it has its name",
            "runc from nowhere before it has its name",
            "runc from memory before it has its name",
            "runc from nowhere by a descriptor",
            "youki",
            "crun from nowhere before it has its cgroup",
            "crun from nowhere",
            "crun from memory",
            "crun",
        ),
        "crun before it has its cgroup",
    ],
)
def test_a_runtimes_stage_is_told_by_what_it_is(stage: Process):
    assert is_runtime_stage(stage, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        process("runc", "/usr/sbin/runc", "runc create x", HOST),
        process("crun", "/usr/bin/crun", "crun run x", HOST),
        process("crun", "/usr/bin/crun", "crun create x", MONITOR),
        process("3", "/", "crun create x", HOST),
        process("app", "/", "/app --by crun", CONTAINER, namespace_pid=1),
        process("sh", "/bin/sh", "sh -c runc init", CONTAINER),
        process("runc:[2:INIT]", "/app/server", "/app/server", CONTAINER),
    ],
    ids=[
        "runc",
        "crun",
        "crun of a monitor",
        "crun on the host",
        "an executable from nowhere",
        "a shell",
        "a program of that name",
    ],
)
def test_what_is_no_stage_is_a_process_like_any_other(other: Process):
    assert not is_runtime_stage(other, 1.0)


def test_the_program_that_it_becomes_is_no_stage():
    stage = process("runc:[2:INIT]", "/", "runc init", CONTAINER)
    assert not is_runtime_stage(replace(stage, name="nginx", exe="/nginx", arguments=b"nginx"), 1.0)


def test_nobody_hides_behind_the_name_of_a_stage_for_long():
    hidden = process("youki:[2:INIT]", "/srv/miner", "miner", CONTAINER)
    assert is_runtime_stage(hidden, LONGEST_S - 1)
    assert not is_runtime_stage(hidden, LONGEST_S + 1)

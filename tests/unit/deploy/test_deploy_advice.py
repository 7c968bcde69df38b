"""What the agent advises where rights are missing, for kernels and hosts that are not this one."""

from __future__ import annotations

import errno

import pytest

from rover.capabilities import LOOK_INTO_ANY_PROCESS, READ_ANY_FILE, hidepid, remedy
from rover.probes.refusals import missing_capabilities, policy

BPF, PERFMON, SYS_RESOURCE, SYS_ADMIN, SYS_PTRACE = 1 << 39, 1 << 38, 1 << 24, 1 << 21, 1 << 19
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2
LINUX_5_10, LINUX_5_11 = 0x050A00, 0x050B00
ANY_MEMORY, SOME_MEMORY = -1, 65_536


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        (0, ["PERFMON", "BPF"]),
        (BPF, ["PERFMON"]),
        (PERFMON, ["BPF"]),
        (BPF | PERFMON, []),
        (SYS_ADMIN, []),
    ],
)
def test_tracing_takes_two_capabilities_or_the_one_that_stands_for_them(
    effective: int, missing: list[str]
):
    assert missing_capabilities(effective, LINUX_5_11, SOME_MEMORY) == missing


@pytest.mark.parametrize(
    ("kernel", "memory", "also", "missing"),
    [
        (LINUX_5_10, SOME_MEMORY, 0, ["SYS_RESOURCE"]),
        (LINUX_5_10, SOME_MEMORY, SYS_RESOURCE, []),
        (LINUX_5_10, ANY_MEMORY, 0, []),
        (LINUX_5_11, SOME_MEMORY, 0, []),
    ],
)
def test_maps_count_as_locked_memory_before_linux_5_11(
    kernel: int, memory: int, also: int, missing: list[str]
):
    assert missing_capabilities(BPF | PERFMON | also, kernel, memory) == missing
    assert missing_capabilities(SYS_ADMIN | also, kernel, memory) == missing


@pytest.mark.parametrize("level", [3, 4])
def test_a_level_that_linux_does_not_know_is_the_distributions(level: int):
    advice = policy({"perf_event_open": errno.EACCES}, level)
    assert f"kernel.perf_event_paranoid is {level}" in advice
    assert "sysctl kernel.perf_event_paranoid=2" in advice


@pytest.mark.parametrize(
    ("forbidden", "level"),
    [
        ({"perf_event_open": errno.EACCES}, 2),
        ({"perf_event_open": errno.EPERM}, 4),
        ({"bpf": errno.EPERM, "perf_event_open": errno.EACCES}, 4),
    ],
)
def test_otherwise_a_profile_forbids_tracing(forbidden: dict[str, int], level: int):
    advice = policy(forbidden, level)
    assert "seccompProfile: {type: Unconfined}" in advice
    assert all(f"{name}(2)" in advice for name in forbidden)


def test_a_system_call_that_is_not_there_may_be_the_kernels_lack():
    assert policy({"bpf": errno.ENOSYS}, 2).endswith("or the kernel has none")


@pytest.mark.parametrize(
    ("effective", "line"),
    [
        (0, "add: [SYS_PTRACE, DAC_READ_SEARCH]"),
        (SYS_PTRACE, "add: [DAC_READ_SEARCH]"),
        (DAC_READ_SEARCH, "add: [SYS_PTRACE]"),
        (DAC_OVERRIDE, "add: [SYS_PTRACE]"),
    ],
)
def test_what_is_kept_back_names_the_capability_that_is_missing(effective: int, line: str):
    said = remedy(effective, LOOK_INTO_ANY_PROCESS, READ_ANY_FILE)
    assert f"securityContext.capabilities.{line}" in said


@pytest.mark.parametrize("also", [DAC_OVERRIDE, DAC_READ_SEARCH])
def test_with_the_capabilities_a_policy_may_keep_it_back(
    also: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    on_a_host = remedy(SYS_PTRACE | also, LOOK_INTO_ANY_PROCESS, READ_ANY_FILE)
    assert "such as AppArmor's or SELinux's, may forbid it" in on_a_host
    assert on_a_host.endswith("the kernel's log may say which")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    in_a_pod = remedy(SYS_PTRACE | also, LOOK_INTO_ANY_PROCESS, READ_ANY_FILE)
    assert "try securityContext.appArmorProfile: {type: Unconfined}" in in_a_pod


MOUNTS = """\
22 27 0:21 / /sys rw,nosuid - sysfs sysfs rw
23 27 0:22 / /proc rw,nosuid - proc proc rw{options}
24 23 0:23 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw,hidepid=9
"""


@pytest.mark.parametrize(
    ("options", "effective", "told"),
    [
        (",hidepid=invisible,gid=4", 0, "hidepid=invisible"),
        (",hidepid=2", DAC_READ_SEARCH, "hidepid=2"),
        (",hidepid=invisible", SYS_PTRACE, ""),
        (",hidepid=off", 0, ""),
        ("", 0, ""),
    ],
)
def test_a_proc_that_hides_processes_is_told_from_its_mount(
    options: str, effective: int, told: str
):
    assert hidepid(MOUNTS.format(options=options), effective) == told


def test_the_mount_that_covers_another_counts():
    covered = MOUNTS.format(options=",hidepid=2") + "25 23 0:24 / /proc rw - proc proc rw\n"
    assert hidepid(covered, 0) == ""

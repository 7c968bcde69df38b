"""Whether /proc is that of the agent's own pid namespace."""

from __future__ import annotations

import pytest

from rover.probes.pid_namespace import shows_own_pids

STATUS = b"Name:\trover\nNgid:\t0\nPid:\t41\nNSpid:%s\nNSpgid:\t9\t1\n"


@pytest.mark.parametrize(
    ("numbers", "pid", "own"),
    [
        (b"\t41", 41, True),
        (b"\t41\t1", 1, False),
        (b"\t7\t7", 7, False),  # the same number in both is chance
        (b"\t41", 1, False),
    ],
)
def test_proc_is_the_agents_own_where_it_has_its_one_number_there(numbers, pid, own):
    assert shows_own_pids(STATUS % numbers, pid) is own


def test_a_kernel_without_pid_namespaces_has_one_alone():
    assert shows_own_pids(b"Name:\trover\nPid:\t41\n", 41)

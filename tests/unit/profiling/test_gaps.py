"""What profiles lack where the agent has not all rights, and what it is told to do."""

from __future__ import annotations

import pytest

from rover.profiling.gaps import first_function, gaps

CHECKPOINT_RESTORE, SYSLOG, SYS_ADMIN = 1 << 40, 1 << 34, 1 << 21
DAC_READ_SEARCH, DAC_OVERRIDE = 1 << 2, 1 << 1
FILES = CHECKPOINT_RESTORE | DAC_READ_SEARCH
SHOWN = b"ffffffff81000000 T startup_64"
HIDDEN = b"0000000000000000 T startup_64"
KERNEL = "kernel's functions"


def lacking(effective: int, first: bytes = SHOWN, restrict: int = 0) -> dict[str, str]:
    return {gap.subject: gap.remedy for gap in gaps(effective, first, restrict)}


def test_with_all_rights_nothing_is_lacking():
    assert lacking(FILES | SYSLOG) == {}


@pytest.mark.parametrize(
    ("effective", "subjects"),
    [
        (DAC_READ_SEARCH, {"mapped files"}),
        (DAC_READ_SEARCH | SYS_ADMIN, set()),
        (CHECKPOINT_RESTORE, {"executables"}),
        (CHECKPOINT_RESTORE | DAC_OVERRIDE, set()),
        (0, {"mapped files", "executables"}),
    ],
)
def test_each_right_to_files_is_asked_for_by_what_is_lost_without_it(
    effective: int, subjects: set[str]
):
    assert lacking(effective).keys() == subjects


def test_the_remedy_is_a_line_for_the_manifest():
    said = lacking(SYSLOG)
    assert "securityContext.capabilities.add: [CHECKPOINT_RESTORE]" in said["mapped files"]
    assert "securityContext.capabilities.add: [DAC_READ_SEARCH]" in said["executables"]


def test_a_kernel_that_shows_its_addresses_asks_for_no_capability():
    assert lacking(FILES, SHOWN) == {}


@pytest.mark.parametrize("first", [HIDDEN, b""])
def test_addresses_that_are_hidden_ask_for_the_capability(first: bytes):
    assert "[SYSLOG]" in lacking(FILES, first, 1)[KERNEL]


def test_where_the_kernel_hides_them_from_everybody_it_is_the_setting_that_is_named():
    said = lacking(FILES | SYSLOG, HIDDEN, 2)[KERNEL]
    assert "sysctl kernel.kptr_restrict=1" in said
    assert "SYSLOG" not in said


def test_with_the_capability_something_else_hides_them():
    assert "a policy of the host" in lacking(FILES | SYSLOG, HIDDEN, 1)[KERNEL]


def test_data_that_lie_at_address_0_say_nothing_of_what_is_hidden():
    lines = [b"0000000000000000 A fixed_percpu_data\n", b"0000000000001000 A cpu_debug_store\n"]
    assert first_function([*lines, SHOWN]) == SHOWN
    assert first_function(lines) == b""

"""Times of a time namespace become the host's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.clock import NANOSECONDS, NS_PER_TICK, boot_offset_ns, host_ticks

ZERO = "monotonic           0         0\nboottime            0         0\n"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (ZERO, 0),
        ("monotonic 0 0\nboottime       864000         0\n", 864_000 * NANOSECONDS),
        ("boottime -2 500000000\nmonotonic 7 0\n", -1_500_000_000),
        ("1 0 0\n7 5 0\n", 5 * NANOSECONDS),
    ],
)
def test_the_offset_of_the_boot_clock_is_read(text, offset):
    assert boot_offset_ns(text) == offset


@pytest.mark.parametrize("text", ["", "monotonic 0 0", "boottime", "boottime x 0"])
def test_what_is_no_such_file_is_refused(text):
    with pytest.raises(ValueError, match=r"boottime|int|unpack"):
        boot_offset_ns(text)


@given(
    started=st.integers(0, 10**9 * NANOSECONDS),
    offset=st.integers(-(10**8), 10**8).map(lambda seconds: seconds * NANOSECONDS),
)
def test_a_start_time_is_the_hosts_whatever_the_offset_even_before_the_namespaces_zero(
    started, offset
):
    shown = (started + offset) % 2**64 // NS_PER_TICK
    assert abs(host_ticks(shown, offset) - started // NS_PER_TICK) <= 1

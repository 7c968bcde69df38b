"""By which names the agent lets itself be asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.status.hosts import is_ours, own_names

NAMES = own_names("node1.example.org", ("metrics.example.net.", "*.rover.svc", ""))


@pytest.mark.parametrize(
    "host",
    [
        "10.1.2.3", "10.1.2.3:9464", "127.0.0.1:9464", "[::1]", "[fd00::1]:9464",
        "[::ffff:10.1.2.3]:9464", "localhost", "localhost:9464", "LOCALHOST.", "node1",
        "Node1.Example.Org:80", "node1.example.org.", "metrics.example.net", "a.rover.svc:9464",
        "a.b.rover.svc", "10.1.2.3:",
    ],
)  # fmt: skip
def test_an_address_and_a_name_of_ours_are_answered(host):
    assert is_ours(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "node1.evil.example", "node1.example.org.evil.example", "rover.svc",
        "xrover.svc", "localhost.evil.example", "10.1.2.3.evil.example", "127.0.0.1.nip.io", "",
        "[::1", "::1]", "[::1].evil.example", "[localhost]", "[10.1.2.3]x", "a b", "localhost:x",
        "localhost:80:80", "user@localhost", "localhost/x", "*.rover.svc", "[fe80::1%eth0]", "*",
    ],
)  # fmt: skip
def test_any_other_is_not(host):
    assert not is_ours(host, NAMES)


@given(st.text())
def test_no_text_is_ours_by_accident(host):
    if is_ours(host, NAMES):
        assert host.isascii()
        assert not set(host) & set("/@ \t\r\n\\")

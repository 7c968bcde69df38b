import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.naming.host_facts import Host, host_name, pick_address


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Network:
    def __init__(self, **interfaces):
        self.interfaces = interfaces
        self.reads = 0

    def __call__(self):
        self.reads += 1
        return dict(self.interfaces)


@pytest.mark.parametrize(
    ("addresses", "version", "expected"),
    [
        (["10.0.0.5", "10.0.0.6"], 4, "10.0.0.5"),
        (["169.254.3.4", "10.0.0.6"], 4, "10.0.0.6"),
        (["169.254.3.4"], 4, "169.254.3.4"),
        (["10.0.0.5", "fe80::1%eth0", "2001:db8::5", "00:16:3e:00:00:01"], 6, "2001:db8::5"),
        (["fe80::1%eth0"], 6, "fe80::1"),
        (["10.0.0.5"], 6, ""),
        (["00:16:3e:00:00:01"], 4, ""),
        ([], 4, ""),
    ],
)
def test_the_primary_routed_address_of_a_version_is_chosen(addresses, version, expected):
    assert pick_address(addresses, version) == expected


@given(st.lists(st.one_of(st.text(), st.ip_addresses().map(str))), st.sampled_from([4, 6]))
def test_whatever_an_interface_holds_the_choice_is_an_address_or_nothing(addresses, version):
    found = pick_address(addresses, version)
    assert found == "" or ipaddress.ip_address(found).version == version


def test_addresses_are_kept_so_that_names_made_of_them_stay():
    network = Network(eth0=["10.0.0.5"])
    host = Host("id", name="h", interfaces=network)
    assert host.ipv4("eth0") == "10.0.0.5"
    network.interfaces["eth0"] = ["10.0.0.9"]
    assert host.ipv4("eth0") == "10.0.0.5"
    assert network.reads == 1


def test_an_address_that_comes_up_later_is_found_without_asking_at_each_process():
    clock, network = Clock(), Network(lo=["127.0.0.1"])
    host = Host("id", name="h", interfaces=network, clock=clock)
    assert [host.ipv4("eth0") for _ in range(100)] == [""] * 100
    assert network.reads == 1
    network.interfaces["eth0"] = ["10.0.0.5"]
    clock.now += 10
    assert host.ipv4("eth0") == "10.0.0.5"


def test_the_loopback_of_this_host_is_known():
    host = Host("id", name="h")
    assert host.ipv4("lo") == "127.0.0.1"
    assert "lo" in host.interfaces


def test_the_name_is_the_kernels_unless_one_is_given():
    assert Host("id").name == host_name() != ""
    assert Host("id", name="node-7").name == "node-7"


def test_a_container_that_shares_the_hosts_processes_is_named_after_the_host(tmp_path):
    for process, namespace in (("self", "uts:[2]"), ("1", "uts:[1]")):
        (tmp_path / process / "ns").mkdir(parents=True)
        (tmp_path / process / "ns" / "uts").symlink_to(namespace)
    etc = tmp_path / "1" / "root" / "etc"
    etc.mkdir(parents=True)
    (etc / "hostname").write_text("metal-3\n")
    assert host_name(str(tmp_path)) == "metal-3"
    (etc / "hostname").write_text("localhost.localdomain\n")
    assert host_name(str(tmp_path)) == socket.gethostname()
    (etc / "hostname").unlink()
    assert host_name(str(tmp_path)) == socket.gethostname()

"""No container is named by its runtime's unit, whichever runtime, cgroup driver and layout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.naming.systemd import service_unit

ID = "7dae778c37bd1204677518f1032bbecf01f5c41878ea7bd370021263417cc626"
OUTER = "fd9d0ea06257a9780827cbc7fd92e3812a54fca26d63e191b73610d5d48b9cbd"
POD = "kubepods-burstable-pod0e886e9a_3879_45f9_b44d_86ef9df03224.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"

CONTAINERS = (
    f"/docker/{ID}",
    f"/docker/{OUTER}/docker/{ID}",
    f"/system.slice/docker-{ID}.scope",
    f"/system.slice/docker-{ID}.scope/init.scope",
    f"/system.slice/docker.service/docker/{ID}",
    f"{USER}/user.slice/docker-{ID}.scope",
    f"{USER}/app.slice/docker.service/docker/{ID}",
    f"/ecs/0f3a2b6c9d8e4f50a1b2c3d4e5f60718/{ID}",
    f"/system.slice/cri-containerd-{ID}.scope",
    f"/system.slice/nerdctl-{ID}.scope",
    f"/system.slice/containerd.service/{POD}:cri-containerd:{ID}",
    f"/system.slice/crio.service/{POD}:crio:{ID}",
    f"/system.slice/crio-{ID}.scope/container",
    f"/default/{ID}",
    f"/k8s.io/{ID}",
    f"/machine.slice/libpod-{ID}.scope/container",
    f"/libpod_parent/libpod-{ID}",
    f"{USER}/user.slice/libpod-{ID}.scope/container",
    f"/kubepods.slice/kubepods-burstable.slice/{POD}/cri-containerd-{ID}.scope",
    f"/kubepods/burstable/pod0e886e9a-3879-45f9-b44d-86ef9df03224/{ID}",
    f"/../{ID}",
)
"""Paths that tell the container's id."""
UNTOLD = (
    "/docker/buildkit/t4967jvf8rbufklrhkicskyes",
    "/default/web",
    "/garden/6f265890-5165-7fab-6b52-18d1d6c4d2bd",
    "/ecs/0f3a2b6c9d8e4f50a1b2c3d4e5f60718/0f3a2b6c9d8e4f50a1b2c3d4e5f60718-3021845600",
    "/lxc.payload.web",
    "/actions_job/x",
    "/lxc/web",
    "/nomad/6f265890-5165-7fab-6b52-18d1d6c4d2bd.web",
    "/mesos/6f265890-5165-7fab-6b52-18d1d6c4d2bd",
    f"/vc/kata_{ID}",
    f"/kata_overhead/{ID}",
    "/firecracker/vm-1",
)
"""Those of containers whose id has no form of its own."""
RUNTIMES = (
    "/system.slice/containerd.service",
    "/system.slice/docker.service",
    "/system.slice/crio.service",
    "/system.slice/podman.service",
    "/system.slice/k3s.service",
    "/system.slice/lxc.service",
    "/system.slice/lxc@web.service",
    "/system.slice/nomad.service",
    "/system.slice/mesos-agent.service",
    "/system.slice/garden.service",
    "/system.slice/firecracker-containerd.service",
    "/system.slice/snap.docker.dockerd.service",
    f"{USER}/app.slice/docker.service",
    "/user.slice/user-0.slice/session-3.scope",
    "/",
)
"""Where a runtime that knows v1 alone leaves its containers in v2."""
V1 = ("memory", "cpu,cpuacct", "pids", "name=systemd")


def v1(path: str, *, but: str = "", there: str = "/") -> str:
    return "".join(
        f"{12 - at}:{name}:{there if name == but else path}\n" for at, name in enumerate(V1)
    )


def layouts(path: str, runtime: str) -> dict[str, str]:
    """Each way in which a host may show a container of a runtime."""
    return {
        "v1": v1(path),
        "v2": f"0::{path}\n",
        "hybrid": v1(path) + f"0::{runtime}\n",
        "hybrid, v2 told first": f"0::{runtime}\n" + v1(path),
        "hybrid, v2 joined too": v1(path) + f"0::{path}\n",
        "hybrid, v2 idle": v1(path) + "0::/\n",
    }


def odd_layouts(path: str, runtime: str) -> dict[str, str]:
    """Those in which systemd's own tree does not show the container."""
    return {
        "hybrid, the named tree not joined": v1(path, but="name=systemd", there=runtime)
        + f"0::{runtime}\n",
        "hybrid, the named tree idle": v1(path, but="name=systemd") + f"0::{runtime}\n",
        "v1, the named tree not joined": v1(path, but="name=systemd", there=runtime),
    }


@pytest.mark.parametrize("path", CONTAINERS)
def test_a_container_has_no_unit_in_any_layout_beside_any_runtimes_unit(path):
    for runtime in RUNTIMES:
        for name, text in {**layouts(path, runtime), **odd_layouts(path, runtime)}.items():
            assert service_unit(text) == "", f"{name}, {runtime}"


@pytest.mark.parametrize("path", UNTOLD)
def test_nor_has_one_whose_path_bears_no_id(path):
    for runtime in RUNTIMES:
        for name, text in {**layouts(path, runtime), **odd_layouts(path, runtime)}.items():
            assert service_unit(text) == "", f"{name}, {runtime}"


@pytest.mark.parametrize(
    "path",
    [
        "/system.slice/docker.service/docker/buildkit/t4967jvf8rbufklrhkicskyes",
        "/system.slice/containerd.service/default/web",
        "/system.slice/containerd.service/default:nerdctl:web",
        "/system.slice/garden.service/garden/6f265890-5165-7fab-6b52-18d1d6c4d2bd",
        "/system.slice/snap.lxd.daemon.service/lxc.payload.web",
        "/system.slice/lxc@web.service/lxc.payload.web",
        "/system.slice/nomad.service/share/6f265890.web.scope",
        "/system.slice/firecracker-containerd.service/firecracker-containerd/vm",
        f"/docker/{OUTER}/system.slice/containerd.service/default/web",
    ],
)
def test_what_stands_below_a_runtimes_unit_is_a_container_whatever_its_name(path):
    for text in layouts(path, "/").values():
        assert service_unit(text) == ""


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/containerd.service", "containerd.service"),
        ("/system.slice/docker.service", "docker.service"),
        ("/system.slice/docker.service/init", "docker.service"),
        ("/system.slice/crio.service/init.scope", "crio.service"),
        ("/system.slice/nomad.service", "nomad.service"),
        ("/system.slice/lxc@web.service/lxc.monitor.web", "lxc@web.service"),
        ("/system.slice/docker-exporter.service/worker", "docker-exporter.service"),
        (f"/system.slice/web.service/libpod-payload-{ID}", "web.service"),
        (f"/system.slice/podman.service/libpod-payload-{ID}", "podman.service"),
        ("/system.slice/web.service/supervisor", "web.service"),
        (f"{USER}/app.slice/web.service/libpod-payload-{ID}", "web.service"),
        ("/machine.slice/systemd-nspawn@c1.service/payload", "systemd-nspawn@c1.service"),
        ("/machine.slice/systemd-nspawn@c1.service/payload/system.slice/a.service", "a.service"),
        ("/machine.slice/machine-c1.scope", ""),
        ("/machine.slice/machine-c1.scope/system.slice/a.service", "a.service"),
        ("/lxc.payload.web/system.slice/nginx.service", "nginx.service"),
        (f"/docker/{ID}/system.slice/sshd.service", "sshd.service"),
        (f"/system.slice/docker-{ID}.scope/system.slice/sshd.service", "sshd.service"),
        (f"/docker/{OUTER}/system.slice/containerd.service", "containerd.service"),
    ],
)
def test_runtimes_quadlets_and_containers_with_systemd_keep_their_units(path, unit):
    for name, text in layouts(path, "/system.slice/containerd.service").items():
        assert service_unit(text) == unit, name


def test_a_runtime_that_v1s_other_trees_show_in_its_unit_or_above_keeps_it():
    unit = "/system.slice/docker.service"
    for other in ("/", "/system.slice", unit, f"{unit}/init"):
        assert service_unit(v1(other, but="name=systemd", there=unit)) == "docker.service", other


def test_dockers_daemon_does_not_name_its_container_on_a_hybrid_host():
    text = f"1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n"
    assert service_unit(text) == ""


def test_no_name_of_a_cgroup_makes_a_line_of_its_own():
    for breaks in ("\x0b", "\x0c", "\r", "\x1c", "\x85", "\u2028"):
        assert not service_unit(f"1:name=systemd:/b.slice\n0::/x{breaks}2:name=systemd:/a.service")


LEVELS = st.sampled_from(
    ["system.slice", "a.service", "containerd.service", "init.scope", "kubelet", "payload", "x"]
)


@given(
    outside=st.lists(LEVELS, max_size=4),
    container=st.sampled_from(CONTAINERS),
    inside=st.lists(LEVELS, max_size=3),
    runtime=st.sampled_from(RUNTIMES),
)
def test_what_names_a_process_in_a_container_stands_inside_it(outside, container, inside, runtime):
    path = "".join(f"/{level}" for level in outside) + container
    services = {level for level in inside if level.endswith(".service")}
    full = path + "".join(f"/{level}" for level in inside)
    for text in layouts(full, runtime).values():
        unit = service_unit(text)
        assert not unit or unit in services

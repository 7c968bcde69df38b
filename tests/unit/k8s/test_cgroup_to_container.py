"""Each known shape of a container's cgroup path, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.k8s.cgroup import CACHED_CGROUPS, ContainerRef, containers_of

ID = "7dae778c37bd1204677518f1032bbecf01f5c41878ea7bd370021263417cc626"
OUTER = "fd9d0ea06257a9780827cbc7fd92e3812a54fca26d63e191b73610d5d48b9cbd"
UID = "0e886e9a-3879-45f9-b44d-86ef9df03224"
HASH = "d8992f589d8dd12c4342376ccb459375"
V1_CONTROLLERS = ("name=systemd", "cpu,cpuacct", "memory", "pids", "devices", "freezer")

QOS = {"guaranteed": "", "burstable": "burstable", "besteffort": "besteffort"}


def container_of(cgroup: str) -> ContainerRef | None:
    """The one that the process runs in."""
    return next(iter(containers_of(cgroup)), None)


def v1(path: str) -> str:
    lines = (f"{at}:{name}:{path}\n" for at, name in enumerate(V1_CONTROLLERS, start=1))
    return "".join(reversed(list(lines)))


def v2(path: str) -> str:
    return f"0::{path}\n"


def hybrid(path: str) -> str:
    return v1(path) + "0::/system.slice/containerd.service\n"


VERSIONS = {"v1": v1, "v2": v2, "hybrid": hybrid}


def pod_slices(qos: str, uid: str, root: str = "") -> str:
    level = f"{root}kubepods-{qos}" if qos else f"{root}kubepods"
    slices = [f"{root}kubepods.slice"]
    if qos:
        slices.append(f"{level}.slice")
    return "/".join([*slices, f"{level}-pod{uid.replace('-', '_')}.slice"])


def pod_directories(qos: str, uid: str) -> str:
    return "/".join(part for part in ("kubepods", qos, f"pod{uid}") if part)


def colon_form(qos: str, uid: str) -> str:
    return pod_slices(qos, uid).rsplit("/", 1)[1]


# what stands between {} is the pod's place, made for each QoS class and for a static pod
SYSTEMD = {
    "containerd": ("containerd", "/{}/cri-containerd-{id}.scope"),
    "cri-o": ("cri-o", "/{}/crio-{id}.scope"),
    "cri-o, child below": ("cri-o", "/{}/crio-{id}.scope/container"),
    "docker": ("docker", "/{}/docker-{id}.scope"),
    "podman": ("podman", "/{}/libpod-{id}.scope"),
    "a runtime not heard of": ("", "/{}/isulad-{id}.scope"),
    "kind": ("containerd", f"/docker/{OUTER}/{{}}/cri-containerd-{{id}}.scope"),
    "kind in a scope": (
        "containerd",
        f"/system.slice/docker-{OUTER}.scope/kubelet.slice/{{}}/cri-containerd-{{id}}.scope",
    ),
    "minikube with cri-o": (
        "cri-o",
        f"/system.slice/docker-{OUTER}.scope/{{}}/crio-{{id}}.scope/container",
    ),
    "minikube in podman": (
        "docker",
        f"/machine.slice/libpod-{OUTER}.scope/{{}}/docker-{{id}}.scope",
    ),
    "systemd in the container": (
        "containerd",
        "/{}/cri-containerd-{id}.scope/system.slice/nginx.service",
    ),
    "the bare id in a slice": ("", "/{}/{id}"),
    "seen from a sibling pod": ("containerd", "/../../{}/cri-containerd-{id}.scope"),
}
CGROUPFS = {
    "containerd or docker": ("", "/{}/{id}"),
    "cri-o": ("cri-o", "/{}/crio-{id}"),
    "sub-cgroup below": ("", "/{}/{id}/init.scope"),
    "kubelet with a root of its own": ("", "/kubelet/{}/{id}"),
    "LinuxKit": ("", "/kubepods/{}/{id}"),
    "kind, k3d": ("", f"/docker/{OUTER}/{{}}/{{id}}"),
    "kind with a kubelet root": ("", f"/docker/{OUTER}/kubelet/{{}}/{{id}}"),
    "rootless k3s": (
        "",
        "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/{}/{id}",
    ),
    "seen from the root of another's namespace": ("", "/../../../{}/{id}"),
}
COLON = {
    "containerd": ("containerd", "/system.slice/containerd.service/{}:cri-containerd:{id}"),
    "containerd at the root": ("containerd", "/{}:cri-containerd:{id}"),
    "cri-o": ("cri-o", "/system.slice/crio.service/{}:crio:{id}"),
    "docker": ("docker", "/system.slice/docker.service/{}:docker:{id}"),
}

PODS = [
    pytest.param(runtime, shape.format(place(qos, uid), id=ID), uid, id=f"{name}, {kind}, {driver}")
    for driver, shapes, place in (
        ("systemd", SYSTEMD, pod_slices),
        (
            "systemd under kubelet.slice",
            SYSTEMD,
            lambda qos, uid: pod_slices(qos, uid, root="kubelet-"),
        ),
        ("cgroupfs", CGROUPFS, pod_directories),
        ("colon form", COLON, colon_form),
    )
    for name, (runtime, shape) in shapes.items()
    for kind, qos, uid in (
        *((kind, qos, UID) for kind, qos in QOS.items()),
        ("static", "burstable", HASH),
    )
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("runtime", "path", "uid"), PODS)
def test_a_pods_container_is_found_with_its_pod(runtime, path, uid, version):
    assert container_of(VERSIONS[version](path)) == ContainerRef(ID, runtime, uid)


@pytest.mark.parametrize(
    ("runtime", "path"),
    [
        ("docker", f"/docker/{ID}"),
        ("docker", f"/system.slice/docker-{ID}.scope"),
        ("docker", f"/podruntime/docker/{ID}"),
        ("docker", f"/ecs/0f3a2b6c9d8e4f50a1b2c3d4e5f60718/{ID}"),
        ("docker", f"/moby/{ID}"),
        ("containerd", f"/k8s.io/{ID}"),
        ("containerd", f"/default/{ID}"),
        ("containerd", f"/system.slice/cri-containerd-{ID}.scope"),
        ("containerd", f"/system.slice/nerdctl-{ID}.scope"),
        ("cri-o", f"/system.slice/crio-{ID}.scope"),
        ("podman", f"/machine.slice/libpod-{ID}.scope"),
        ("podman", f"/machine.slice/libpod-{ID}.scope/container"),
        ("podman", f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
        ("podman", f"/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-{ID}.scope/container"),
        ("podman", f"/libpod_parent/libpod-{ID}"),
        ("podman", f"/system.slice/web.service/libpod-payload-{ID}"),
        ("docker", f"/docker/{OUTER}/docker/{ID}"),
        ("", f"/../{ID}"),
        ("containerd", f"/../cri-containerd-{ID}.scope"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_container_outside_a_known_pod_has_no_uid(runtime, path, version):
    assert container_of(VERSIONS[version](path)) == ContainerRef(ID, runtime, "")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/init.scope",
        "/system.slice/kubelet.service",
        "/system.slice/containerd.service",
        "/user.slice/user-1000.slice/session-2.scope",
        "/kubepods.slice",
        f"/{pod_slices('burstable', UID)}",
        f"/{pod_directories('', UID)}",
        f"/{pod_directories('burstable', UID)}/kata_overhead",
        f"/{pod_slices('burstable', UID)}/crio-conmon-{ID}.scope",
        f"/{pod_directories('burstable', UID)}/crio-conmon-{ID}",
        f"/machine.slice/libpod-conmon-{ID}.scope",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-{ID}.scope",
        "/libpod_parent/conmon",
        f"/machine.slice/machine-libpod_pod_{ID}.slice",
        f"/user.slice/{ID}",
        f"/{ID}",
        f"/system.slice/run-{ID}.service",
        f"/system.slice/build-{ID}.scope",
        f"/system.slice/docker-{ID}.slice",
        f"/system.slice/var-lib-docker-containers-{ID}-mounts-shm.mount",
        f"/docker/{ID}a",
        f"/docker/{ID[:12]}",
        f"/docker/{ID[:-1]}",
        f"/docker/{ID.upper()}",
        f"/docker/{ID}.scope",
        f"/system.slice/docker-{ID[:12]}.scope",
        "/docker/buildkit/t4967jvf8rbufklrhkicskyes",
        "/ecs/0f3a2b6c9d8e4f50a1b2c3d4e5f60718/0f3a2b6c9d8e4f50a1b2c3d4e5f60718-3021845600",
        "/garden/6f265890-5165-7fab-6b52-18d1d6c4d2bd",
        "/lxc/web01",
        f"/{pod_slices('', UID)}/cri-containerd-{ID[:-1]}g.scope",
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_has_no_known_shape_is_no_container(path, version):
    assert container_of(VERSIONS[version](path)) is None


# what an agent sees whose cgroup namespace begins at its own pod's container, in kind's two layouts
KIND_SLICE = f"kubelet-kubepods-burstable-pod{UID.replace('-', '_')}.slice"
SEEN_FROM_A_POD = {
    "of another class, systemd": f"/../../../kubelet-kubepods-burstable.slice/{KIND_SLICE}",
    "of the same class, systemd": f"/../../{KIND_SLICE}",
    "a guaranteed one, systemd": (f"/../../../kubelet-kubepods-pod{UID.replace('-', '_')}.slice"),
}
SEEN_FROM_A_POD_BY_CGROUPFS = {
    "of another class, cgroupfs": f"/../../../burstable/pod{UID}",
    "of the same class, cgroupfs": f"/../../pod{UID}",
    "a guaranteed one, cgroupfs": f"/../../../pod{UID}",
}


@pytest.mark.parametrize("above", SEEN_FROM_A_POD.values(), ids=SEEN_FROM_A_POD)
def test_a_pod_is_found_from_within_the_cgroup_namespace_of_another(above):
    text = v2(f"{above}/cri-containerd-{ID}.scope")
    assert container_of(text) == ContainerRef(ID, "containerd", UID)


@pytest.mark.parametrize(
    "above", SEEN_FROM_A_POD_BY_CGROUPFS.values(), ids=SEEN_FROM_A_POD_BY_CGROUPFS
)
def test_a_pod_of_cgroupfs_is_found_from_within_the_cgroup_namespace_of_another(above):
    assert container_of(v2(f"{above}/{ID}")) == ContainerRef(ID, "", UID)


@pytest.mark.parametrize(
    "path", ["/../../../../../system.slice/kubelet.service", "/../../../../../init.scope", "/.."]
)
def test_the_nodes_own_are_no_containers_from_within_a_pods_cgroup_namespace(path):
    assert container_of(v2(path)) is None


def test_the_monitor_inside_a_node_container_is_the_nodes():
    path = f"/docker/{OUTER}/{pod_slices('burstable', UID)}/crio-conmon-{ID}.scope"
    assert container_of(v2(path)) == ContainerRef(OUTER, "docker")


def test_a_container_made_inside_a_pods_container_is_the_pods():
    inner = "1" * 64
    path = f"/{pod_directories('burstable', UID)}/{ID}/docker/{inner}"
    assert container_of(v2(path)) == ContainerRef(ID, "", UID)


def test_of_pods_inside_a_pod_the_innermost_comes_first_and_the_outer_is_kept():
    outer_uid = "91a8fc3a-0ecf-48b4-81bf-78a7275d348c"
    path = (
        f"/{pod_directories('', outer_uid)}/{OUTER}/docker/{'2' * 64}/kubelet/"
        f"{pod_directories('besteffort', UID)}/{ID}"
    )
    assert containers_of(v2(path)) == (
        ContainerRef(ID, "", UID),
        ContainerRef(OUTER, "", outer_uid),
        ContainerRef("2" * 64, "docker"),
    )


def test_one_v1_line_with_the_container_is_enough():
    text = (
        f"4:memory:/docker/{ID}\n3:cpu:/\n2:pids:/system.slice\n1:name=systemd:/init.scope\n0::/\n"
    )
    assert container_of(text) == ContainerRef(ID, "docker")


def test_a_line_that_tells_the_pod_wins_over_one_that_does_not():
    text = (
        f"2:cpu:/docker/{OUTER}\n1:name=systemd:/docker/{OUTER}/{pod_directories('', UID)}/{ID}\n"
    )
    assert container_of(text) == ContainerRef(ID, "", UID)


def test_a_cgroup_removed_under_a_process_still_tells():
    text = f"0::/{pod_slices('', UID)}/cri-containerd-{ID}.scope (deleted)\n"
    assert container_of(text) == ContainerRef(ID, "containerd", UID)


@pytest.mark.parametrize("uid", ["kube-proxy-node1", "12345", "A.b-C"])
def test_a_static_pods_manifest_may_bring_any_uid(uid):
    for path in (f"/{pod_directories('burstable', uid)}/{ID}", f"/../../pod{uid}/{ID}"):
        assert container_of(v2(path)) == ContainerRef(ID, "", uid)


@pytest.mark.parametrize("text", ["", "\n", "0::", "::", "a:b", "0:/docker/x", "\0", "0::/\udcff"])
def test_what_is_no_cgroup_text_is_no_container(text):
    assert container_of(text) is None


PIECES = st.sampled_from(
    [
        "/", ":", "\n", "..", "pod", UID, HASH, ID, OUTER, ID[:12], ".slice", ".scope", "docker",
        "crio-", "cri-containerd-", "libpod-", "conmon-", "kubepods", "kubepods-", "burstable",
        "-pod", "0::", "1:name=systemd:", "k8s.io", " (deleted)", "\x85", "\u2028", "é",
    ]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3))).map("".join)))
def test_no_text_makes_it_raise_or_give_an_id_that_is_none(text):
    for ref in containers_of(text):
        assert len(ref.id) == 64
        assert ref.id in text
        assert ref.pod_uid.replace("-", "_") in text.replace("-", "_")


def test_each_distinct_text_is_looked_at_once_and_the_memory_is_bounded():
    containers_of.cache_clear()
    for number in range(CACHED_CGROUPS + 100):
        container_of(f"0::/docker/{number:064x}\n")
        container_of(f"0::/docker/{number:064x}\n")
    figures = containers_of.cache_info()
    assert figures.misses == CACHED_CGROUPS + 100
    assert figures.currsize == CACHED_CGROUPS

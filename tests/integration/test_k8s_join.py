"""Real processes in real cgroups, joined to pods of an emulated API over HTTP."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from itertools import product
from pathlib import Path

import psutil
import pytest

from bench.cluster.api import ApiServer
from bench.cluster.objects import container_id, owner_object, pod, service, uid_of
from bench.rig.follower import ANALYZERS, Follower, analyzer, kubeconfig
from rover.discovery.procfs import ProcReader
from rover.model import Process, Reason

OUTER = "f" * 64


def cgroup2_root() -> Path:
    """Find where cgroup v2 is mounted, alone or beside v1."""
    mounts = [part.split() for part in Path("/proc/mounts").read_text().splitlines()]
    return next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), Path("/nowhere"))


@pytest.fixture
def cgroups():
    """Make cgroups by path; they go with the test, once their processes have gone."""
    root, made = cgroup2_root(), []
    if not os.access(root / "cgroup.procs", os.W_OK):
        pytest.skip("no cgroup v2 tree that may be written to")

    def make(path):
        steps = Path(path.strip("/")).parts
        for depth in range(1, len(steps) + 1):
            directory = root.joinpath(*steps[:depth])
            if not directory.exists():
                directory.mkdir()
                made.append(directory)
        return root.joinpath(*steps)

    yield make
    for directory in reversed(made):
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                directory.rmdir()
                break
            time.sleep(0.01)


@pytest.fixture
def run(cgroups, tmp_path):
    """Run a program in a cgroup, by whatever name."""
    started = []

    def start(path, name="sleep"):
        program = tmp_path / name
        if not program.exists():
            shutil.copy("/bin/sleep", program)
        process = psutil.Popen([str(program), "600"])
        started.append(process)
        (cgroups(path) / "cgroup.procs").write_text(str(process.pid))
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def api():
    with ApiServer() as server:
        yield server


@pytest.fixture
def follower(api, tmp_path):
    items = (*ANALYZERS, analyzer("K8S", "{{.Pod.Name}}-{{.Container.Name}}"))
    with Follower(api, kubeconfig(tmp_path, api.url), analyzers=items) as made:
        yield made


def judge(follower, pid):
    follower.read_messages()
    process = ProcReader().read(pid)
    assert isinstance(process, Process)
    follower.live[pid] = process
    follower.verdicts[pid] = follower.join.judge(process)
    return follower.verdicts[pid]


def services(verdict):
    return {report.entity.layer: report.entity.service for report in verdict.reports}


def slices(uid, qos):
    level = f"kubepods-{qos}" if qos else "kubepods"
    between = f"/{level}.slice" if qos else ""
    return f"/kubepods.slice{between}/{level}-pod{uid.replace('-', '_')}.slice"


def directories(uid, qos):
    return f"/kubepods/{qos}/pod{uid}" if qos else f"/kubepods/pod{uid}"


SHAPES = {
    "containerd": lambda uid, qos, each: f"{slices(uid, qos)}/cri-containerd-{each}.scope",
    "containerd cgroupfs": lambda uid, qos, each: f"{directories(uid, qos)}/{each}",
    "containerd colon": lambda uid, qos, each: (
        f"/system.slice/containerd.service/{slices(uid, qos).rsplit('/', 1)[1]}"
        f":cri-containerd:{each}"
    ),
    "cri-o": lambda uid, qos, each: f"{slices(uid, qos)}/crio-{each}.scope",
    "cri-o child": lambda uid, qos, each: f"{slices(uid, qos)}/crio-{each}.scope/container",
    "docker": lambda uid, qos, each: f"{slices(uid, qos)}/docker-{each}.scope",
    "kind": lambda uid, qos, each: (
        f"/system.slice/docker-{OUTER}.scope/kubelet.slice{slices(uid, qos)}"
        f"/cri-containerd-{each}.scope"
    ),
    "docker in docker": lambda uid, qos, each: (
        f"/docker/{OUTER}{directories(uid, qos)}/{each}/docker/{'e' * 64}"
    ),
}


@pytest.mark.parametrize("case", [*product(SHAPES, ("", "burstable", "besteffort"))], ids="-".join)
def test_a_process_in_any_shape_of_cgroup_gets_its_pods_entities(
    api, follower, run, eventually, case
):
    shape, qos = case
    uid = uid_of(shape, qos)
    api.put("pods", pod("web", uid=uid))
    api.put("services", service("web"))
    pid = run(SHAPES[shape](uid, qos, container_id(uid, "app", 0)))
    eventually(follower.has_truth)
    verdict = judge(follower, pid)
    assert services(verdict) == {"K8S_SERVICE": "web.default", "K8S": "web-app"}
    report = verdict.reports[0]
    assert report.process.pid == pid
    assert report.entity.instance == "web"
    assert report.entity.process == "sleep"
    container = report.container
    assert (container.name, container.pod_name) == ("app", "web")
    assert (container.pod_ip, container.host_ip) == ("10.0.0.7", "192.168.1.10")


@pytest.mark.parametrize("kind", ["init", "ephemeral"])
def test_init_side_car_and_ephemeral_containers_are_known(api, follower, run, eventually, kind):
    item = pod("web")
    uid = item["metadata"]["uid"]
    each = container_id(uid, "extra", 0)
    item["spec"][f"{kind}Containers"] = [{"name": "extra", "restartPolicy": "Always"}]
    item["status"][f"{kind}ContainerStatuses"] = [
        {"name": "extra", "containerID": f"containerd://{each}"}
    ]
    api.put("pods", item)
    pid = run(f"{slices(uid, '')}/cri-containerd-{each}.scope")
    eventually(follower.has_truth)
    assert services(judge(follower, pid)) == {"K8S": "web-extra"}


def test_a_static_pod_is_known_by_the_hash_in_its_path(api, follower, run, eventually):
    item = pod("etcd-node-1", "kube-system")
    config_hash = "d8992f589d8dd12c4342376ccb459375"
    item["metadata"]["annotations"] = {"kubernetes.io/config.mirror": config_hash}
    api.put("pods", item)
    eventually(follower.has_truth)
    sandbox = run(f"{slices(config_hash, 'burstable')}/cri-containerd-{'a' * 64}.scope", "pause")
    verdict = judge(follower, sandbox)
    assert verdict.reason is Reason.POD_UNKNOWN
    assert "the sandbox of pod kube-system/etcd-node-1" in verdict.detail


def test_a_status_that_comes_late_names_the_process_within_a_second(api, follower, run, eventually):
    uid = uid_of("late")
    api.put("pods", pod("web", uid=uid, started=False))
    eventually(follower.has_truth)
    pid = run(f"{slices(uid, '')}/cri-containerd-{container_id(uid, 'app', 0)}.scope")
    verdict = judge(follower, pid)
    assert verdict.reason is Reason.POD_UNKNOWN
    assert "the status of pod default/web does not show it yet" in verdict.detail
    time.sleep(1.0)
    began = time.monotonic()
    api.put("pods", pod("web", uid=uid))
    eventually(lambda: follower.read_messages() and follower.verdicts[pid].reports)
    assert time.monotonic() - began < 1.0
    assert services(follower.verdicts[pid]) == {"K8S": "web-app"}


def test_a_service_created_later_brings_its_entity_within_a_second(api, follower, run, eventually):
    uid = uid_of("served")
    api.put("pods", pod("web", uid=uid))
    eventually(follower.has_truth)
    pid = run(f"{slices(uid, '')}/cri-containerd-{container_id(uid, 'app', 0)}.scope")
    assert services(judge(follower, pid)) == {"K8S": "web-app"}
    began = time.monotonic()
    api.put("services", service("web"))
    eventually(lambda: follower.read_messages() and len(follower.verdicts[pid].reports) == 2)
    assert time.monotonic() - began < 1.0
    assert services(follower.verdicts[pid])["K8S_SERVICE"] == "web.default"


def test_changed_labels_and_pod_ip_reach_the_process(api, follower, run, eventually):
    uid = uid_of("changing")
    api.put("pods", pod("web", uid=uid, ip="10.0.0.1"))
    eventually(follower.has_truth)
    pid = run(f"{slices(uid, '')}/cri-containerd-{container_id(uid, 'app', 0)}.scope")
    assert judge(follower, pid).reports[0].container.pod_ip == "10.0.0.1"
    api.put("pods", pod("web", uid=uid, ip="10.0.0.2"))
    eventually(follower.read_messages)
    assert follower.verdicts[pid].reports[0].container.pod_ip == "10.0.0.2"


def test_a_pod_that_has_gone_leaves_its_dying_process_its_name(api, follower, run, eventually):
    uid = uid_of("dying")
    api.put("pods", pod("web", uid=uid))
    eventually(follower.has_truth)
    pid = run(f"{slices(uid, '')}/cri-containerd-{container_id(uid, 'app', 0)}.scope")
    assert judge(follower, pid).reports
    api.delete("pods", "default", "web")
    eventually(follower.has_truth)
    assert judge(follower, pid).reports


def test_an_owner_above_the_replica_set_is_found_while_the_agent_runs(
    api, tmp_path, run, eventually
):
    uid = uid_of("owned")
    owned = pod("web", uid=uid, owner=("ReplicaSet", "web-abc"))
    api.put("replicasets", owner_object("ReplicaSet", "web-abc", ("Deployment", "web")))
    api.put("pods", owned)
    items = (analyzer("K8S", '{{.Pod.OwnerName "StatefulSet,Deployment"}}'),)
    with Follower(api, kubeconfig(tmp_path, api.url), analyzers=items) as follower:
        eventually(follower.has_truth)
        pid = run(f"{slices(uid, '')}/cri-containerd-{container_id(uid, 'app', 0)}.scope")
        assert "are being asked for" in judge(follower, pid).detail
        eventually(lambda: follower.read_messages() and follower.verdicts[pid].reports)
        assert services(follower.verdicts[pid]) == {"K8S": "web"}


def test_a_process_of_the_host_is_none_of_the_joins(follower, run):
    assert judge(follower, run("/system.slice/kubelet.service")) is None

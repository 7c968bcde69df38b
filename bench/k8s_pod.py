"""What the pod takes of its limits: ``python -m bench.k8s_pod [--image DIR] [--json]``.

The container of deploy/daemonset.yaml (bench.rig.container) in a memory cgroup with the manifest's
limit, on a node of 110 pods and 2,000 real processes in a cluster of 2,000 services. The agent
starts, compiles its programs, lists, joins and reports; then it rests; then processes come and go.

With the image of ``bench.image --keep DIR`` nothing of its files is in memory at first, as on a
node that has just fetched it: the pod that reads them is charged for them. Without, the programs
of this checkout are used, and their files may be somebody else's memory.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster.api import ApiServer
from bench.cluster.objects import NODE, container_id, pod, service, uid_of
from bench.rig.backend import wait_for_pids
from bench.rig.cgroup import MemoryCgroup
from bench.rig.container import Container, running
from bench.rig.cost import cost, share, share_over
from bench.rig.figures import Figures
from bench.rig.follower import kubeconfig_text
from bench.rig.manifest import manifest, quantity
from bench.rig.node import Node
from bench.rig.options import options
from bench.rig.sleepers import Sleepers
from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

PODS = 110
PROCESSES = 2_000
SERVICES = 2_000
REST = 60.0
CHURN = 30.0
MIB = 2**20


class Workload:
    """Processes of a node's pods, each with an executable and so an entity of its own."""

    def __init__(self, folder: Path, node: Node) -> None:
        self._programs = Sleepers(folder)
        self._node = node
        self._number = 0

    def start(self) -> int:
        """Start one more, in the next pod."""
        pod_number = self._number % PODS
        self._number += 1
        uid = uid_of(f"ns-{pod_number % 20}", f"pod-{pod_number}")
        cgroup = f"/kubepods/burstable/pod{uid}/{container_id(uid, 'app', 0)}"
        return self._node.run(cgroup, str(self._programs.next_program()), "3600")

    def end_last(self) -> None:
        self._node.end_last()


def populate(api: ApiServer) -> None:
    for number in range(SERVICES):
        selector = {"app": f"app-{number}"}
        api.put("services", service(f"service-{number}", f"ns-{number % 20}", selector=selector))
    for number in range(PODS):
        api.put("pods", pod(f"pod-{number}", f"ns-{number % 20}", labels={"app": f"app-{number}"}))


@contextlib.contextmanager
def agent(
    folder: Path,
    api: ApiServer,
    backend: EmbeddedBackend,
    cgroup: MemoryCgroup,
    image: Path | None,
) -> Iterator[int]:
    container = Container.of_manifest(NODE)
    programs = "/opt/rover/bin" if image else Path(sys.executable).parent
    env = {
        **container.env,
        "PATH": f"{programs}:/usr/bin:/bin",
        "ROVER_BACKEND_ADDR": backend.address,
        "ROVER_STATUS_ADDR": "127.0.0.1:0",
        "ROVER_PROCESS_DISCOVERY_KUBERNETES_KUBECONFIG": "/etc/rover/kubeconfig",
        "ROVER_PROCESS_DISCOVERY_REQUIRE_EBPF": "true",
    }
    files = {
        "rover.yaml": manifest("ConfigMap")["data"]["rover.yaml"],
        "kubeconfig": kubeconfig_text(api.url),
    }
    if image:
        forget(image)
    container = replace(container, env=env)
    with running(container, folder, files, root=image, cgroup=cgroup) as (pid, _):
        yield pid


def forget(tree: Path) -> None:
    """Have the kernel drop its copies of a tree's files."""
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--image", type=Path, metavar="DIR", help="what bench.image kept")
    chosen = parser.parse_args()
    image = (chosen.image / "image").resolve() if chosen.image else None
    resources = manifest("DaemonSet")["spec"]["template"]["spec"]["containers"][0]["resources"]
    most, asked = (quantity(resources[which]["memory"]) / MIB for which in ("limits", "requests"))
    figures = Figures(
        f"the pod's memory with {PODS} pods, {PROCESSES} processes and {SERVICES} services",
        as_json=chosen.json,
    )
    figures.start()
    cgroup = MemoryCgroup("rover-bench", int(most * MIB))
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            ApiServer(bookmark_period=60.0) as api,
            EmbeddedBackend() as backend,
            Node() as node,
        ):
            populate(api)
            workload = Workload(Path(folder), node)
            pids = {workload.start() for _ in range(PROCESSES)}
            began = time.monotonic()
            with agent(Path(folder), api, backend, cgroup, image) as pid:
                wait_for_pids(backend, pids)
                figures.add("start to the last process reported", time.monotonic() - began, "s")
                figures.limit("peak, the compiler included", cgroup.peak / MIB, "MiB", most)
                measure(figures, pid, cgroup, workload, asked)
            figures.limit("times that the limit was met", cgroup.refusals, "", 0)
    finally:
        cgroup.close()
    figures.end()


def measure(
    figures: Figures, pid: int, cgroup: MemoryCgroup, workload: Workload, asked: float
) -> None:
    time.sleep(5)
    figures.limit("CPU at rest", share_over(pid, REST), "% core", 0.2)
    figures.limit("working set at rest", cgroup.working_set / MIB, "MiB", asked)
    figures.limit("  resident set of the agent", cost(pid).rss / MIB, "MiB", 90)
    before, until = cost(pid), time.monotonic() + CHURN
    while time.monotonic() < until:
        workload.start()
        time.sleep(0.2)
        workload.end_last()
    figures.add("CPU while 5 processes a second come and go", share(before, cost(pid)), "% core")
    figures.limit("working set after that", cgroup.working_set / MIB, "MiB", asked)


if __name__ == "__main__":
    main()

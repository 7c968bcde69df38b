"""The node put together, and the agent deployed on it as docs/kubernetes.md says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final, Self

from machines.attaching import DEPLOY, capabilities_of_manifest, eventually
from machines.node.control_plane import ControlPlane
from machines.node.kubectl import Kubectl
from machines.node.place import ADDRESS, Place, prepare
from machines.node.runtime import Runtime

NAMESPACE: Final = "skywalking-rover"
BACKEND_PORT: Final = 11800
ADDRESS_OF_BACKEND: Final = f"{ADDRESS}:{BACKEND_PORT}"
SYS_RESOURCE: Final = 24
"""CAP_SYS_RESOURCE of capabilities(7)."""
OVERLAY: Final = {
    "apiVersion": "kustomize.config.k8s.io/v1beta1",
    "kind": "Kustomization",
    "resources": ["../deploy"],
}


class Node:
    """A context manager: up within, and ended after."""

    def __init__(self, place: Place, archives: list[Path]) -> None:
        self.place = place
        self._archives = archives
        prepare(place)
        self.control_plane = ControlPlane(place)
        self.runtime = Runtime(place, self.control_plane.kubeconfig("kubelet"))
        self.kubectl = Kubectl(place, self.control_plane.kubeconfig("admin"))

    def __enter__(self) -> Self:
        self.control_plane.start()
        self.runtime.start(self._archives)
        eventually(self._ready, "the node ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.stop()
        self.control_plane.stop()

    def _ready(self) -> bool:
        nodes = self.kubectl.get("nodes")["items"]
        conditions = [each for node in nodes for each in node["status"]["conditions"]]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def deploy(node: Node, variables: dict[str, str] | None = None) -> None:
    """Apply a kustomization on top of deploy/; return when the agent is rolled out.

    Args:
        node: where.
        variables: more of the agent's.
    """
    overlay = node.place.scratch / "my-rover"
    if not overlay.exists():
        shutil.copytree(DEPLOY, node.place.scratch / "deploy")
        overlay.mkdir()
    settings = {
        "ROVER_BACKEND_ADDR": ADDRESS_OF_BACKEND,
        **(variables or {}),
    }
    container = {
        "name": "rover",
        "env": [{"name": name, "value": value} for name, value in settings.items()],
        "securityContext": {"capabilities": {"add": rights_here()}},
    }
    patch = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "rover", "namespace": NAMESPACE},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    described = {**OVERLAY, "patches": [{"patch": json.dumps(patch)}]}
    (overlay / "kustomization.yaml").write_text(json.dumps(described))
    node.kubectl("apply", "-k", str(overlay))
    rolled_out(node)


def rights_here() -> list[str]:
    """Return the manifest's capabilities less SYS_RESOURCE where this host's root has it not.

    A runtime refuses a container what it has not itself; kernels since 5.11 need it for nothing.
    """
    bounding = Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]
    has_it = int(bounding, 16) >> SYS_RESOURCE & 1
    return [name for name in capabilities_of_manifest() if has_it or name != "SYS_RESOURCE"]


def rolled_out(node: Node) -> None:
    """Wait until the agent of the newest template is ready."""
    node.kubectl(
        *("-n", NAMESPACE, "rollout", "status", "daemonset/rover", "--timeout=600s"),
    )


def agents_log(node: Node) -> str:
    """Return what the agent of now has said."""
    return node.kubectl("-n", NAMESPACE, "logs", "daemonset/rover", "--tail=-1")

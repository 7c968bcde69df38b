"""What runs pods on the node: containerd, with runc and a bridge, and the kubelet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from machines.attaching import eventually
from machines.node import images
from machines.node.daemon import Daemon
from machines.node.place import ADDRESS, NODE, PODS, Place, run

SOCKET: Final = "/run/containerd/containerd.sock"
PLUGINS: Final = "/usr/lib/cni"
STARTS: Final = 5
"""Of a kubelet; each takes a second to find that containerd is not ready."""
HEALTH: Final = "http://127.0.0.1:10248/healthz"

CONTAINERD: Final = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # a borrowed host may lack CAP_SYS_RESOURCE, without which nothing gets a lower score
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
NETWORK: Final = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isDefaultGateway": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": PODS, "rangeStart": "10.88.0.10", "gateway": ADDRESS}]],
            },
        }
    ],
}


class Runtime:
    """containerd and the kubelet; each may be stopped and started again, pods go on meanwhile."""

    def __init__(self, place: Place, kubeconfig: Path) -> None:
        self.place = place
        networks = place.file("networks")
        networks.mkdir()
        (networks / "10-pods.conflist").write_text(json.dumps(NETWORK))
        config = place.file("containerd.toml")
        config.write_text(
            CONTAINERD.format(
                pause=images.PAUSE,
                plugins=PLUGINS,
                networks=networks,
            )
        )
        self.containerd = Daemon(
            "containerd", ["containerd", f"--config={config}", f"--address={SOCKET}"], place.logs
        )
        kubelet = place.file("kubelet.json")
        kubelet.write_text(json.dumps(self._kubelets_configuration()))
        self.kubelet = Daemon(
            "kubelet",
            [
                str(place.components / "kubelet"),
                f"--config={kubelet}",
                f"--kubeconfig={kubeconfig}",
                f"--hostname-override={NODE}",
                f"--node-ip={ADDRESS}",
            ],
            place.logs,
        )

    @property
    def static_pods(self) -> Path:
        """The folder of the manifests that the kubelet runs by itself."""
        return self.place.scratch / "manifests"

    def start(self, archives: list[Path]) -> None:
        """Start both, the images being there before the kubelet is."""
        self.start_containerd()
        for archive in archives:
            run(
                "ctr", f"--address={SOCKET}", "--namespace=k8s.io", "images", "import", str(archive)
            )
        self.start_kubelet()

    def start_kubelet(self) -> None:
        """Start the kubelet; again, as its unit does, where it ends since containerd is not ready.

        Raises:
            RuntimeError: it ended each time; with the end of its log.
        """
        for left in reversed(range(STARTS)):
            self.kubelet.start()
            try:
                self.kubelet.answers(HEALTH)
            except RuntimeError:
                if not left:
                    raise
            else:
                return

    def start_containerd(self) -> None:
        """Start containerd; return when it answers."""
        self.containerd.start()

        def answers() -> bool:
            try:
                run("ctr", f"--address={SOCKET}", "version")
            except RuntimeError:
                return False
            return True

        eventually(answers, "containerd")

    def stop(self) -> None:
        """End both; what runs in containers goes on."""
        self.kubelet.stop()
        self.containerd.stop()

    def _kubelets_configuration(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "staticPodPath": str(self.static_pods),
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "localStorageCapacityIsolation": False,
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "cgroupDriver": "cgroupfs",
            # the host may have cgroups of the first version, and those of others' pods
            "cgroupRoot": self.place.cgroup,
            "failCgroupV1": False,
        }

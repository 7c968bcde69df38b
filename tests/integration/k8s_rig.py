"""A cluster to test against: the emulated API, the official client, the real watches and index."""

from __future__ import annotations

import queue
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from bench.k8s_objects import NODE
from rover.config.settings import KubernetesSettings
from rover.k8s.cluster import Cluster
from rover.k8s.index import PodIndex
from rover.k8s.objects import pod_record, service_record
from rover.k8s.watch import Pace

if TYPE_CHECKING:
    from pathlib import Path

    from bench.k8s_api import ApiServer

QUICK = Pace(
    server_timeout=2.0,
    silence=0.5,
    list_silence=0.5,
    list_within=5.0,
    backoff=0.02,
    backoff_most=0.3,
    lasting=1.0,
    refresh_pause=0.2,
)


def kubeconfig(directory: Path, server: str, *, token: str = "", token_file: str = "") -> str:
    """Write a kubeconfig; return its path."""
    user = f"tokenFile: {token_file}" if token_file else f"token: {token or 'none'}"
    path = directory / "kubeconfig"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n"
        f"clusters:\n- name: test\n  cluster:\n    server: {server}\n"
        f"users:\n- name: test\n  user:\n    {user}\n"
        "contexts:\n- name: test\n  context:\n    cluster: test\n    user: test\n"
    )
    return str(path)


class Follower:
    """The agent's side: a cluster whose messages feed an index, in the calling thread."""

    def __init__(self, api: ApiServer, config: str, *, pace: Pace = QUICK, **how: object) -> None:
        self.api = api
        self.config = config
        self.index = PodIndex()
        self.messages: list[object] = []
        self.failures: list[BaseException] = []
        self._mail: queue.SimpleQueue[object] = queue.SimpleQueue()
        settings = replace(KubernetesSettings(), kubeconfig=config, node_name=NODE)
        self.cluster = Cluster(
            settings, self._mail.put, pace=pace, failed=self.failures.append, **how
        )

    def __enter__(self) -> Self:
        self.cluster.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.stop(2.0)
        assert self.failures == []

    def read_mail(self) -> None:
        while not self._mail.empty():
            message = self._mail.get()
            self.messages.append(message)
            self.index.apply(message)

    def has_truth(self) -> bool:
        """Tell whether the index equals what the API holds now."""
        self.read_mail()
        return self.index.pods_listed and self.index.pods() == truth(self.api)

    def counts(self, resource: str) -> dict[str, int]:
        return next(
            dict(state.counts) for state in self.cluster.states() if state.resource == resource
        )

    def fault(self, resource: str) -> str:
        return next(s.fault for s in self.cluster.states() if s.resource == resource)


def truth(api: ApiServer) -> dict[tuple[str, str], object]:
    """Work out what the index must hold, by comparing every pod with every service."""
    services = [service_record(item) for item in api.objects("services").values()]
    found = {}
    for key, item in api.objects("pods").items():
        if item["spec"]["nodeName"] != NODE:
            continue
        pod = pod_record(item, with_env=True)
        names = [
            service.name
            for service in services
            if service.namespace == pod.namespace
            and service.selector
            and all(pod.labels.get(name) == value for name, value in service.selector)
        ]
        found[key] = (pod, min(names, key=lambda name: (len(name), name), default=""))
    return found

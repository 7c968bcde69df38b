"""The agent's side of a cluster: the official client, the real watches, index, join and analyzers.

Tests and benches run it against `bench.cluster.api.ApiServer`.
"""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Self

from bench.cluster.objects import NODE
from rover.config.contexts import POD_FILTERS, POD_NAMES
from rover.config.filters import Filter
from rover.config.settings import AnalyzerSettings, KubernetesSettings
from rover.gotemplate import Template
from rover.guard import Guard
from rover.k8s.cluster import Cluster
from rover.k8s.index import PodIndex
from rover.k8s.objects import pod_record, service_record
from rover.k8s.watch import Timing
from rover.model import Process, ProcessKey, Verdict
from rover.naming.host_facts import Host
from rover.naming.pods.analyzers import Analyzers
from rover.naming.pods.join import PodJoin

if TYPE_CHECKING:
    from pathlib import Path

    from bench.cluster.api import ApiServer

QUICK = Timing(
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
    path = directory / "kubeconfig"
    path.write_text(kubeconfig_text(server, token=token, token_file=token_file))
    return str(path)


def kubeconfig_text(server: str, *, token: str = "", token_file: str = "") -> str:
    """Return a kubeconfig for a server, with a token or the path of a file that has one."""
    user = f"tokenFile: {token_file}" if token_file else f"token: {token or 'none'}"
    return (
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n"
        f"clusters:\n- name: test\n  cluster:\n    server: {server}\n"
        f"users:\n- name: test\n  user:\n    {user}\n"
        "contexts:\n- name: test\n  context:\n    cluster: test\n    user: test\n"
    )


ISTIO = '.Pod.HasContainer "istio-proxy"'
BY_LABEL = (
    '{{.Pod.LabelValue "service.istio.io/canonical-name,app.kubernetes.io/name,app" ""}}'
    ".{{.Pod.Namespace}}"
)


def analyzer(layer: str, service: str, *filters: str) -> AnalyzerSettings:
    """Compile an analyzer in the manner of the default ones."""
    return AnalyzerSettings(
        tuple(Filter.compile(each, POD_FILTERS) for each in filters),
        layer,
        Template.compile(service, POD_NAMES),
        Template.compile("{{.Pod.Name}}", POD_NAMES),
        Template.compile("{{.Process.ExeName}}", POD_NAMES),
        Template.compile(layer.lower(), POD_NAMES),
    )


ANALYZERS = (
    analyzer("MESH_DP", BY_LABEL, ISTIO, 'eq .Container.Name "istio-proxy"'),
    analyzer("MESH", BY_LABEL, ISTIO, 'ne .Container.Name "istio-proxy"'),
    analyzer("K8S_SERVICE", "{{.Pod.ServiceName}}.{{.Pod.Namespace}}", ".Pod.HasServiceName"),
)
"""As the three defaults."""


def process_in(pid: int, cgroup: str) -> Process:
    return Process(
        key=ProcessKey(pid, 1),
        ppid=1,
        name=f"app-{pid % 10}",
        exe=f"/usr/bin/app-{pid % 10}",
        arguments=b"app-%d --serve" % (pid % 10),
        cwd="/",
        uid=0,
        cgroup=cgroup,
        pid_namespace=1,
        mount_namespace=1,
        namespace_pid=1,
        image=1,
    )


class Follower:
    """The agent's side; messages wait until the calling thread reads them."""

    def __init__(
        self,
        api: ApiServer,
        config: str,
        *,
        timing: Timing = QUICK,
        analyzers: tuple[AnalyzerSettings, ...] = ANALYZERS,
    ) -> None:
        self.api = api
        self.config = config
        self.guard = Guard()
        self.index = PodIndex(guard=self.guard)
        self.messages: list[object] = []
        self.live: dict[int, Process] = {}
        self.verdicts: dict[int, Verdict | None] = {}
        self.judged = 0
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        settings = KubernetesSettings(kubeconfig=config, node_name=NODE, analyzers=analyzers)
        self.cluster = Cluster(settings, self._queue.put, timing=timing, guard=self.guard)
        host = Host("agent-1", name=NODE, interfaces=dict)
        self.join = PodJoin(
            self.index,
            Analyzers(settings, (), host, ""),
            list_again=self.cluster.list_pods_again,
            ask_owner=self.cluster.ask_owner,
            guard=self.guard,
        )

    def __enter__(self) -> Self:
        self.cluster.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.stop(2.0)
        assert not self.guard.counts, self.guard.counts

    def start_process(self, pid: int, cgroup: str) -> None:
        self.live[pid] = process_in(pid, cgroup)
        self._judge({self.live[pid].key})

    def end_process(self, pid: int) -> None:
        self.join.forget(self.live.pop(pid).key)
        del self.verdicts[pid]

    def read_messages(self, *, keep: bool = True) -> int:
        """Take in what has come; return how many processes were judged again for it."""
        judged = self.judged
        while not self._queue.empty():
            message = self._queue.get()
            if keep:
                self.messages.append(message)
            self._judge(self.join.apply(message))
        now = time.monotonic()
        if self.join.next_refresh(now) <= now:
            self._judge(self.join.refresh(now))
        return self.judged - judged

    def has_truth(self) -> bool:
        """Tell whether the index equals what the API holds now."""
        self.read_messages()
        return self.index.pods_listed and self.index.pods() == truth(self.api)

    def counts(self, resource: str) -> dict[str, int]:
        return next(dict(s.counts) for s in self.cluster.states() if s.resource == resource)

    def fault(self, resource: str) -> str:
        return next(s.fault for s in self.cluster.states() if s.resource == resource)

    def _judge(self, keys: set[ProcessKey]) -> None:
        for key in keys:
            self.judged += 1
            self.verdicts[key.pid] = self.join.judge(self.live[key.pid])


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

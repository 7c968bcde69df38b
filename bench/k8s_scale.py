"""A full node in a large cluster: ``python -m bench.k8s_scale [--json]``.

The API server runs in a process of its own; what is measured is the agent's side alone, from its
start to the verdict of the last process, and then each kind of event.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster.api import ApiServer
from bench.cluster.objects import cgroup_of, pod, service, uid_of
from bench.rig.cost import cpu_seconds, resident
from bench.rig.figures import Figures, spread
from bench.rig.options import options

if TYPE_CHECKING:
    from bench.rig.follower import Follower

PODS = 110
CONTAINERS = ("app", "istio-proxy", "logs")
PROCESSES = 2_000
SERVICES = 2_000
NAMESPACES = 20
EVENTS = 300
RSS_AIM = 90.0
"""MiB with Kubernetes, of the whole agent."""


def name_of(number: int) -> tuple[str, str]:
    return f"web-{number}", f"ns-{number % NAMESPACES}"


def labels_of(number: int, version: int = 0) -> dict[str, str]:
    return {"app": f"web-{number}", "tier": f"t{number % 5}", "version": str(version)}


def make_pod(number: int, version: int = 0) -> dict[str, object]:
    name, namespace = name_of(number)
    return pod(name, namespace, labels=labels_of(number, version), containers=CONTAINERS)


def make_service(number: int, version: int = 0) -> dict[str, object]:
    """Make a service; two of three select a label of their own, one selects a whole tier."""
    namespace = f"ns-{number % NAMESPACES}"
    selector = {"tier": f"t{number % 5}"} if number % 3 == 0 else {"app": f"web-{number}"}
    selector = {**selector, "version": str(version)} if version else selector
    return service(f"service-{number}", namespace, selector=selector)


def serve() -> None:
    """Be the API server; obey lines on standard input, answer each with one."""
    with ApiServer(bookmark_period=30.0) as api:
        for number in range(PODS):
            api.put("pods", make_pod(number))
        for number in range(SERVICES):
            api.put("services", make_service(number))
        print(api.url, flush=True)
        for line in sys.stdin:
            what, number, version = json.loads(line)
            made = make_pod if what == "pods" else make_service
            api.put(what, made(number, version))
            print("done", flush=True)


def rss() -> float:
    """MiB of this process."""
    return resident() / 2**20


class Bench:
    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.server = subprocess.Popen(
            [sys.executable, "-m", "bench.k8s_scale", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self.server.stdout.readline().strip()

    def change(self, *what: object) -> None:
        self.server.stdin.write(json.dumps(what) + "\n")
        self.server.stdin.flush()
        self.server.stdout.readline()

    def run(self) -> None:
        before = rss()
        # The agent has grpc and psutil loaded as well; they count where the whole is meant.
        import grpc  # noqa: F401, PLC0415

        from bench.rig.follower import Follower, Timing, kubeconfig  # noqa: PLC0415

        loaded = rss()
        with tempfile.TemporaryDirectory() as directory:
            config = kubeconfig(Path(directory), self.url)
            follower = Follower(None, config, timing=Timing())
            for number in range(PROCESSES):
                name, namespace = name_of(number % PODS)
                container = CONTAINERS[number % len(CONTAINERS)]
                follower.start_process(number, cgroup_of(uid_of(namespace, name), container))
            waiting, cpu, began = rss(), cpu_seconds_here(), time.monotonic()
            with follower:
                self._join(follower, began, cpu)
                self._memory(before, loaded, waiting)
                self._events(follower, "pods", PODS)
                self._events(follower, "services", SERVICES)
                self.figures.add("memory after that", rss(), "MiB")
        self.server.stdin.close()
        self.server.wait()

    def _join(self, follower: Follower, began: float, cpu: float) -> None:
        listed = 0.0
        while not (follower.index.pods_listed and follower.index.services_listed):
            follower.read_messages(keep=False)
            time.sleep(0.001)
            listed = time.monotonic()
        follower.read_messages(keep=False)
        entities = sum(len(verdict.reports) for verdict in follower.verdicts.values())
        named = sum(bool(verdict.reports) for verdict in follower.verdicts.values())
        done = time.monotonic()
        add = self.figures.add
        add("processes with an entity", named, "", f"{PROCESSES}", met=named == PROCESSES)
        add("  entities", entities, "")
        self.figures.limit("start to the last process named", done - began, "s", 5.0)
        add("  of it until both lists had come", listed - began, "s")
        add("  CPU", cpu_seconds_here() - cpu, "s")
        add("  judgements", follower.judged, "")

    def _memory(self, before: float, loaded: float, waiting: float) -> None:
        now = rss()
        self.figures.limit("resident memory of the agent's side", now, "MiB", RSS_AIM)
        self.figures.add("  Python itself", before, "MiB")
        self.figures.add("  code without the Kubernetes client", loaded - before, "MiB")
        self.figures.add(f"  {PROCESSES} processes that wait", waiting - loaded, "MiB")
        self.figures.add("  client, pods, services and verdicts", now - waiting, "MiB")

    def _events(self, follower: Follower, what: str, among: int) -> None:
        """Change one object after the other; measure from the change to the new verdicts."""
        delays, costs, judged = [], [], 0
        for number in range(EVENTS):
            seen = follower.counts(what)["events"] if number else None
            cpu = cpu_seconds_here()
            began = time.monotonic()
            self.change(what, number % among, number // among + 1)
            while follower.counts(what).get("events", 0) == (seen or 0):
                time.sleep(0.0005)
            judged += follower.read_messages(keep=False)
            time.sleep(0.001)
            judged += follower.read_messages(keep=False)
            delays.append(1000 * (time.monotonic() - began))
            costs.append(1000 * (cpu_seconds_here() - cpu))
        name = what.removesuffix("s")
        self.figures.add(f"{name} event to new verdicts, p50", spread(delays)["p50"], "ms")
        self.figures.limit("  p99", spread(delays)["p99"], "ms", 1000.0)
        self.figures.add("  CPU an event, waiting for it included, p50", spread(costs)["p50"], "ms")
        self.figures.add("  processes judged again an event", judged / EVENTS, "")


def cpu_seconds_here() -> float:
    return cpu_seconds(os.getpid())


def main() -> None:
    if "serve" in sys.argv:
        serve()
        return
    chosen = options(__doc__).parse_args()
    figures = Figures(
        f"{PODS} pods of {len(CONTAINERS)} containers, {PROCESSES} processes, {SERVICES} services",
        as_json=chosen.json,
    )
    figures.start()
    Bench(figures).run()
    figures.end()


if __name__ == "__main__":
    main()

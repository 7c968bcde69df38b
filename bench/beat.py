"""What the reporter costs: ``python -m bench.beat [--json]``.

With 100, 1,000, 2,000 and 10,000 entities, in a process of its own against an embedded backend in
another: CPU of a beat and of a full report (all threads, grpc's among them), bytes of both, time
until the backend holds everything, and memory. The entities are made up; their own memory, which
discovery pays, is left out. Beside it, what it costs to build a beat's message from nothing.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.rig.cost import cpu_seconds, resident
from bench.rig.figures import Figures
from bench.rig.options import options

if TYPE_CHECKING:
    from rover.model import Report

AMOUNTS = (100, 1000, 2000, 10_000)
BEATS = 10
"""Beats over which CPU is taken, one a second."""


def made_up(number: int) -> Report:
    from rover.model import Entity, Process, ProcessKey, Report  # noqa: PLC0415  memory is measured

    process = Process(
        key=ProcessKey(1000 + number, number),
        ppid=1,
        name="worker",
        exe="/usr/lib/shop/worker",
        arguments=b"/usr/lib/shop/worker --number=%d --queue=orders-%d --debug"
        % (number, number % 7),
        cwd="/",
        uid=1000,
        cgroup="0::/system.slice/shop.service",
        pid_namespace=1,
        mount_namespace=1,
        namespace_pid=1000 + number,
        image=number,
    )
    return Report(Entity("OS_LINUX", "shop", "host-a.example.org", f"worker-{number}"), process)


def from_nothing(reports: tuple[Report, ...]) -> float:
    """Milliseconds of CPU to build and serialise one beat as protobuf's users mostly do."""
    from rover._proto.ebpf.profiling import Process_pb2 as pb  # noqa: PLC0415

    times = []
    for _ in range(5):
        began = time.process_time()
        pb.EBPFProcessPingPkgList(
            ebpfAgentID="bench",
            processes=[
                pb.EBPFProcessPingPkg(
                    entityMetadata=pb.EBPFProcessEntityMetadata(
                        layer=report.entity.layer,
                        serviceName=report.entity.service,
                        instanceName=report.entity.instance,
                        processName=report.entity.process,
                        labels=report.entity.labels,
                    )
                )
                for report in reports
            ],
        ).SerializeToString()
        times.append(1000 * (time.process_time() - began))
    return statistics.median(times)


def held() -> int:
    """Bytes of this process, without what is only not yet freed."""
    gc.collect()
    return resident()


def child(address: str, amount: int) -> None:
    """Be an agent that has nothing but a reporter; print figures."""
    from rover.config.settings import BackendSettings, DiscoverySettings  # noqa: PLC0415
    from rover.model import Changes  # noqa: PLC0415

    bare = held()
    from rover.reporter.reporter import Reporter  # noqa: PLC0415
    from rover.reporter.state import Phase  # noqa: PLC0415

    pid = os.getpid()
    found: dict[str, float] = {}

    def beats() -> float:
        """Milliseconds of CPU a beat."""
        time.sleep(1.5)
        before = cpu_seconds(pid)
        time.sleep(BEATS)
        return 1000 * (cpu_seconds(pid) - before) / BEATS

    def run(every: int, reports: tuple[Report, ...]) -> Reporter:
        discovery = DiscoverySettings(heartbeat_period=1.05, properties_report_period=every)
        reporter = Reporter(BackendSettings(addr=address), discovery, "bench")
        reporter.start()
        while reporter.session.phase is not Phase.BEATING:
            time.sleep(0.001)
        before, began = cpu_seconds(pid), time.monotonic()
        reporter.publish(Changes(announced=reports))
        while reporter.session.entities < len(reports) or reporter.session.waiting:
            time.sleep(0.002)
        found["known_s"] = time.monotonic() - began
        found["announce_cpu_ms"] = 1000 * (cpu_seconds(pid) - before)
        return reporter

    reporter = run(10**6, ())
    found["connected_mb"] = (held() - bare) / 2**20
    found["idle_ms"] = beats()
    reporter.stop()
    reports = tuple(map(made_up, range(amount)))
    before = held()
    reporter = run(10**6, reports)
    found["beat_ms"] = beats()
    found["entity_bytes"] = (held() - before) / amount
    found["rss_mb"] = held() / 2**20
    reporter.stop()
    found["from_nothing_ms"] = from_nothing(reports)
    reporter = run(1, reports)
    found["full_ms"] = beats()
    reporter.stop()
    print(json.dumps(found))


def main() -> None:
    chosen = options(__doc__).parse_args()
    from rover.backend import EmbeddedBackend  # noqa: PLC0415  the child must not load a backend

    figures = Figures("what the reporter costs", as_json=chosen.json)
    figures.start()
    for amount in AMOUNTS:
        with EmbeddedBackend() as server:
            command = [sys.executable, "-m", "bench.beat", "--child", server.address, str(amount)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            calls = server.state.snapshot().calls
        found = json.loads(told)
        sizes = {
            method: sum(call.size for call in calls if call.method == method)
            / max(1, sum(call.items for call in calls if call.method == method))
            for method in ("keepAlive", "reportProcesses")
        }
        name = f"{amount} entities"
        figures.limit(f"{name}, a second with its beat", found["beat_ms"], "ms CPU", 50)
        figures.add("  a second with a beat for nobody", found["idle_ms"], "ms CPU")
        figures.add("  building its message from nothing", found["from_nothing_ms"], "ms CPU")
        full = found["full_ms"] - found["beat_ms"]
        figures.add("  full report, beside its beat", full, "ms CPU")
        figures.add("  bytes an entity in a beat", sizes["keepAlive"], "B")
        figures.add("  bytes an entity in a full report", sizes["reportProcesses"], "B")
        figures.limit("  published to known by the backend", found["known_s"], "s", 5)
        if amount == max(AMOUNTS):  # with few, what is there once weighs more than they do
            figures.limit("  reporter's memory an entity", found["entity_bytes"], "B", 2048)
        figures.add("  imports and an idle connection", found["connected_mb"], "MB")
        figures.add("  resident, made-up entities included", found["rss_mb"], "MB")
    figures.end()


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(sys.argv[-2], int(sys.argv[-1]))
    else:
        main()

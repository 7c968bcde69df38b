"""Processes of every fate, judged by the real judges, and their stories."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "unit" / "naming"))

from pod_rig import DEFAULTS, HOST, ID, UID, analyzers, pod, process

from rover.config.contexts import HOST_NAMES
from rover.config.patterns import compile_pattern
from rover.config.settings import RegexFinderSettings, ScanMode, ScannerSettings
from rover.explain.question import Question
from rover.explain.story import Explainer
from rover.gotemplate import Template
from rover.k8s.index import PodIndex
from rover.k8s.records import ContainerRecord, PodsListed, ServiceRecord, ServiceSeen
from rover.model import Process, Reason, Verdict
from rover.naming.cluster_judge import ClusterJudge
from rover.naming.host.finders import HostFinders
from rover.naming.host.judge import HostJudge
from rover.naming.judge import Judge
from rover.naming.pods.join import PodJoin
from rover.redaction import Redaction
from rover.reporter.state import EntityState, Standing
from rover.sensor.metadata import Metadata
from rover.sensor.watch import SensorFigures
from rover.table import Table, Why

OTHER = "1" * 64
FILE = "/etc/rover/rover.yaml"
NOW = 1_795_000_000.0
SECRET = "java -jar app.jar --db-password=hunter2 --port 8080"  # noqa: S105
HUNTED = "hunter2"
SLICES = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable"


def in_pod(container_id: str = ID, uid: str = UID) -> str:
    return f"0::{SLICES}-pod{uid.replace('-', '_')}.slice/cri-containerd-{container_id}.scope\n"


class Sensor:
    """What language agents say, without any."""

    def __init__(self, *, pending: bool = False, says: Metadata | None = None) -> None:
        self.pending, self.says = pending, says

    figures = SensorFigures(0, 0, 0, 0, 0, 0)

    def watch(self, process: Process, now: float) -> None: ...

    def forget(self, key: object) -> None: ...

    def is_pending(self, key: object) -> bool:  # noqa: ARG002
        return self.pending

    def metadata(self, key: object) -> Metadata | None:  # noqa: ARG002
        return self.says

    def obstacle(self, key: object) -> str:  # noqa: ARG002
        return ""


def regex(match: str, name: str = "{{.Process.ExeName}}", service: str = "shop") -> Any:
    return RegexFinderSettings(
        compile_pattern(match),
        "OS_LINUX",
        Template.compile(service, HOST_NAMES),
        Template.compile("{{.Rover.HostName}}", HOST_NAMES),
        Template.compile(name, HOST_NAMES),
    )


def host(
    *regexes: RegexFinderSettings,
    mode: ScanMode = ScanMode.AUTO,
    ignore: tuple[str, ...] = (),
    sensor: Sensor | None = None,
) -> HostJudge:
    sensor = sensor or Sensor()
    settings = ScannerSettings(mode=mode, regex=regexes)
    patterns = tuple(map(compile_pattern, ignore))
    return HostJudge(HostFinders(settings, patterns, HOST, sensor, ""), sensor, 3.0)


def cluster(
    *messages: object,
    items: tuple[Any, ...] = DEFAULTS,
    namespaces: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    outside: HostJudge | None = None,
) -> ClusterJudge:
    join = PodJoin(
        PodIndex(),
        analyzers(*items, namespaces=namespaces, ignore=tuple(map(compile_pattern, ignore))),
        list_again=lambda: None,
        ask_owner=lambda _namespace, _owner: None,
    )
    judge = ClusterJudge(join, outside)
    for message in messages:
        judge.apply(message)
    return judge


SERVICE = ServiceSeen(ServiceRecord("default", "web", (("app", "productpage"),)))
LISTED = (PodsListed((pod(),)), SERVICE)
MESH = pod(
    ContainerRecord("app", f"containerd://{ID}"), ContainerRecord("istio-proxy", "containerd://x")
)


class Known:
    """What an explainer asks of a census."""

    def __init__(self, judge: Judge, *processes: Process) -> None:
        self.table = Table()
        for each in processes:
            self.table.put(each, judge.judge(each))
        self.others: dict[int, Why] = {}

    def why(self, pid: int) -> Why | None:
        return self.others.get(pid) or self.table.why(pid)


def origins(**different: str) -> dict[str, str]:
    keys = {
        "process_discovery.ignore": f"{FILE}:7",
        "process_discovery.scanner.regex[0].match_cmd": f"{FILE}:11",
        "process_discovery.scanner.regex[0].service_name": f"{FILE}:12",
        "process_discovery.scanner.regex[0].process_name": f"{FILE}:13",
        "process_discovery.kubernetes.namespaces": "env ROVER_NAMESPACES",
        "process_discovery.kubernetes.analyzers[0].filters": f"{FILE}:21",
        "process_discovery.kubernetes.analyzers[0].service_name": f"{FILE}:23",
    }
    return keys | different


def kept(_key: object) -> EntityState:
    return EntityState(Standing.REPORTED, "ab" * 32, "", NOW - 12.0, NOW - 3.0)


def told(
    judge: Judge,
    *processes: Process,
    question: Question | None = None,
    standing: Callable[[Any], EntityState | None] = kept,
) -> dict[str, Any]:
    """Tell of processes; the first is asked about where no question is given."""
    known = Known(judge, *processes)
    question = question or Question(pid=processes[0].pid)
    answer = Explainer(judge, standing, origins()).answer(question, known)
    for story in answer.get("processes", ()):
        story["started"] = NOW - 7_300
    return answer | {"now": NOW}


def unjudged(reason: Reason) -> dict[str, Any]:
    """Tell of a process that no judge was asked about."""
    judge, one = host(), process()
    known = Known(judge, one)
    known.table.put(one, Verdict(reason=reason, detail="KeyError('x') at rover/table.py:7"))
    answer = Explainer(judge, kept, origins()).answer(Question(pid=one.pid), known)
    answer["processes"][0]["started"] = NOW - 7_300
    return answer | {"now": NOW}


MASKED = Redaction().arguments(SECRET.replace(" ", "\0").encode())
ON_HOST = process(cgroup="0::/system.slice/cart.service\n", command_line=SECRET, redacted=MASKED)
IN_POD = process(cgroup=in_pod(), command_line=SECRET, redacted=MASKED)
YOUNGER = replace(ON_HOST, key=ON_HOST.key._replace(pid=4711, start_ticks=9))

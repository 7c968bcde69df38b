"""Give a pod's process its entities: one for each analyzer whose filters match.

What goes wrong in one analyzer is told in the verdict and keeps no other from its entity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rover.config.contexts import PodNames
from rover.gotemplate import TemplateError
from rover.model import Container, Reason, Report, Verdict
from rover.naming.contexts import ProcessContext, RoverContext
from rover.naming.entity import render_entity
from rover.naming.pods.contexts import PodContext, container_context
from rover.naming.rule_failures import Complaints
from rover.naming.trail import ANALYZERS, NAMESPACES, Step, Test, filter_tests, shortened

if TYPE_CHECKING:
    from rover.config.filters import Filter
    from rover.config.patterns import Pattern
    from rover.config.settings import AnalyzerSettings, KubernetesSettings
    from rover.gotemplate import Template
    from rover.k8s.index import PodContainer
    from rover.k8s.records import OwnerRef, PodRecord
    from rover.model import EntityKey, Process
    from rover.naming.host_facts import Host
    from rover.naming.trail import Trail

_OWNERS: Final = frozenset({"OwnerName", "HasOwnerName"})
_ENV: Final = frozenset({"EnvValue"})


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and what it would take to make it better."""

    verdict: Verdict
    wanted: tuple[OwnerRef, ...] = ()
    """Owners of the pod whose own owners must be asked for."""


class Analyzers:
    """The analyzers of ``process_discovery.kubernetes`` behind one question.

    Attributes:
        use_env: Some template asks for the variables of a container.
        use_owners: Some template asks for a pod's owners.
    """

    def __init__(
        self,
        settings: KubernetesSettings,
        ignore: tuple[Pattern, ...],
        host: Host,
        cluster_name: str,
    ) -> None:
        """Choose the active analyzers.

        Args:
            settings: Analyzers and namespaces; no namespace means all.
            ignore: Processes whose command line one of these matches are nobody's.
            host: The agent and its host, for ``.Rover``.
            cluster_name: Prefix of service names; may be empty.
        """
        self._analyzers = tuple(
            (f"analyzer {number} ({each.layer})", each)
            for number, each in enumerate(settings.analyzers, start=1)
            if each.active
        )
        self._namespaces = frozenset(settings.namespaces)
        self._ignore = ignore
        self._host = host
        self._rover = RoverContext(host)
        self._cluster_name = cluster_name
        self._complaints = Complaints()
        uses = frozenset[str]().union(
            *[template.uses for _, each in self._analyzers for template in _templates(each)]
        )
        self.use_env = bool(uses & _ENV)
        self.use_owners = bool(uses & _OWNERS)

    def judge(self, process: Process, found: PodContainer, trail: Trail | None = None) -> Judgement:
        """Decide what a process of a container is called.

        Args:
            process: a live one.
            found: its container.
            trail: takes each step of the way, where somebody wants to know.
        """
        left_out = self._left_out(process, found.pod, trail)
        if left_out:
            return Judgement(left_out)
        pod = found.pod
        context = PodNames(
            rover=self._rover,
            process=(seen := ProcessContext(process, self._host)),
            pod=(pod_context := PodContext(found)),
            container=container_context(found),
        )
        if trail:
            self._trace(context, trail)
        container = _shared(
            Container(
                id=found.id,
                name=found.container.name,
                pod_name=pod.name,
                namespace=pod.namespace,
                pod_ip=pod.pod_ip,
                host_ip=pod.host_ip,
            )
        )
        reports: dict[EntityKey, Report] = {}
        matched, faults = [], []
        for name, analyzer in self._analyzers:
            try:
                if not _matches(analyzer, context):
                    continue
                entity = render_entity(analyzer, context, self._cluster_name)
            except TemplateError as error:
                # otherwise it is judged again once they are known
                if not (pod_context.wanted or seen.unnamed):
                    self._complaints.note(name, str(error), process.pid)
                faults.append(f"{name}: {error}")
                continue
            matched.append(name)
            reports.setdefault(entity.key, Report(entity, process, container))
        wanted = tuple(dict.fromkeys(pod_context.wanted))
        verdict = _verdict(tuple(reports.values()), matched, faults, found)
        if seen.unnamed and not reports:
            verdict = replace(verdict, reason=Reason.PENDING)
        return Judgement(verdict, wanted)

    def _left_out(self, process: Process, pod: PodRecord, trail: Trail | None) -> Verdict | None:
        """Tell why a process is nobody's, before any analyzer is asked."""
        line = process.command_line if self._ignore else ""
        for number, pattern in enumerate(self._ignore, start=1):
            matches = pattern.search(line) is not None
            if trail:
                trail.ignored(number, pattern, matches=matches)
            if matches:
                return Verdict(reason=Reason.IGNORED, detail=pattern.pattern)
        if self._namespaces:
            observed = pod.namespace in self._namespaces
            if trail:
                trail.add(self._namespace_step(pod.namespace, observed=observed))
            if not observed:
                return Verdict(reason=Reason.NAMESPACE, detail=pod.namespace)
        return None

    def _namespace_step(self, namespace: str, *, observed: bool) -> Step:
        value = f"{namespace} is {'one' if observed else 'none'} of them"
        test = Test("namespaces", ", ".join(sorted(self._namespaces)), value)
        outcome = "observes its namespace" if observed else "does not observe its namespace"
        return Step("namespaces", outcome, NAMESPACES, decides=not observed, tests=(test,))

    def _trace(self, context: PodNames, trail: Trail) -> None:
        """Write down what each analyzer comes to, with the value of each filter."""
        for name, analyzer in self._analyzers:
            entity = None
            try:
                if _matches(analyzer, context):
                    entity = render_entity(analyzer, context, self._cluster_name)
                outcome = "names it" if entity else "does not apply"
            except TemplateError as error:
                outcome = f"fails: {shortened(str(error))}"
            tests = tuple(filter_tests(analyzer.filters, context))
            key = f"{ANALYZERS}[{int(name.split()[1]) - 1}]"
            trail.add(Step(name, outcome, key, entity is not None, tests, entity))


def _verdict(
    reports: tuple[Report, ...], matched: list[str], faults: list[str], found: PodContainer
) -> Verdict:
    if reports:
        return Verdict(reports, detail="; ".join([", ".join(matched), *faults]))
    if faults:
        return Verdict(reason=Reason.TEMPLATE, detail="; ".join(faults))
    pod = found.pod
    where = f"container {found.container.name} of pod {pod.namespace}/{pod.name}"
    return Verdict(reason=Reason.NO_FINDER, detail=f"no analyzer's filters match {where}")


def _matches(analyzer: AnalyzerSettings, context: PodNames) -> bool:
    """Tell whether all filters hold; those after the first that does not are not evaluated."""
    for number, each in enumerate(analyzer.filters, start=1):
        try:
            if not each.matches(context):
                return False
        except TemplateError as error:
            where = f"filter {number}"
            where += "" if error.column is None else f", column {error.column}"
            raise TemplateError(f"{where}: {error}", column=error.column) from error
    return True


def _templates(analyzer: AnalyzerSettings) -> list[Template | Filter]:
    names = (analyzer.service_name, analyzer.instance_name, analyzer.process_name, analyzer.labels)
    return [*analyzer.filters, *(name for name in names if name is not None)]


@lru_cache(maxsize=1_024)
def _shared(container: Container) -> Container:
    """Return one record for all processes of a container."""
    return container

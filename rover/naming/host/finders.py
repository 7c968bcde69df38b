"""Give processes of the host their entities: by an agent's word, a regex, a systemd unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rover.config.contexts import HostNames
from rover.config.settings import ScanMode
from rover.gotemplate import TemplateError
from rover.k8s.cgroup import SHOWN, containers_of
from rover.model import STANDARD_PROPERTIES, Reason, Report, Verdict, is_blank
from rover.naming.contexts import FinderContext, ProcessContext, RoverContext
from rover.naming.entity import bounded_entity, render_entity, service_in_cluster
from rover.naming.rule_failures import Complaints
from rover.naming.systemd import SERVICE, service_unit
from rover.naming.trail import METADATA, MODE, REGEX, Step, Test, shortened
from rover.redaction import Redaction

if TYPE_CHECKING:
    from rover.config.patterns import Pattern
    from rover.config.settings import RegexFinderSettings, ScannerSettings
    from rover.model import Entity, Process
    from rover.naming.host_facts import Host
    from rover.naming.trail import Trail
    from rover.sensor import Metadata, Sensor

NAMES_IT: Final = "names it"
UNIT: Final = "systemd unit, else the host"
_LAYER: Final = "OS_LINUX"
_UNNAMED: Final = "unnamed"
"""Process without an executable that can be read and without a name of its own."""


class HostFinders:
    """The finders of ``process_discovery.scanner`` behind one question."""

    def __init__(
        self,
        settings: ScannerSettings,
        ignore: tuple[Pattern, ...],
        host: Host,
        sensor: Sensor,
        cluster_name: str,
        *,
        redaction: Redaction = Redaction(),  # noqa: B008  immutable
    ) -> None:
        """Choose the finders.

        Args:
            settings: Which finders, and their templates.
            ignore: Processes whose command line one of these matches are nobody's.
            host: Names what no finder names.
            sensor: Knows what SkyWalking agents say; asked in memory only.
            cluster_name: Prefix of service names; may be empty.
            redaction: Decides what of an agent's properties is told.
        """
        self._regex = settings.regex if settings.mode is not ScanMode.AGENT_SENSOR else ()
        self._sensor = sensor if settings.mode is not ScanMode.REGEX else None
        self._names_all = settings.mode is ScanMode.AUTO
        self._nothing = _NOTHING_FOUND[settings.mode]
        self._ignore = ignore
        self._host = host
        self._rover = RoverContext(host)
        self._cluster_name = cluster_name
        self._complaints = Complaints()
        self._redaction = redaction

    @property
    def ask_agents(self) -> bool:
        """Whether a verdict may depend on what the sensor knows."""
        return self._sensor is not None

    def judge(self, process: Process, trail: Trail | None = None) -> Verdict:
        """Decide what a process is called; a template that fails on it is told in the verdict.

        Args:
            process: a live one.
            trail: takes each step of the way, where somebody wants to know.
        """
        line = process.command_line if self._ignore or self._regex else ""
        for number, pattern in enumerate(self._ignore, start=1):
            matches = pattern.search(line) is not None
            if trail:
                trail.ignored(number, pattern, matches=matches)
            if matches:
                return Verdict(reason=Reason.IGNORED, detail=pattern.pattern)
        return (
            self._by_metadata(process, trail)
            or self._by_regex(process, line, trail)
            or self._by_unit(process, trail)
        )

    def add_unasked(self, trail: Trail) -> None:
        """Write down the finders that come after the one that decided."""
        known = {step.rule for step in trail.steps}
        rules = [(METADATA, "")] if self._sensor else []
        rules += [_regex_rule(number) for number, _ in enumerate(self._regex, start=1)]
        rules += [(UNIT, MODE)] if self._names_all else []
        for rule, key in rules:
            if rule not in known:
                trail.add(Step(rule, "is not asked", key))

    def _by_metadata(self, process: Process, trail: Trail | None) -> Verdict | None:
        metadata = self._sensor.metadata(process.key) if self._sensor else None
        if trail and self._sensor and not metadata:
            obstacle = self._sensor.obstacle(process.key)
            trail.add(Step(METADATA, "none" + (f": {obstacle}" if obstacle else "")))
        if not metadata:
            return None
        entity = self._entity_of(metadata)
        if trail:
            trail.add(Step(METADATA, NAMES_IT, decides=True, entity=entity))
        report = Report(
            entity,
            process,
            properties=self._properties_of(metadata),
            own_word=process.uid != 0,
        )
        return Verdict((report,), detail="metadata of its SkyWalking agent")

    def _by_regex(self, process: Process, line: str, trail: Trail | None) -> Verdict | None:
        for number, finder in enumerate(self._regex, start=1):
            match = finder.match_cmd.search(line)
            if not match:
                if trail:
                    trail.add(_regex_step(number, finder, "does not match"))
                continue
            detail = f"regex {finder.match_cmd.pattern}"
            context = HostNames(
                rover=self._rover,
                process=(seen := ProcessContext(process, self._host)),
                finder=FinderContext(finder.layer, match),
            )
            try:
                entity = render_entity(finder, context, self._cluster_name)
            except TemplateError as error:
                if seen.unnamed:  # it must not be reported under another name first
                    if trail:
                        trail.add(_regex_step(number, finder, f"waits: {shortened(str(error))}"))
                    return Verdict(reason=Reason.PENDING, detail=f"{detail}: {error}")
                self._complaints.note(detail, str(error), process.pid)
                if trail:
                    trail.add(_regex_step(number, finder, f"fails: {shortened(str(error))}"))
                return Verdict(reason=Reason.TEMPLATE, detail=f"{detail}: {error}")
            if trail:
                trail.add(_regex_step(number, finder, NAMES_IT, entity))
            return Verdict((Report(entity, process),), detail=detail)
        return None

    def _by_unit(self, process: Process, trail: Trail | None) -> Verdict:
        if not self._names_all:
            if trail:
                trail.add(Step("end of the finders", self._nothing, MODE, decides=True))
            return Verdict(reason=Reason.NO_FINDER, detail=self._nothing)
        unit = service_unit(process.cgroup)
        entity = bounded_entity(
            layer=_LAYER,
            service=service_in_cluster(
                self._cluster_name, unit.removesuffix(SERVICE) or self._host.name
            ),
            instance=self._host.name,
            process=_first_name(process.exe_name, process.name),
        )
        detail = f"systemd unit {unit}" if unit else _without_unit(process.cgroup)
        if trail:
            trail.add(Step(UNIT, f"{NAMES_IT}: {detail}", MODE, decides=True, entity=entity))
        return Verdict((Report(entity, process),), detail=detail)

    def _entity_of(self, metadata: Metadata) -> Entity:
        # No cluster's name before the service: the agent itself reports under the name as it
        # stands, and the two must be one service.
        return bounded_entity(
            layer=metadata.layer,
            service=metadata.service,
            instance=metadata.instance,
            process=metadata.process,
            labels=tuple(self._redaction.property("", label) for label in metadata.labels),
        )

    def _properties_of(self, metadata: Metadata) -> tuple[tuple[str, str], ...]:
        given = tuple(
            (name, self._redaction.property(name, value))
            for name, value in metadata.properties
            if name not in STANDARD_PROPERTIES
        )
        if not metadata.language or any(name == "language" for name, _ in given):
            return given
        return (*given, ("language", metadata.language))


def _regex_rule(number: int) -> tuple[str, str]:
    return f"regex finder {number}", f"{REGEX}[{number - 1}]"


def _regex_step(
    number: int, finder: RegexFinderSettings, outcome: str, entity: Entity | None = None
) -> Step:
    """Write down what a regex finder came to; it is the last unless its regex does not match."""
    rule, key = _regex_rule(number)
    matches = outcome != "does not match"
    test = Test("match_cmd", finder.match_cmd.pattern, "matches" if matches else outcome)
    return Step(rule, outcome, key, decides=matches, tests=(test,), entity=entity)


def _without_unit(cgroup: str) -> str:
    """Say what a process that the host gives its name is part of."""
    for container in containers_of(cgroup):
        runtime = f" ({container.runtime})" if container.runtime else ""
        return f"host: container {container.id[:SHOWN]}{runtime}"
    return "host"


_NOTHING_FOUND: Final = {
    ScanMode.AUTO: "",
    ScanMode.REGEX: "no regex matches its command line",
    ScanMode.AGENT_SENSOR: "it has no metadata of a SkyWalking agent, or no fresh one",
}


def _first_name(*names: str) -> str:
    return next((name for name in names if not is_blank(name)), _UNNAMED)

"""The way of one process through all that may name it, written down for who asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rover.gotemplate import Template, TemplateError
from rover.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rover.config.filters import Filter
    from rover.config.patterns import Pattern
    from rover.k8s.cgroup import ContainerRef
    from rover.k8s.index import PodContainer
    from rover.model import Entity

IGNORE: Final = "process_discovery.ignore"
REGEX: Final = "process_discovery.scanner.regex"
MODE: Final = "process_discovery.scanner.mode"
ANALYZERS: Final = "process_discovery.kubernetes.analyzers"
NAMESPACES: Final = "process_discovery.kubernetes.namespaces"
HOST_PROCESSES: Final = "process_discovery.kubernetes.host_processes"

METADATA: Final = "SkyWalking agent's metadata"

MOST_SHOWN: Final = 200
"""Characters of a value."""
_FACT: Final = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`|((?:\.[A-Z]\w*){2,})')
"""A chain of names outside of strings."""
_NOT_SHOWN: Final = frozenset({".Process.CommandLine", ".Process.ExeNameInCommandLine"})
"""They may hold secrets; the command line is shown without them elsewhere."""


@dataclass(frozen=True, slots=True)
class Test:
    """One condition of a rule, and how it came out."""

    what: str
    """Which, by the name of its key: ``match_cmd``, ``filters[0]``."""
    source: str
    value: str
    facts: tuple[tuple[str, str], ...] = ()
    """What it looks at, by name."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that a process came to."""

    rule: str
    outcome: str
    key: str = ""
    """Of the configuration, where the rule stands; empty for what is built in."""
    decides: bool = False
    """Whether nothing after it counts, or it gives an entity."""
    tests: tuple[Test, ...] = ()
    entity: Entity | None = None


@dataclass(slots=True)
class Trail:
    """The steps in their order, and what was found of the process's container on the way."""

    steps: list[Step] = field(default_factory=list)
    container: ContainerRef | None = None
    found: PodContainer | None = None

    def add(self, step: Step) -> None:
        """Write down one step."""
        self.steps.append(step)

    def ignored(self, number: int, pattern: Pattern, *, matches: bool) -> None:
        """Write down what a rule of ``process_discovery.ignore`` said."""
        value = "matches" if matches else "does not match"
        self.add(
            Step(
                rule=f"ignore rule {number}",
                outcome="leaves it out" if matches else "passes",
                key=IGNORE,
                decides=matches,
                tests=(Test(f"ignore[{number - 1}]", pattern.pattern, value),),
            )
        )


def filter_tests(filters: Sequence[Filter], context: object) -> Iterator[Test]:
    """Evaluate every filter, also those after one that does not hold."""
    for number, each in enumerate(filters):
        try:
            value = "true" if each.matches(context) else "false"
        except TemplateError as error:
            value = shortened(f"fails: {error}")
        yield Test(f"filters[{number}]", each.source, value, tuple(_facts(each, context)))


def _facts(each: Filter, context: object) -> Iterator[tuple[str, str]]:
    """Look up the plain facts that a filter names."""
    for match in dict.fromkeys(found[1] for found in _FACT.finditer(each.source)):
        if not match or match in _NOT_SHOWN:
            continue
        try:
            value = Template.compile(f"{{{{{match}}}}}", each.schema).render(context)
        except TemplateError:  # it takes arguments, or has no value: the filter's own error tells
            continue
        if match != each.source:
            yield match, shortened(value)


def shortened(text: str) -> str:
    """Cut a value that somebody else made, without the secrets in it."""
    text = without_secrets(text)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"

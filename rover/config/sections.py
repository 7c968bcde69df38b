"""Lists of sections: finders of host processes and analyzers of pods."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rover.config.analyzers import default_analyzers
from rover.config.contexts import HOST_NAMES, POD_FILTERS, POD_NAMES
from rover.config.filters import Filter
from rover.config.layers import doubt
from rover.config.origin import DEFAULT, Given, Origin, Source
from rover.config.reading import read_value
from rover.config.settings import AnalyzerSettings, Key, Kind, RegexFinderSettings, ScanMode
from rover.gotemplate import Template, TemplateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.sources import Findings, Sources
    from rover.gotemplate import Object

_Item = TypeVar("_Item", RegexFinderSettings, AnalyzerSettings)

_SHOWN: Final = 80
"""Characters of a wrong value that a message repeats."""


def regex_finders(
    path: str, mode: ScanMode, sources: Sources, findings: Findings
) -> tuple[RegexFinderSettings, ...]:
    """Build the regex finders: the file's, or the one that variables describe.

    An item without `match_cmd` and `service_name` is none: SkyWalking Rover's own files hold such
    a one, to be filled in by variables.
    """
    sections = sources.sections(path)
    if sections is None:
        origin = Origin(Source.ENV, "the environment")
        listed = [(_from_environment(sources), origin)]
    else:
        listed = [
            (sources.item(f"{path}[{number}]", section), sources.at(section))
            for number, section in enumerate(sections)
        ]
    finders = []
    for number, (givens, origin) in enumerate(listed):
        filled = [name for name in ("match_cmd", "service_name") if _is_filled(givens.get(name))]
        if not filled or (mode is ScanMode.AGENT_SENSOR and "match_cmd" not in filled):
            if givens and not any(map(_is_placeholder, givens.values())):
                findings.warn(
                    origin,
                    f"{path}[{number}]",
                    "names nothing without match_cmd and service_name, and is left out",
                )
            continue
        builder = _Builder(f"{path}[{number}]", givens, origin, findings)
        finder = builder.build(RegexFinderSettings, HOST_NAMES)
        if finder is not None:
            finders.append(finder)
    return tuple(finders)


def _is_placeholder(given: Given) -> bool:
    return given.is_default or bool(given.origin.variables)


def _is_filled(given: Given | None) -> bool:
    return given is not None and bool(given.text.strip() or given.items)


def _from_environment(sources: Sources) -> dict[str, Given]:
    variables = {field.name: field.metadata["key"].env for field in fields(RegexFinderSettings)}
    sources.used.update(variables.values())
    return {
        name: Given(value, Origin(Source.ENV, variable))
        for name, variable in variables.items()
        if (value := sources.environment.get(variable))
    }


def pod_analyzers(path: str, sources: Sources, findings: Findings) -> tuple[AnalyzerSettings, ...]:
    """Build the analyzers: the file's, or the three defaults with their variables."""
    sections = sources.sections(path)
    if sections is None:
        listed = [(givens, DEFAULT) for givens in default_analyzers(sources.environment)]
        sources.used.update(given.origin.name for givens, _ in listed for given in givens.values())
    else:
        listed = [
            (sources.item(f"{path}[{number}]", section), sources.at(section))
            for number, section in enumerate(sections)
        ]
    analyzers = []
    for number, (givens, origin) in enumerate(listed):
        builder = _Builder(f"{path}[{number}]", givens, origin, findings)
        analyzer = builder.build(AnalyzerSettings, POD_NAMES)
        if analyzer is not None:
            analyzers.append(analyzer)
    return tuple(analyzers)


class _Builder:
    """Reads the keys of one item."""

    def __init__(
        self, path: str, givens: Mapping[str, Given], origin: Origin, findings: Findings
    ) -> None:
        self._path = path
        self._givens = givens
        self._origin = origin
        self._findings = findings
        self._failed = False

    def build(self, of: type[_Item], names: Object) -> _Item | None:
        """Build the item; None where something is wrong, which is noted."""
        values = {
            field.name: self._value(field.name, field.metadata["key"], names)
            for field in fields(of)
        }
        return None if self._failed else of(**values)

    def _value(self, name: str, key: Key, names: Object) -> Any:  # noqa: ANN401 - any setting's
        given = self._givens.get(name)
        if given is None and key.otherwise is not None:
            given = Given(key.otherwise)
        if given is None:
            self._fail(self._origin, name, "is missing; give it")
            return None
        self._findings.origins[f"{self._path}.{name}"] = given.origin
        if key.kind is Kind.FILTERS:
            return self._filters(name, given)
        try:
            return self._read(name, key, given, names)
        except TemplateError as error:
            self._fail(given.origin, name, _told(error, given.text))
        except ValueError as error:
            shown = f"{given.text[:_SHOWN]!r}: " if given.text else ""
            self._fail(given.origin, name, f"{shown}{error}")
        return None

    def _read(self, name: str, key: Key, given: Given, names: Object) -> object:
        if given.items is None and not given.text.strip() and key.kind is not Kind.FLAG:
            if key.otherwise == "":
                # Labels may be empty: there are none then.
                return None
            raise ValueError("is empty; give it")
        if key.kind is Kind.TEMPLATE and given.items is None:
            return Template.compile(given.text, names)
        value = read_value(key, given, None)
        if name == "layer" and (problem := doubt(str(value))):
            self._findings.warn(given.origin, f"{self._path}.{name}", problem)
        return value

    def _filters(self, name: str, given: Given) -> tuple[Filter, ...]:
        """Compile the filters; a single one need not be a list."""
        single = (given,) if given.text.strip() else ()
        filters = []
        for number, item in enumerate(single if given.items is None else given.items):
            path = f"{name}[{number}]"
            self._findings.origins[f"{self._path}.{path}"] = item.origin
            if not item.text.strip():
                self._fail(item.origin, path, "is empty; remove it")
                continue
            try:
                compiled = Filter.compile(item.text, POD_FILTERS)
            except TemplateError as error:
                self._fail(item.origin, path, _told(error, item.text))
                continue
            if compiled.doubt:
                self._findings.warn(
                    item.origin,
                    f"{self._path}.{path}",
                    f"{item.text[:_SHOWN]!r} gives a {compiled.doubt} and no boolean: it matches"
                    " only where that reads true",
                )
            filters.append(compiled)
        return tuple(filters)

    def _fail(self, origin: Origin, name: str, what: str) -> None:
        self._failed = True
        self._findings.problem(origin, f"{self._path}.{name}", what)


def _told(error: TemplateError, source: str) -> str:
    column = "" if error.column is None else f"column {error.column}: "
    return f"{column}{error}; in {source[:_SHOWN]!r}"

"""Flags, variables, a file and defaults become one frozen tree of settings.

In this order: what a flag says counts before what the environment says, then the file, then the
default. Everything that is wrong is told at once, each with its place, its key and what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rover.config.analyzers import variables as analyzer_variables
from rover.config.document import Scalar, Section, Sequence
from rover.config.keys import all_keys, children, mistaken, nearest, spelling
from rover.config.origin import DEFAULT, Origin, Source, file_name
from rover.config.reading import MAX_ITEMS, read_value
from rover.config.sections import pod_analyzers, regex_finders
from rover.config.settings import (
    FOREIGN_BELOW,
    FOREIGN_SECTIONS,
    AnalyzerSettings,
    Key,
    Kind,
    RegexFinderSettings,
    ScanMode,
    Settings,
    kubernetes_active,
)
from rover.config.sources import Findings, Sources
from rover.errors import ConfigError
from rover.redaction import url_without_password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.document import Entry

DEFAULT_FILE: Final = Path("/etc/rover/rover.yaml")
FILE_VARIABLE: Final = "ROVER_CONFIG"

_UNBRACED: Final = re.compile(r"\$([A-Z_][A-Z0-9_]+)")
"""A variable as shells have it, which nobody replaces here."""

REGEX: Final = "process_discovery.scanner.regex"
ANALYZERS: Final = "process_discovery.kubernetes.analyzers"
MODE: Final = "process_discovery.scanner.mode"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and how they came about."""

    settings: Settings
    origins: Mapping[str, Origin]
    """By the key's name in the file; items of lists have their number, as in ``analyzers[0]``."""
    ignored: tuple[str, ...] = ()
    """Sections that configure modules of SkyWalking Rover which this agent does not have."""
    warnings: tuple[str, ...] = ()
    """What is likely a mistake, and is obeyed all the same."""
    file: Path | None = None
    sets_nothing: bool = False
    """There is a file, and it sets no key of this agent."""

    @property
    def unknown(self) -> tuple[str, ...]:
        """Those of the ignored keys that no version of SkyWalking Rover is known to have."""
        known = {*FOREIGN_SECTIONS, *FOREIGN_BELOW}
        return tuple(key for key in self.ignored if key.lower() not in known)


def find_file(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Choose the file: the given one, the one ROVER_CONFIG names, /etc/rover/rover.yaml if there.

    Returns:
        The path, which need not exist where somebody named it; None where there is no file.
    """
    if given is not None:
        return given
    if named := environment.get(FILE_VARIABLE):
        return Path(named)
    try:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    except OSError:
        # Its directory is closed to us: nobody asked for that file.
        return None


def load(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, str] | None = None
) -> Loaded:
    """Load the settings.

    Args:
        file: The configuration file, None for none; see `find_file`.
        environment: Environment variables; an empty one counts as unset.
        flags: Values by the key's name in the file, such as ``core.backend.addr``.

    Raises:
        ConfigError: Something is wrong; the message has one line for each error.
    """
    findings = Findings()
    document = Section(1, {}) if file is None else _read(file)
    spelled = {spelling(path): value for path, value in (flags or {}).items()}
    sources = Sources(document, file_name(file) if file else "", environment, spelled, findings)
    settings: Settings = _section(Settings, "", sources, findings)
    _check_mode(settings, environment, findings)
    _check_names(sources, findings)
    _check_variables(sources, findings)
    if findings.problems:
        in_order = sorted(findings.problems, key=lambda problem: problem[0])
        raise ConfigError(_joined([what for _, what in in_order]))
    ignored = [entry.key for entry in document.entries.values() if _is_foreign(entry)]
    ignored += [path for path in FOREIGN_BELOW if sources.node(path) is not None]
    in_file = (origin.source is Source.FILE for origin in findings.origins.values())
    listed = (sources.node(path) is not None for path in (REGEX, ANALYZERS))
    return Loaded(
        settings,
        findings.origins,
        tuple(ignored),
        tuple(findings.warnings),
        file,
        sets_nothing=file is not None and not any((*in_file, *listed)),
    )


def _read(file: Path) -> Section:
    # Here, not above: an agent that has no file need not hold a YAML parser.
    from rover.config.yaml_file import read  # noqa: PLC0415

    return read(file)


def _joined(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"{len(problems)} settings are wrong:", *problems])


def _section(tree: type, prefix: str, sources: Sources, findings: Findings) -> Any:  # noqa: ANN401
    """Build one class of the tree; where there are problems, what comes back is not to be used."""
    values: dict[str, Any] = {}
    for field in fields(tree):
        key = field.metadata.get("key")
        items = field.metadata.get("items")
        path = prefix + (key.name if key and key.name else field.name)
        if key is not None:
            values[field.name] = _value(path, key, field.default, sources, findings)
        elif items is RegexFinderSettings:
            # The mode stands above the finders in the tree, so it is known here.
            values[field.name] = regex_finders(path, values["mode"], sources, findings)
        elif items is AnalyzerSettings:
            values[field.name] = pod_analyzers(path, sources, findings)
        else:
            values[field.name] = _section(type(field.default), f"{path}.", sources, findings)
    return tree(**values)


def _value(path: str, key: Key, default: object, sources: Sources, findings: Findings) -> object:
    given = sources.given(path, key)
    findings.origins[path] = given.origin if given else DEFAULT
    if given is None:
        return default
    if key.kind is Kind.TEXT and not key.secret and (left := _UNBRACED.search(given.text)):
        what = f"{left[0]} stays as it is; write ${{{left[1]}:}} to have it replaced"
        findings.warn(given.origin, path, what)
    try:
        return read_value(key, given, default)
    except ValueError as error:
        text = url_without_password(given.text)[:80]
        shown = "" if key.secret or not text else f"{text!r}: "
        findings.problem(given.origin, path, f"{shown}{error}")
        return default


def _check_mode(settings: Settings, environment: Mapping[str, str], findings: Findings) -> None:
    """Find modes that name nothing, and rules that nobody asks."""
    discovery = settings.process_discovery
    scanner, origin = discovery.scanner, findings.origins[MODE]
    if scanner.mode is ScanMode.AGENT_SENSOR and scanner.regex:
        findings.warn(origin, MODE, f"AGENT_SENSOR takes no notice of {REGEX}; AUTO does")
    if scanner.mode is ScanMode.REGEX and not scanner.regex and not findings.problems:
        what = f"REGEX needs at least one item in {REGEX} with match_cmd and service_name"
        if kubernetes_active(settings, environment) and not discovery.kubernetes.host_processes:
            findings.warn(origin, MODE, f"{what}; pods are named without it")
        else:
            findings.problem(origin, MODE, what)


def _check_names(sources: Sources, findings: Findings) -> None:
    """Find keys that nobody reads."""
    known = {setting.path for setting in all_keys()}
    for path in sources.flags:
        if path not in known or "[]" in path:
            findings.problem(
                Origin(Source.FLAG, path), path, f"there is no such key{_advice(path)}"
            )
    for entry in sources.document.entries.values():
        if not _is_foreign(entry):
            _check_entry("", entry, sources, findings)


def _is_foreign(entry: Entry) -> bool:
    """Tell whether a top-level key is another module's: SkyWalking Rover's file has a section each.

    A section that only a slip keeps from being one of ours is none.
    """
    name = entry.key.lower()
    if name in FOREIGN_SECTIONS:
        return True
    return (
        isinstance(entry.value, Section)
        and name not in children("")
        and not mistaken(name, FOREIGN_SECTIONS)
        and not children("") & entry.value.entries.keys()
    )


def _check_entry(parent: str, entry: Entry, sources: Sources, findings: Findings) -> None:
    path = f"{parent}.{entry.key}" if parent else entry.key
    # Numbers tell items of a list apart in messages; their keys are the same.
    generic = re.sub(r"\[[0-9]+\]", "[]", path)
    if path.lower() in FOREIGN_BELOW:
        return
    if entry.key.lower() not in children(generic.rpartition(".")[0]):
        origin = Origin(Source.FILE, sources.file, entry.line)
        inside = entry.value.entries.keys() if isinstance(entry.value, Section) else set()
        if not parent and (ours := sorted(children("") & inside)):
            what = f"{', '.join(ours)} must stand at the top, not below it"
            findings.problem(origin, path, f"there is no such key; {what}")
            return
        others = () if parent else FOREIGN_SECTIONS
        findings.problem(origin, path, f"there is no such key{_advice(path, others)}")
        return
    inner = children(generic)
    listed = children(f"{generic}[]")
    if isinstance(entry.value, Section) and inner:
        for child in entry.value.entries.values():
            _check_entry(path, child, sources, findings)
    elif isinstance(entry.value, Sequence) and listed:
        for number, item in enumerate(entry.value.items[:MAX_ITEMS]):
            for child in item.entries.values() if isinstance(item, Section) else ():
                _check_entry(f"{path}[{number}]", child, sources, findings)
    elif inner and not (isinstance(entry.value, Scalar) and entry.value.is_null):
        findings.problem(
            sources.at(entry.value),
            path,
            f"there must be keys below it: {', '.join(sorted(inner))}",
        )


def _advice(path: str, others: tuple[str, ...] = ()) -> str:
    near = nearest(re.sub(r"\[[0-9]+\]", "[]", path), others)
    return f"; did you mean {near.replace('[]', '')}?" if near else "; see docs/configuration.md"


def _check_variables(sources: Sources, findings: Findings) -> None:
    """Warn of variables that fill in lists, where the file has a list that does not take them."""
    finder = [setting.key.env for setting in all_keys() if setting.path.startswith(f"{REGEX}[]")]
    for path, names in ((REGEX, finder), (ANALYZERS, analyzer_variables())):
        node = sources.node(path)
        for name in names:
            if node is not None and sources.environment.get(name) and name not in sources.used:
                findings.warn(
                    Origin(Source.ENV, name),
                    path,
                    f"is set, but the list in {sources.file} does not take it;"
                    f" write ${{{name}:default}} there",
                )

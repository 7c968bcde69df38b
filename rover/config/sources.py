"""What flags, the environment and the file have for a key, and what is found on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rover.config.document import Scalar, Section, Sequence
from rover.config.expand import expand
from rover.config.origin import Given, Origin, Source
from rover.config.reading import MAX_ITEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.document import Node
    from rover.config.settings import Key


@dataclass(slots=True)
class Findings:
    """What loading tells beside the settings."""

    problems: list[tuple[int, str]] = field(default_factory=list)
    """Each stops the agent: the file's line, 0 for those of no file, and what is wrong."""
    warnings: list[str] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)
    """Where each value comes from, by the key's name in the file."""

    def problem(self, origin: Origin, path: str, what: str) -> None:
        """Note what makes the configuration unusable."""
        self.problems.append((origin.line, f"{origin.place}: {path}: {what}"))

    def warn(self, origin: Origin, path: str, what: str) -> None:
        """Note what is likely a mistake."""
        self.warnings.append(f"{origin.place}: {path}: {what}")


class Sources:
    """Everything that can set a key."""

    def __init__(
        self,
        document: Section,
        file: str,
        environment: Mapping[str, str],
        flags: Mapping[str, str],
        findings: Findings,
    ) -> None:
        self.document = document
        self.file = file
        self.environment = environment
        self.flags = flags
        self.used: set[str] = set()
        """Variables that the file takes."""
        self._findings = findings

    def given(self, path: str, key: Key) -> Given | None:
        """Find the strongest source that sets a key; None where none does."""
        if path in self.flags:
            return Given(self.flags[path], Origin(Source.FLAG, path))
        if value := self.environment.get(key.env):
            return Given(value, Origin(Source.ENV, key.env))
        return self.expanded(path, self.node(path))

    def node(self, path: str) -> Node | None:
        """Find what the file has at a place; None where it has nothing."""
        node: Node = self.document
        for name in path.lower().split("."):
            if not isinstance(node, Section) or name not in node.entries:
                return None
            node = node.entries[name].value
        return None if isinstance(node, Scalar) and node.is_null else node

    def at(self, node: Node) -> Origin:
        """Tell the place of a node."""
        return Origin(Source.FILE, self.file, node.line)

    def expanded(self, path: str, node: Node | None) -> Given | None:
        """Take a value from the file, its variables replaced; None where there is none."""
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return None
        if isinstance(node, Scalar):
            return self._scalar(path, node)
        if isinstance(node, Section):
            self._findings.problem(self.at(node), path, "there must be a value, not more keys")
            return None
        items = (self.expanded(path, item) for item in node.items[: MAX_ITEMS + 1])
        return Given("", self.at(node), items=tuple(item for item in items if item is not None))

    def _scalar(self, path: str, node: Scalar) -> Given:
        expanded = expand(node.text, self.environment)
        self.used.update(expanded.variables)
        for name in expanded.without_default:
            self._findings.warn(
                self.at(node),
                path,
                f"${{{name}}} stays as it is; write ${{{name}:}} to have it replaced",
            )
        origin = Origin(Source.FILE, self.file, node.line, expanded.variables)
        return Given(expanded.text, origin, node.plain, expanded.is_default)

    def sections(self, path: str) -> tuple[Section, ...] | None:
        """Take a list of sections from the file; None where it has no such list."""
        node = self.node(path)
        if node is None:
            return None
        problem = ""
        if not isinstance(node, Sequence):
            problem = "there must be a list, each item with a dash in front"
        elif len(node.items) > MAX_ITEMS:
            problem = f"more than {MAX_ITEMS} items"
        if problem or not isinstance(node, Sequence):
            self._findings.problem(self.at(node), path, problem)
            return ()
        sections = []
        for number, item in enumerate(node.items):
            if isinstance(item, Section):
                sections.append(item)
            else:
                self._findings.problem(
                    self.at(item), f"{path}[{number}]", "there must be keys, such as layer:"
                )
        return tuple(sections)

    def item(self, path: str, section: Section) -> dict[str, Given]:
        """Take the values of one section of a list, by key in lower case."""
        givens = {
            name: self.expanded(f"{path}.{entry.key}", entry.value)
            for name, entry in section.entries.items()
        }
        return {name: given for name, given in givens.items() if given is not None}

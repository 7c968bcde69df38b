"""A YAML file becomes a `Section`, within bounds.

Only what a configuration needs is taken: mappings, sequences and scalars, aliases and merge keys.
This is the one module that imports yaml, which costs 1.2 MB: load it only where there is a file.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING, Final

import yaml

from rover.config.document import Entry, Node, Scalar, Section, Sequence
from rover.config.origin import STDIN, file_name
from rover.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES: Final = 256 * 1024
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 30

_QUOTE: Final = "put quotes around a value that begins with {{ or holds ': '"
_CORE_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("bool", "float", "int", "map", "merge", "null", "seq", "str")
)


def read(path: Path) -> Section:
    """Read a file, or standard input where the path is ``-``.

    Raises:
        ConfigError: It cannot be read, is no YAML, or holds what a configuration has no use for;
            the message begins with the file and the line.
    """
    name = file_name(path)
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except PermissionError as error:
        raise ConfigError(f"{name}: cannot be read: {_denied(path)}") from error
    except OSError as error:
        raise ConfigError(
            f"{name}: cannot be read: {error.strerror or error}; give the path of a readable file"
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{name}: larger than {MAX_BYTES // 1024} KiB; is this the right file?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: is not UTF-8; save the file as UTF-8") from error
    return parse(text, name)


def _denied(path: Path) -> str:
    """Say what keeps this user from reading a file."""
    me = f"uid {os.geteuid()}"
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            return f"{me} may not enter {folder}; run this as its owner or as root"
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    whose = f"it is uid {status.st_uid}'s with mode {mode:04o}, and this runs as {me}"
    return f"{whose}; run this as its owner or as root"


def parse(text: str, name: str) -> Section:
    """Parse a file's text; see `read`."""
    try:
        return _Composer(yaml.parse(text, Loader=yaml.SafeLoader), name).document()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_told(error, text, name)) from error
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        raise ConfigError(f"{name}:{line}: holds a character that YAML does not allow") from error


def _told(error: yaml.MarkedYAMLError, text: str, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark else 0
    column = mark.column + 1 if mark else 1
    problem = error.problem or error.context or "cannot be parsed"
    advice = ""
    if any(sign in "".join(text.splitlines()[line : line + 1]) for sign in ("{", ": ")):
        advice = f"; {_QUOTE}"
    return f"{name}:{line + 1}: column {column}: not valid YAML: {problem}{advice}"


class _Composer:
    """Makes nodes of the parser's events."""

    def __init__(self, events: Iterator[yaml.Event], name: str) -> None:
        self._events = events
        self._name = name
        self._anchors: dict[str, tuple[Node, int]] = {}
        """With the number of values in it: each alias costs as much as what it stands for."""
        self._left = MAX_NODES

    def document(self) -> Section:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Section(1, {})
        first = next(self._events)
        root = self._node(first, 0)
        next(self._events)  # the end of the document
        follower = next(self._events)
        if not isinstance(follower, yaml.StreamEndEvent):
            raise self._error(follower, "a second document begins here; keep one")
        if isinstance(root, Scalar) and root.is_null:
            return Section(1, {})
        if not isinstance(root, Section):
            raise self._error(first, "the file must hold keys, such as core: and logger:")
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        before = self._left
        self._charge(event, 1)
        if depth > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._error(event, f"there is no anchor &{event.anchor} above")
            node, size = self._anchors[event.anchor]
            self._charge(event, size)
            return node
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in _CORE_TAGS:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            raise self._error(event, f"the tag {shown} has no meaning here; remove it")
        node = self._compose(event, depth)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = (node, before - self._left)
        return node

    def _charge(self, event: yaml.Event, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise self._error(event, f"more than {MAX_NODES} values; is this the right file?")

    def _compose(self, event: yaml.Event, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(follower := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(follower, depth + 1))
            return Sequence(line, tuple(items))
        if isinstance(event, yaml.MappingStartEvent):
            return self._section(line, depth)
        assert isinstance(event, yaml.ScalarEvent)  # noqa: S101 - no other event begins a node
        return Scalar(line, event.value, plain=event.style is None and event.tag is None)

    def _section(self, line: int, depth: int) -> Section:
        entries: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise self._error(event, f"a key must be a word; {_QUOTE}")
            value = self._node(next(self._events), depth + 1)
            if key.plain and key.text == "<<":
                for section in self._merged(value, event):
                    # The first of several sections counts, and the mapping's own keys before all.
                    merged = {**section.entries, **merged}
                continue
            name = key.text.lower()
            if name in entries:
                raise self._error(
                    event, f"{key.text} is given twice, first in line {entries[name].line}"
                )
            entries[name] = Entry(key.line, key.text, value)
        return Section(line, {**merged, **entries})

    def _merged(self, value: Node, event: yaml.Event) -> tuple[Section, ...]:
        sections = value.items if isinstance(value, Sequence) else (value,)
        if not all(isinstance(section, Section) for section in sections):
            raise self._error(event, "<< takes a mapping or a list of them")
        return tuple(section for section in sections if isinstance(section, Section))

    def _error(self, event: yaml.Event, problem: str) -> ConfigError:
        return ConfigError(f"{self._name}:{_line(event)}: {problem}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1

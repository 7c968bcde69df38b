"""The file in which a SkyWalking agent tells who its process is.

The process status hook keeps it at ``{TMPDIR}/apache_skywalking/process/{pid}/metadata.properties``
in Java's properties format, and touches it while the agent is alive.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rover.model import is_blank, split_labels
from rover.sensor.properties import entries

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELS_PROPERTY: Final = "processLabels"
"""The property that repeats the labels; go2sky's name for it."""
_REQUIRED: Final = ("layer", "service_name", "instance_name", "process_name")
_KEYS: Final = frozenset({*_REQUIRED, "labels", "properties", "language"})
MAX_NAME: Final = 1_024
"""Characters; the backend counts 70 of a service's, and shows as many."""
MAX_LABELS: Final = 64
MAX_PROPERTIES: Final = 64
MAX_KEY: Final = 256
MAX_VALUE: Final = 4_096
MAX_TEXT: Final = 16_384
"""Characters of all properties together."""
MAX_DEPTH: Final = 16
"""Of lists and objects in each other; the writer goes by recursion, and the reader too."""
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a SkyWalking agent says of its process; all names are set, all text is valid UTF-8."""

    layer: str
    service: str
    instance: str
    process: str
    labels: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    """Facts of the instance, as the agent reports them with it, the process's labels among them."""
    language: str = ""


def parse_metadata(content: bytes) -> Metadata:
    """Read the file.

    Labels are taken from the properties where the file has no key of their own for them.
    Properties that are no JSON object, too deep or too many cost nothing but themselves: the first
    that are within the bounds are taken.

    Raises:
        ValueError: it is no properties file, or one of the four names is missing or blank.
    """
    values, sources = _entries(content)
    missing = [name for name in _REQUIRED if is_blank(values.get(name, ""))]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing or blank")
    long = [name for name in _REQUIRED if len(values[name]) > MAX_NAME]
    if long:
        raise ValueError(f"{', '.join(long)} longer than {MAX_NAME} characters")
    layer, service, instance, process = (values[name] for name in _REQUIRED)
    properties = _properties(values.get("properties", ""), sources.get("properties", ""))
    labels = values.get("labels") or properties.get(LABELS_PROPERTY, "")
    return Metadata(
        layer=layer.strip(),
        service=service,
        instance=instance,
        process=process,
        labels=tuple(label[:MAX_KEY] for label in split_labels(labels)[:MAX_LABELS]),
        properties=tuple(_bounded(properties)),
        language=values.get("language", "")[:MAX_KEY],
    )


def _entries(content: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Return each key's value, and the text it was written as; the last line of a key wins."""
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    for key, value, source in entries(content.decode(errors="replace")):
        if key in _KEYS:
            values[key], sources[key] = _valid(value), source
    return values, sources


def _properties(value: str, source: str) -> dict[str, str]:
    """Read the JSON object; text for each value.

    go2sky writes JSON as it is, with backslashes that the properties format takes away; where the
    value is no JSON, the line that it was written as may be.
    """
    for text in (value, source):
        if _is_too_deep(text):
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return {_valid(name): _text(item) for name, item in found.items()}
    return {}


def _is_too_deep(text: str) -> bool:
    """Tell whether lists and objects lie deeper in each other than is read, outside of strings."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        bracket = found[0]
        if bracket in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif bracket in "]}":
            depth -= 1
    return False


def _bounded(properties: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Give the first properties that are not too long, and together not too many."""
    left, room = MAX_PROPERTIES, MAX_TEXT
    for name, value in properties.items():
        size = len(name) + len(value)
        if len(name) > MAX_KEY or len(value) > MAX_VALUE or size > room:
            continue
        if not left:
            return
        left, room = left - 1, room - size
        yield name, value


def _text(value: object) -> str:
    return _valid(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _valid(text: str) -> str:
    r"""Replace lone surrogates, which an escape such as ``\ud800`` leaves: they are no UTF-8."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

"""The file in which a SkyWalking agent tells who its process is.

The process status hook keeps it at ``{TMPDIR}/apache_skywalking/process/{pid}/metadata.properties``
in Java's properties format, and touches it while the agent is alive.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import javaproperties

from rover.model import is_blank, split_labels

LABELS_PROPERTY: Final = "processLabels"
"""The property that repeats the labels; go2sky's name for it."""
_REQUIRED: Final = ("layer", "service_name", "instance_name", "process_name")


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
    Properties that are no JSON object cost nothing but themselves.

    Raises:
        ValueError: it is no properties file, or one of the four names is missing or blank.
    """
    values, sources = _entries(content)
    missing = [name for name in _REQUIRED if is_blank(values.get(name, ""))]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing or blank")
    layer, service, instance, process = (values[name] for name in _REQUIRED)
    properties = _properties(values.get("properties", ""), sources.get("properties", ""))
    labels = values.get("labels") or properties.get(LABELS_PROPERTY, "")
    return Metadata(
        layer=layer.strip(),
        service=service,
        instance=instance,
        process=process,
        labels=split_labels(labels),
        properties=tuple(properties.items()),
        language=values.get("language", ""),
    )


def _entries(content: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Return each key's value, and the text it was written as; the last line of a key wins."""
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    try:
        for entry in javaproperties.parse(content.decode(errors="replace")):
            if isinstance(entry, javaproperties.reading.KeyValue):
                values[entry.key] = _valid(entry.value)
                sources[entry.key] = entry.source
    except javaproperties.InvalidUEscapeError as error:
        raise ValueError(str(error)) from error
    return values, sources


def _properties(value: str, source: str) -> dict[str, str]:
    """Read the JSON object; text for each value.

    go2sky writes JSON as it is, with backslashes that the properties format takes away; where the
    value is no JSON, the line that it was written as may be.
    """
    for text in (value, source.partition("=")[2]):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return {_valid(name): _text(item) for name, item in found.items()}
    return {}


def _text(value: object) -> str:
    return _valid(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _valid(text: str) -> str:
    r"""Replace lone surrogates, which an escape such as ``\ud800`` leaves: they are no UTF-8."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

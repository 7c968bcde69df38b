"""Cut the API's objects down to records as they arrive.

The shapes are those of core/v1 Pod and Service. What is missing or of another type where a record
can do without it counts as not there; an object without a name is refused, and hurts no other.
"""

from __future__ import annotations

from sys import intern
from typing import Any, Final

from rover.k8s.records import ContainerRecord, OwnerRef, PodRecord, ServiceRecord

_HASHES: Final = ("kubernetes.io/config.hash", "kubernetes.io/config.mirror")
"""Annotations of a static pod and of its mirror, which is what the API shows."""
_SPECS: Final = ("containers", "initContainers", "ephemeralContainers")
_STATUSES: Final = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


class MalformedObjectError(ValueError):
    """An object lacks what would identify it."""


def pod_record(item: object, *, with_env: bool) -> PodRecord:
    """Cut a pod down.

    Args:
        item: The decoded JSON.
        with_env: Keep the containers' literal variables.

    Raises:
        MalformedObjectError: it has no namespace or name.
    """
    pod = _mapping(item)
    metadata, spec, status = (_mapping(pod.get(part)) for part in ("metadata", "spec", "status"))
    uid = _text(metadata.get("uid")) or describe(item)  # an API server always gives one
    annotations = _mapping(metadata.get("annotations"))
    hashes = (_text(annotations.get(name)) for name in _HASHES)
    return PodRecord(
        namespace=intern(_required(metadata, "namespace")),
        name=_required(metadata, "name"),
        uid=uid,
        path_uid=next((value for value in hashes if value), uid),
        node=intern(_text(spec.get("nodeName"))),
        pod_ip=_text(status.get("podIP")),
        host_ip=_text(status.get("hostIP")),
        labels=_labels(metadata.get("labels")),
        containers=_containers(spec, status, with_env=with_env),
        owners=owner_refs(metadata),
    )


def service_record(item: object) -> ServiceRecord:
    """Cut a service down.

    Raises:
        MalformedObjectError: it has no namespace or name.
    """
    service = _mapping(item)
    metadata, spec = (_mapping(service.get(part)) for part in ("metadata", "spec"))
    return ServiceRecord(
        namespace=intern(_required(metadata, "namespace")),
        name=_required(metadata, "name"),
        selector=tuple(sorted(_labels(spec.get("selector")).items())),
    )


def owner_refs(metadata: dict[str, Any]) -> tuple[OwnerRef, ...]:
    """Read ``ownerReferences``; those without kind, name or uid are passed over."""
    references = (_mapping(each) for each in _list(metadata.get("ownerReferences")))
    owners = (
        OwnerRef(
            api_version=intern(_text(reference.get("apiVersion"))),
            kind=intern(_text(reference.get("kind"))),
            name=_text(reference.get("name")),
            uid=_text(reference.get("uid")),
            controls=reference.get("controller") is not False,
        )
        for reference in references
    )
    return tuple(owner for owner in owners if owner.kind and owner.name and owner.uid)


def resource_version(item: object) -> str:
    """Read ``metadata.resourceVersion`` of an object or a list, "" where there is none."""
    return _text(_mapping(_mapping(item).get("metadata")).get("resourceVersion"))


def describe(item: object) -> str:
    """Name an object as well as it can be, for a log line."""
    metadata = _mapping(_mapping(item).get("metadata"))
    namespace, name = (_text(metadata.get(part)) or "?" for part in ("namespace", "name"))
    return f"{namespace}/{name}"[:200]


def _containers(
    spec: dict[str, Any], status: dict[str, Any], *, with_env: bool
) -> tuple[ContainerRecord, ...]:
    ids: dict[str, tuple[str, str]] = {}
    for part in _STATUSES:
        for each in map(_mapping, _list(status.get(part))):
            ended = _mapping(_mapping(each.get("lastState")).get("terminated"))
            ids[_text(each.get("name"))] = (
                _text(each.get("containerID")),
                _text(ended.get("containerID")),
            )
    found: dict[str, ContainerRecord] = {}
    for part in _SPECS:
        for each in map(_mapping, _list(spec.get(part))):
            name = _text(each.get("name"))
            if name and name not in found:
                present, previous = ids.pop(name, ("", ""))
                env = _env(each.get("env")) if with_env else ()
                found[name] = ContainerRecord(intern(name), present, previous, env)
    # A status may be ahead of its specification where parts of the object were left out.
    for name, (present, previous) in ids.items():
        if name and present:
            found[name] = ContainerRecord(intern(name), present, previous)
    return tuple(found.values())


def _env(items: object) -> tuple[tuple[str, str], ...]:
    """Keep variables with a literal value, of which the API leaves out an empty one."""
    literal: dict[str, str] = {}
    for item in map(_mapping, _list(items)):
        name = _text(item.get("name"))
        # Of two of one name the later one counts in the container.
        literal.pop(name, None)
        if name and not item.get("valueFrom"):
            literal[name] = _text(item.get("value"))
    return tuple(literal.items())


def _labels(value: object) -> dict[str, str]:
    pairs = _mapping(value).items()
    return {intern(key): intern(text) for key, text in pairs if isinstance(text, str)}


def _required(metadata: dict[str, Any], field: str) -> str:
    value = _text(metadata.get(field))
    if not value:
        raise MalformedObjectError(f"its metadata has no {field}")
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

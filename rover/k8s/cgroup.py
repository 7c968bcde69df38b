"""From the cgroup of a process to its container.

The path of a container's cgroup ends in its id; the levels above name the pod's UID and the QoS
class. Which driver (systemd or cgroupfs), runtime and cgroup version made a path shows in its
shape, and each known shape is one row of `SHAPES`. What matches no row is no container: a hex run,
a slice or a short hash alone proves nothing, and neither do ids that are not 64 hex digits (the
``<task>-<number>`` of ECS, Garden's UUIDs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

CACHED_CGROUPS: Final = 1_024
"""Distinct cgroup texts kept: some three a pod on a node of 110 pods, and its services."""

SHOWN: Final = 12
"""Digits of a container id that people recognise it by."""

DELETED: Final = " (deleted)"
"""The kernel's mark on a cgroup that is gone while a process still belongs to it."""


@dataclass(frozen=True, slots=True)
class ContainerRef:
    """What a cgroup path tells of a container."""

    id: str
    """64 hex digits."""
    runtime: str
    """``containerd``, ``cri-o``, ``docker``, ``podman``; "" where the path is alike for several."""
    pod_uid: str = ""
    """As the kubelet spells it, with dashes; of a static pod the hash of its configuration. ""
    where the path does not tell."""


class Shape(NamedTuple):
    """How a runtime names a container's level of the path."""

    runtime: str
    level: str
    """Regex of the whole level; its group ``slice`` takes the place of the level above."""
    above: str = ""
    """Regex of what must stand above it (two levels at most); "" for anything."""


_ID: Final = r"(?P<id>[0-9a-f]{64})"
_UNIT: Final = r"(?P<slice>[^:]+)"

SHAPES: Final = (
    # systemd driver: a scope for each container, in the pod's slice or in system.slice
    Shape("containerd", rf"cri-containerd-{_ID}\.scope"),
    Shape("containerd", rf"nerdctl-{_ID}\.scope"),
    Shape("cri-o", rf"crio-{_ID}\.scope"),
    Shape("docker", rf"docker-{_ID}\.scope"),
    Shape("podman", rf"libpod-{_ID}\.scope"),
    # any other runtime's scope counts in a pod's slice alone; a monitor is never the container
    Shape("", rf"(?!.*conmon)[a-z][a-z-]*-{_ID}\.scope", above="POD"),
    # a systemd name used as a path: kubelet and runtime disagree about the driver
    Shape("containerd", rf"{_UNIT}:cri-containerd:{_ID}"),
    Shape("cri-o", rf"{_UNIT}:crio:{_ID}"),
    Shape("docker", rf"{_UNIT}:docker:{_ID}"),
    Shape("podman", rf"{_UNIT}:libpod:{_ID}"),
    # cgroupfs driver with a prefix
    Shape("cri-o", rf"crio-{_ID}"),
    Shape("podman", rf"libpod-{_ID}"),
    # podman --cgroups=split, as Quadlet runs it: below the unit's own cgroup
    Shape("podman", rf"libpod-payload-{_ID}"),
    # cgroupfs driver, the id alone: only where what stands above says whose it is
    Shape("", _ID, above="POD"),
    Shape("docker", _ID, above=r"docker|moby|actions_job"),
    Shape("docker", _ID, above=r"ecs/[^/]+"),
    Shape("containerd", _ID, above=r"k8s\.io|default"),
    # a sibling seen from inside a cgroup namespace
    Shape("", _ID, above=r"\.\."),
)

_POD_ABOVE: Final = (
    # systemd driver; the prefix is the kubelet's --cgroup-root, as kind sets it
    r"(?:[^:]+-)?kubepods(?:-burstable|-besteffort)?-pod(?P<uid_in_slice>[0-9A-Za-z_.]+)\.slice",
    # cgroupfs driver; a static pod's manifest may bring a UID of any form along
    r"(?:kubepods|guaranteed|burstable|besteffort|\.\.)/pod(?P<uid_in_qos>[0-9A-Za-z_.-]+)",
    # the levels above cut away by a cgroup namespace
    r"pod(?P<uid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})",
)


@lru_cache(maxsize=CACHED_CGROUPS)
def containers_of(cgroup: str) -> tuple[ContainerRef, ...]:
    """List the containers around a process, the one it runs in first.

    Of nested containers the innermost that is a pod's comes first, else the innermost. A cgroup
    that a container makes below its own is the container's. A node may itself be a container of a
    pod (kind in a cluster): which of the pods is one of this cluster's, only its API can tell.

    Args:
        cgroup: The lines of /proc/PID/cgroup, of cgroup v1, v2 or both, also as seen from inside a
            cgroup namespace (cgroups(7)). Nothing in it makes this raise.
    """
    found: dict[str, tuple[bool, int, ContainerRef]] = {}
    for path in dict.fromkeys(_paths(cgroup)):
        levels = path.split("/")
        for depth, level in enumerate(levels):
            container = _at(levels, depth) if len(level) >= _SHORTEST else None
            if container is None:
                continue
            rank = (bool(container.pod_uid), depth, container)
            known = found.get(container.id)
            if known is None or rank[:2] > known[:2]:
                found[container.id] = rank
    ranked = sorted(found.values(), key=lambda rank: rank[:2], reverse=True)
    return tuple(container for _, _, container in ranked)


_SHORTEST: Final = 64

_LEVELS: Final = tuple((shape, re.compile(shape.level)) for shape in SHAPES)
_POD: Final = re.compile("(?:.*/)?(?:" + "|".join(_POD_ABOVE) + ")")
_ABOVE: Final = {
    shape.above: re.compile(f"(?:.*/)?(?:{shape.above})")
    for shape in SHAPES
    if shape.above not in {"", "POD"}
}


def _paths(cgroup: str) -> list[str]:
    """Take the path of each line ``hierarchy:controllers:path``; it may itself hold colons."""
    lines = (line.split(":", 2) for line in cgroup.split("\n"))
    return [fields[2].removesuffix(DELETED) for fields in lines if len(fields) == 3]  # noqa: PLR2004 - the three fields just named


def _at(levels: list[str], depth: int) -> ContainerRef | None:
    level = levels[depth]
    above = "/".join(levels[max(0, depth - 2) : depth])
    for shape, pattern in _LEVELS:
        match = pattern.fullmatch(level)
        if match is None:
            continue
        pod_uid = _pod_uid(match.groupdict().get("slice") or above)
        if shape.above == "POD":
            fits = bool(pod_uid)
        else:
            fits = not shape.above or _ABOVE[shape.above].fullmatch(above) is not None
        if fits:
            return ContainerRef(match["id"], shape.runtime, pod_uid)
    return None


def _pod_uid(above: str) -> str:
    match = _POD.fullmatch(above)
    if match is None:
        return ""
    in_slice: str | None = match["uid_in_slice"]
    # A slice's name parts its levels by dashes, so the kubelet writes a UID's own as underscores.
    return in_slice.replace("_", "-") if in_slice else match["uid_in_qos"] or match["uid"]

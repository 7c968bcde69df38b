"""From the cgroup of a process to the systemd service it runs in.

systemd keeps every unit's processes in a cgroup that bears the unit's name, below the slices that
group them (systemd.unit(5), systemd.slice(5)). So the service is read from the path alone: nothing
is asked of systemd, and a host without it simply has no services.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from rover.k8s.cgroup import DELETED, containers_of

SERVICE: Final = ".service"
_MAX_UNIT_NAME: Final = 255
"""Bytes; longer names are no units (systemd.unit(5))."""
_CGROUPS_KEPT: Final = 1_024
"""Answers kept: a unit's processes share their cgroup's text."""

_UNIT_NAME: Final = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service")
_ESCAPED_BYTES: Final = re.compile(r"(?:\\x[0-9a-f]{2})+")
_CONTAINER_ID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PODMAN_SPLIT: Final = "libpod-payload-"
"""Podman's ``--cgroups=split``, which Quadlet uses: here the container is what the unit runs."""
_RUNTIME_UNIT: Final = re.compile(
    r"(?:containerd|host-containerd|firecracker-containerd|docker|dockerd|cri-docker|crio|cri-o"
    r"|podman|buildkit|buildkitd|isulad|garden|nomad|mesos-slave|mesos-agent"
    r"|dcos-mesos-slave|dcos-mesos-slave-public|balena|balena-engine|lxc(?:@.+)?|lxd|incus"
    r"|k3s|k3s-agent|rke2-server|rke2-agent"
    r"|k0scontroller|k0sworker|snap\.(?:docker|lxd|microk8s|k8s)\.[\w-]+)\.service"
)
"""Units that keep containers in cgroups below their own, under names of many forms: BuildKit's are
random letters, containerd's whatever its client chose, Garden's UUIDs."""
_OWN_LEVELS: Final = ("init", "supervisor", "lxc.monitor", _PODMAN_SPLIT)
"""How cgroups below a runtime's unit begin that are the unit's own."""


@lru_cache(maxsize=_CGROUPS_KEPT)
def service_unit(cgroup: str) -> str:
    r"""Tell the service unit of a process, such as ``nginx.service``, or "" where it has none.

    The innermost service wins: a user's unit over ``user@1000.service`` that runs the user's
    manager, a unit inside a container that runs its own systemd over the container's. Cgroups that
    a service makes below its own belong to it, and so do scopes there. Login sessions and scopes on
    their own have none.

    A container is never named by the unit of the runtime that keeps it: of a process in one, which
    any line may show, only the levels inside the container count, and what stands below a runtime's
    own unit is a container whatever its name.

    Args:
        cgroup: The lines of /proc/PID/cgroup. Of cgroup v1 the tree named ``systemd`` counts, as
            in the hybrid layout; otherwise the one tree of v2.

    Returns:
        The unit's name with escapes such as ``\x2d`` undone where they stand for printable text; a
        template's instance stays in it (``getty@tty1.service``).
    """
    containers = {ref.id for ref in containers_of(cgroup)}
    for path in _systemd_paths(cgroup):
        if containers and not any(container in path for container in containers):
            continue  # this tree knows nothing of the container: it shows the runtime's place
        if unit := _service_in(path):
            # of one whose path bears no id, v1's other trees may tell alone that it is one
            return (
                "" if _RUNTIME_UNIT.fullmatch(unit) and _is_kept_elsewhere(cgroup, path) else unit
            )
    return ""


def _is_kept_elsewhere(cgroup: str, path: str) -> bool:
    """Tell whether another tree shows neither a unit's place nor one above that."""
    for line in cgroup.split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, other = rest.partition(":")
        level = other.removesuffix(DELETED).rstrip("/") + "/"
        if not controllers or f"{path}/".startswith(level):
            continue
        if not level.startswith(f"{path}/") or not level[len(path) + 1 :].startswith(_OWN_LEVELS):
            return True
    return False


def service_name(cgroup: str) -> str:
    """Tell the unit's name without ``.service``, or "" where there is none."""
    return service_unit(cgroup).removesuffix(SERVICE)


def _systemd_paths(cgroup: str) -> list[str]:
    """Give the paths in trees that systemd manages, the one that decides first.

    Hosts with both keep the units in the tree named ``systemd`` and copy them to v2; a runtime that
    knows v1 alone moves its containers in the first and leaves them in its own unit's place in the
    second. So v2 has a say where the named tree is idle, or where a container is in both.
    """
    named, unified = "", ""
    for line in cgroup.split("\n"):  # a name may hold what other splitters take for an end of line
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "name=systemd":
            named = path.removesuffix(DELETED)
        elif not controllers and hierarchy == "0":
            unified = path.removesuffix(DELETED)
    if named.strip("/") and not containers_of(f"0::{unified}"):
        return [named]
    return [named, unified]


def _service_in(path: str) -> str:
    below = ""
    # From the innermost level outwards, so that the first service met is the one that counts.
    for level in reversed(path.split("/")):
        # systemd puts "_" before names that would clash with the kernel's own files.
        name = level.removeprefix("_")
        if len(name) <= _MAX_UNIT_NAME and _UNIT_NAME.fullmatch(name) and name != SERVICE:
            if below and _RUNTIME_UNIT.fullmatch(name) and not below.startswith(_OWN_LEVELS):
                return ""
            return _unescape(name)
        if _CONTAINER_ID.search(level) and not level.startswith(_PODMAN_SPLIT):
            return ""
        below = level
    return ""


def _unescape(name: str) -> str:
    return _ESCAPED_BYTES.sub(_unescape_run, name)


def _unescape_run(match: re.Match[str]) -> str:
    escaped = match.group()
    text = bytes.fromhex(escaped.replace("\\x", "")).decode(errors="replace")
    # Line feeds and the like would break whatever shows the name; such a run stays as it is.
    return text if text.isprintable() else escaped

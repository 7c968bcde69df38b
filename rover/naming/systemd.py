"""From the cgroup of a process to the systemd service it runs in.

systemd keeps every unit's processes in a cgroup that bears the unit's name, below the slices that
group them (systemd.unit(5), systemd.slice(5)). So the service is read from the path alone: nothing
is asked of systemd, and a host without it simply has no services.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

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


@lru_cache(maxsize=_CGROUPS_KEPT)
def service_unit(cgroup: str) -> str:
    r"""Tell the service unit of a process, such as ``nginx.service``, or "" where it has none.

    The innermost service wins: a user's unit over ``user@1000.service`` that runs the user's
    manager, a unit inside a container that runs its own systemd over the container's. Cgroups that
    a service makes below its own belong to it, and so do scopes there. A container that a runtime
    keeps below its own service (``containerd.service/...``) is not that service. Login sessions
    and scopes on their own have none.

    Args:
        cgroup: The lines of /proc/PID/cgroup. Of cgroup v1 the tree named ``systemd`` counts, as
            in the hybrid layout; otherwise the one tree of v2.

    Returns:
        The unit's name with escapes such as ``\x2d`` undone where they stand for printable text; a
        template's instance stays in it (``getty@tty1.service``).
    """
    return _service_in(_systemd_path(cgroup))


def service_name(cgroup: str) -> str:
    """Tell the unit's name without ``.service``, or "" where there is none."""
    return service_unit(cgroup).removesuffix(SERVICE)


def _systemd_path(cgroup: str) -> str:
    """Pick the path in the tree that systemd manages: hosts with both fill both, or v1 alone."""
    unified = ""
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "name=systemd" and SERVICE in path:
            return path
        if not controllers and line.startswith("0:"):
            unified = path
    return unified


def _service_in(path: str) -> str:
    # From the innermost level outwards, so that the first service met is the one that counts.
    for level in reversed(path.split("/")):
        # systemd puts "_" before names that would clash with the kernel's own files.
        name = level.removeprefix("_")
        if len(name) <= _MAX_UNIT_NAME and _UNIT_NAME.fullmatch(name) and name != SERVICE:
            return _unescape(name)
        if _CONTAINER_ID.search(level) and not level.startswith(_PODMAN_SPLIT):
            return ""
    return ""


def _unescape(name: str) -> str:
    return _ESCAPED_BYTES.sub(_unescape_run, name)


def _unescape_run(match: re.Match[str]) -> str:
    escaped = match.group()
    text = bytes.fromhex(escaped.replace("\\x", "")).decode(errors="replace")
    # Line feeds and the like would break whatever shows the name; such a run stays as it is.
    return text if text.isprintable() else escaped

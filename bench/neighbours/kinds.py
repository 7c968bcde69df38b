"""Which neighbours there are."""

from __future__ import annotations

from bench.neighbours import cgroups, clients, mounts, processes, trees

KINDS = {
    "arguments": processes.arguments,
    "cgroups": cgroups.cgroups,
    "clients": clients.clients,
    "environments": processes.environments,
    "mounts": mounts.mounts,
    "titles": processes.titles,
    "trees": trees.trees,
}
AS_ROOT = frozenset({"cgroups", "mounts"})
"""What a container runtime or a mount helper does for its users in everyday life."""

"""What is known of one process and of its entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rover.k8s.cgroup import containers_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.model import EntityKey, Report
    from rover.reporter.state import EntityState
    from rover.table import Why


def explain(why: Why, standing: Callable[[EntityKey], EntityState | None]) -> dict[str, Any]:
    """Say all that is known of one process, JSON-ready.

    Args:
        why: from the table.
        standing: how an entity fares at the backend; None where it was never published.
    """
    process = why.process

    def entity(report: Report, leader: int) -> dict[str, Any]:
        named, state = report.entity, standing(report.entity.key)
        told = {
            "layer": named.layer,
            "service": named.service,
            "instance": named.instance,
            "process": named.process,
            "labels": list(named.labels),
            "leader": leader,
        }
        if state is not None:
            told |= {
                "backend": state.standing.value,
                "process_id": state.process_id,
                "detail": state.detail,
                "answered_at": state.answered_at,
                "beaten_at": state.beaten_at,
            }
        return told

    return {
        "pid": process.pid,
        "start_ticks": process.key.start_ticks,
        "ppid": process.ppid,
        "name": process.name,
        "exe": process.exe,
        "command_line": process.told,
        "cwd": process.cwd,
        "uid": process.uid,
        "cgroup": process.cgroup.splitlines(),
        "reason": why.reason.value,
        "detail": why.detail,
        "entities": [entity(report, process.pid) for report in why.leads]
        + [entity(report, leader) for report, leader in why.follows],
    }


def listed(why: Why, standing: Callable[[EntityKey], EntityState | None]) -> dict[str, Any]:
    """Say what a list of processes needs beside that: the container and pod of each."""
    process = why.process
    reports = (*why.leads, *(report for report, _ in why.follows))
    container = next((report.container for report in reports if report.container), None)
    refs = containers_of(process.cgroup)
    return explain(why, standing) | {
        "shortened": process.shortened,
        "container_id": container.id if container else refs[0].id if refs else "",
        "container": container.name if container else "",
        "namespace": container.namespace if container else "",
        "pod": container.pod_name if container else "",
    }

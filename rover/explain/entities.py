"""What is known of one process and of its entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.model import EntityKey, Report
    from rover.reporter import EntityState
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

"""Overviews of agents that are well, degraded and ill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rover.discovery.summary import Summary
from rover.k8s.watch import WatchState
from rover.reporter.state import Phase, SessionState
from rover.status.overview import About, Parts
from rover.status.own_cost import Cost
from rover.status.verdict import NO_DEFECTS, WORKS, Verdict

NOW = 1_795_000_000.0
DAY = 86_400.0
HEALTH = {"discovery": WORKS, "reporter": WORKS, "defects": NO_DEFECTS, "foreign_reads": WORKS}
NO_LOSS = {"pending": 0, "ring": 0, "tracked": 0, "recursion": 0}
NO_REPAIR = {"new": 0, "gone": 0, "changed": 0}


def watch(resource: str, fault: str = "", *, listed: bool = True) -> WatchState:
    return WatchState(resource, listed, fault, 0.0, {})


def parts(**different: Any) -> Parts:
    """Parts of an agent that is well, but for what is different."""
    well = Parts(
        about=About(
            agent_id="9f1cd0d5-2c64-5b0a-8f3e-3a1f77a0c1de",
            version="1.2.3",
            pid=812,
            started=NOW - 3 * DAY,
            way="raw tracepoints",
            ebpf="attached by raw tracepoints",
            kubernetes=True,
            node="node-7",
        ),
        health=Verdict(fine=True, brief=HEALTH, detail=HEALTH),
        scanned=True,
        session=SessionState(
            phase=Phase.BEATING,
            reason="the backend knows all that runs here",
            since=NOW - 7_300,
            backend="oap.example.org:11800",
            last_error="UNAVAILABLE: connection refused",
            last_error_at=NOW - 7_300,
            last_beat_at=NOW - 4,
            entities=41,
        ),
        watches=(watch("pods"), watch("services")),
        summary=Summary(
            processes=212,
            kernel_threads=187,
            entities=41,
            reasons={
                "reported": 180,
                "matches an ignore rule": 20,
                "runs outside any pod": 10,
                "belongs to the agent itself": 2,
            },
            defects=0,
            events={"exec": 9_001, "fork": 10_002, "exit": 10_003},
            lost=NO_LOSS,
            repairs=NO_REPAIR,
            late=0,
        ),
        cost=Cost(memory=65_011_712, cpu_seconds=518.4, threads=17, files=48, processes=2),
        foreign_reads=WORKS,
        now=NOW,
    )
    return replace(well, **different)


def without_backend() -> Parts:
    """Nor eBPF, and with losses."""
    well = parts()
    reason = (
        "oap.example.org:11800: UNAVAILABLE: connection refused; is the OAP up, and is its gRPC "
        "port the one of core.backend.addr?"
    )
    return parts(
        about=replace(
            well.about,
            way="none",
            ebpf="missing CAP_BPF: run as root or give the capabilities",
            kubernetes=False,
        ),
        session=replace(
            well.session, phase=Phase.BACKING_OFF, reason=reason, since=NOW - 65, waiting=2
        ),
        watches=(),
        summary=replace(
            well.summary,
            lost={**NO_LOSS, "ring": 31},
            repairs={**NO_REPAIR, "new": 3, "gone": 28},
            late=1,
        ),
    )


def stuck() -> Parts:
    """Discovery does nothing, and so gives no counts."""
    health = {**HEALTH, "discovery": "is stuck: nothing has been done for 14 s"}
    return parts(health=Verdict(fine=False, brief=health, detail=health), summary=None)

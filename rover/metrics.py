"""Every figure the agent exports, by room; the names are part of its interface.

The help text of a figure is its documentation. A room sets its own figures and reads none.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of all series would be times

REGISTRY: Final = CollectorRegistry()
"""The agent's own: nothing that an imported library registers shows up in it."""

ProcessCollector(registry=REGISTRY)

# Discovery

EVENTS: Final = Counter(
    "rover_events_total",
    "Process events by kind, as they reached the agent.",
    ["kind"],
    registry=REGISTRY,
)
LOST: Final = Counter(
    "rover_lost_total",
    "What was lost before the agent could look at it, by the place of the loss; "
    "a reconcile with /proc heals each.",
    ["place"],
    registry=REGISTRY,
)
PROCESSES: Final = Gauge(
    "rover_processes", "Live processes in the agent's table.", registry=REGISTRY
)
ENTITIES: Final = Gauge("rover_entities", "Entities led by a live process.", registry=REGISTRY)

# Reporter

SESSION_STATE: Final = Gauge(
    "rover_session_state",
    "1 for the state the session with the backend is in, 0 for the others.",
    ["state"],
    registry=REGISTRY,
)
REPORTS: Final = Counter(
    "rover_reports_total",
    "Calls to the backend by their result: ok, or what went wrong.",
    ["call", "result"],
    registry=REGISTRY,
)
SENT_ENTITIES: Final = Counter(
    "rover_sent_entities_total",
    "Entities in calls that the backend accepted.",
    ["call"],
    registry=REGISTRY,
)
SENT_BYTES: Final = Counter(
    "rover_sent_bytes_total",
    "Bytes of the messages in calls that the backend accepted, before compression and framing.",
    ["call"],
    registry=REGISTRY,
)
HEARTBEAT_SECONDS: Final = Histogram(
    "rover_heartbeat_seconds",
    "How long a beat took, from its first call to its last answer.",
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
LAST_HEARTBEAT: Final = Gauge(
    "rover_last_heartbeat_timestamp_seconds",
    "When the last complete beat ended, in seconds since the epoch.",
    registry=REGISTRY,
)
OUTBOX: Final = Gauge(
    "rover_outbox_entities",
    "Changed entities that the session has not taken yet.",
    registry=REGISTRY,
)
WAITING: Final = Gauge(
    "rover_waiting_entities",
    "Entities whose report is due: new, changed, or not answered yet.",
    registry=REGISTRY,
)
REFUSED: Final = Gauge(
    "rover_refused_entities",
    "Entities set aside because the backend refuses them; tried again now and then.",
    registry=REGISTRY,
)
COMMANDS: Final = Counter(
    "rover_commands_total",
    "Commands that the backend sent with the answer to a beat.",
    registry=REGISTRY,
)

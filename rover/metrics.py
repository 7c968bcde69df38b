"""Every figure the agent exports, by room; the names are part of its interface.

The help text of a figure is its documentation. A room sets its own figures and reads none.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from rover import __version__
from rover.errors import RoverError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of all series would be times

REGISTRY: Final = CollectorRegistry()
"""The agent's own: nothing that an imported library registers shows up in it."""

ProcessCollector(registry=REGISTRY)

BUILD: Final = Info(
    "rover_build",
    "1, with the version of the agent and of the Python that it runs in.",
    registry=REGISTRY,
)
BUILD.info({"version": __version__, "python": platform.python_version()})

DEFECTS: Final = Counter(
    "rover_defects_total",
    "Failures that nobody foresaw, by the step; each cost its own process or object alone.",
    ["where"],
    registry=REGISTRY,
)

# Discovery

LOST_NEWS: Final = Counter(
    "rover_lost_news_total",
    "News of the cluster that the discovery thread had no room for; all is listed again.",
    registry=REGISTRY,
)

LOST_FEED: Final = Counter(
    "rover_lost_feed_events_total",
    "Events that who listens to them was too slow for.",
    registry=REGISTRY,
)

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

# Profiling

PROFILING_TASKS: Final = Counter(
    "rover_profiling_tasks_total",
    "Profiling tasks of the backend, one for each process: begun, or why they were refused.",
    ["result"],
    registry=REGISTRY,
)
PROFILING_RUNNING: Final = Gauge(
    "rover_profiling_tasks_running",
    "Profiling tasks that are carried out, or whose last samples wait for the backend.",
    registry=REGISTRY,
)
PROFILING_PROCESSES: Final = Gauge(
    "rover_profiling_processes",
    "Processes that are sampled.",
    registry=REGISTRY,
)
PROFILING_SAMPLES: Final = Counter(
    "rover_profiling_samples_total",
    "Dumps (ON_CPU) and switches (OFF_CPU) that the backend accepted.",
    ["target"],
    registry=REGISTRY,
)
PROFILING_STACKS: Final = Counter(
    "rover_profiling_stacks_total",
    "Stacks, merged by their symbols, that the backend accepted.",
    registry=REGISTRY,
)
PROFILING_FLUSHES: Final = Counter(
    "rover_profiling_flushes_total",
    "Sends of what was sampled, by their result; what failed is sent again.",
    ["result"],
    registry=REGISTRY,
)
PROFILING_WAITING: Final = Gauge(
    "rover_profiling_waiting_stacks",
    "Stacks that the backend has not accepted yet.",
    registry=REGISTRY,
)
PROFILING_LOST: Final = Counter(
    "rover_profiling_lost_samples_total",
    "Samples that found no room, or that the backend had not taken a minute after the task's end.",
    registry=REGISTRY,
)

CONTINUOUS: Final = Counter(
    "rover_continuous_profiling_total",
    "Rules of policies that are not held (refused), thresholds passed that the backend was told of"
    " (triggered), or could not be (failed).",
    ["result"],
    registry=REGISTRY,
)
CONTINUOUS_LEFT_OUT: Final = Gauge(
    "rover_continuous_profiling_left_out",
    "Entities of services with a policy that are not watched, for there are too many.",
    registry=REGISTRY,
)

# Status: "port" is status.addr, "socket" the Unix socket

STATUS_CONNECTIONS: Final = Gauge(
    "rover_status_connections",
    "Connections of those who ask the agent.",
    ["at"],
    registry=REGISTRY,
)
STATUS_HELD_OFF: Final = Gauge(
    "rover_status_held_off",
    "Addresses whose connections the kernel drops for a while, for they flooded the port.",
    ["at"],
    registry=REGISTRY,
)
STATUS_ANSWERS: Final = Counter(
    "rover_status_answers_total",
    "Answers to those who ask the agent, by HTTP's status.",
    ["at", "status"],
    registry=REGISTRY,
)
STATUS_DROPPED: Final = Counter(
    "rover_status_dropped_total",
    "Connections ended without a complete answer: late, made_room for another, sent "
    "in_pieces or too_much, no_room for its request, no_descriptor left, or a defect.",
    ["at", "why"],
    registry=REGISTRY,
)


# Probes

EBPF: Final = Gauge(
    "rover_ebpf",
    "1 for how the kernel's events come in, 0 for the others: raw tracepoints, tracepoints, none.",
    ["way"],
    registry=REGISTRY,
)

NESTED_PIDS: Final = Gauge(
    "rover_nested_pid_namespace",
    "1 where the agent's pid namespace is not the host's: it sees no process outside of it.",
    registry=REGISTRY,
)


# Figures that their room counts for itself and gives when it is asked


def counter(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:  # noqa: A002
    """Make a figure that only grows; its name is exported with the ending ``_total``.

    Args:
        name: of the metric.
        help: its documentation.
        label: name of its label; empty where there is one value, under the key "".
        values: one for each value of the label.
    """
    return _filled(CounterMetricFamily(name, help, labels=_labels(label)), label, values)


def gauge(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:  # noqa: A002
    """Make a figure that goes up and down; otherwise as `counter`."""
    return _filled(GaugeMetricFamily(name, help, labels=_labels(label)), label, values)


def _labels(label: str) -> list[str]:
    return [label] if label else []


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, label: str, values: Mapping[str, float]
) -> Metric:
    for value, amount in values.items():
        family.add_metric([value] if label else [], amount)
    return family


class _Asking(Collector):
    def __init__(self, ask: Callable[[], Iterable[Metric]]) -> None:
        self._ask = ask

    def describe(self) -> Iterable[Metric]:
        """Name nothing at registration, when there is nobody to ask yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Ask; a room that does not answer is left out, the others are not."""
        try:
            figures = list(self._ask())
        except RoverError:
            return
        except Exception:  # noqa: BLE001 - one room's defect must not hide what the others show
            DEFECTS.labels("figures").inc()
            return
        yield from figures


def collect_from(ask: Callable[[], Iterable[Metric]]) -> Callable[[], None]:
    """Export what `ask` gives at each scrape; return what ends that."""
    collector = _Asking(ask)
    REGISTRY.register(collector)
    return lambda: REGISTRY.unregister(collector)

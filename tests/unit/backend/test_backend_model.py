"""The backend's rows against a model of the server's rules written the plain way."""

from __future__ import annotations

from dataclasses import dataclass, field

from backend_wire import beat, host, ping, pod, report
from hypothesis import given
from hypothesis import strategies as st

from rover.backend.state import State

NAMES = st.sampled_from(["a", "b", "x" * 501])
LAYERS = st.sampled_from(["OS_LINUX", "MESH", "UNDEFINED", "NOPE"])
AGENTS = st.sampled_from(["one", "two", ""])
PROPERTIES = st.dictionaries(
    st.sampled_from(["host_ip", "support_ebpf_profiling"]), st.sampled_from(["true", "false"])
)
LABELS = st.lists(st.sampled_from(["l", "m"]), max_size=2, unique=True)
ITEMS = st.lists(
    st.tuples(NAMES, st.integers(1, 3), PROPERTIES, LAYERS, LABELS, st.booleans()), max_size=4
)
CALLS = st.lists(st.tuples(st.sampled_from(["report", "beat"]), AGENTS, ITEMS), max_size=12)


@dataclass
class Expected:
    """What the server would hold of one process, all in one service."""

    profiled: bool
    properties: dict = field(default_factory=dict)
    labels: tuple = ()
    agent: str = ""
    kind: str = ""
    pid: int | None = None
    reported: bool = False
    pinged: bool = False


def expect(calls):
    rows, layers = {}, set()
    for call, agent, items in calls:
        for name, pid, properties, layer, labels, in_pod in items:
            if call == "beat":
                if layer == "NOPE":
                    break
                layers.add(layer)
            if len(name) > 500:
                continue
            row = rows.setdefault(
                name, Expected(properties.get("support_ebpf_profiling") == "true")
            )
            row.properties |= properties
            row.labels = tuple(labels) or row.labels
            row.agent = agent or row.agent
            if call == "report":
                row.reported, row.pid, row.kind = True, pid, "KUBERNETES" if in_pod else "VM"
            else:
                row.pinged = True
    return rows, bool(layers - {"UNDEFINED"})


def tell(state, calls):
    for call, agent, items in calls:
        if call == "report":
            made = [
                (pod if in_pod else host)(name, pid, properties, layer=layer, labels=labels)
                for name, pid, properties, layer, labels, in_pod in items
            ]
            state.report(report(*made, agent=agent))
        else:
            made = [
                ping(name, properties, layer=layer, labels=labels)
                for name, _, properties, layer, labels, _ in items
            ]
            state.beat(beat(*made, agent=agent))


@given(CALLS)
def test_any_calls_leave_what_the_server_would_hold(calls):
    state = State()
    tell(state, calls)
    rows, listed = expect(calls)
    held = state.snapshot()
    assert {process.entity.process: (
        process.supports_profiling,
        dict(process.properties),
        process.entity.labels,
        process.agent_id,
        process.kind,
        process.pid,
        process.visible,
    ) for process in held.processes} == {
        name: (
            row.profiled,
            row.properties,
            row.labels,
            row.agent,
            row.kind,
            row.pid,
            row.reported and row.pinged and listed,
        )
        for name, row in rows.items()
    }  # fmt: skip


@given(CALLS)
def test_listeners_hear_enough_to_know_the_state(calls):
    state = State()
    heard = {}
    state.subscribe(
        lambda changes: heard.update((change.process.id, change.process) for change in changes)
    )
    tell(state, calls)
    assert heard == {process.id: process for process in state.snapshot().processes}

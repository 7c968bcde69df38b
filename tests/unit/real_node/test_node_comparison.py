"""Expected against got, as the real node's run tells it."""

from __future__ import annotations

from machines.node.comparison import compare, of_the_runtime
from machines.node.workloads import Expected, Workload
from rover.backend import StoredProcess
from rover.backend.records import Stamp
from rover.model import Entity

STAMP = Stamp(0.0, 0.0)
TWO = Workload("two pods", (), (Expected("web", r"pod-\d"), Expected("web", r"pod-\d")))


def a_row(
    process="web", instance="pod-1", *, layer="K8S_SERVICE", namespace="two-pods", visible=True
):
    entity = Entity(layer, f"service.{namespace}", instance, process, ("k8s-service",))
    return StoredProcess(
        id=f"{process}{instance}",
        entity=entity,
        service_id="",
        instance_id="",
        first_seen=STAMP,
        kind="KUBERNETES",
        visible=visible,
    )


def test_each_process_answers_one_expectation():
    assert compare(TWO, [a_row(), a_row(instance="pod-2")]) == ([], [])
    assert compare(TWO, [a_row()]) == (["web of pod-\\d"], [])


def test_what_nobody_expects_is_too_much():
    missing, surplus = compare(TWO, [a_row(), a_row(instance="pod-2"), a_row("runc:[2:INIT]")])
    assert (missing, surplus) == ([], ["runc:[2:INIT] of pod-1 (service.two-pods)"])


def test_a_row_under_another_layer_or_not_to_be_found_by_users_is_none():
    rows = [a_row(layer="OS_LINUX"), a_row(instance="pod-2", visible=False)]
    missing, surplus = compare(TWO, rows)
    assert len(missing) == len(surplus) == 2


def test_rows_of_other_workloads_do_not_count():
    assert compare(TWO, [a_row(namespace="others")]) == (["web of pod-\\d"] * 2, [])


def test_processes_of_the_runtime_are_known_by_name():
    names = ["runc:[2:INIT]", "pause", "conmon", "containerd-shim-runc-v2", "web"]
    assert len(of_the_runtime(a_row(name) for name in names)) == len(names) - 1

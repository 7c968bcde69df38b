"""What the API has said of containers, as the real node's run reads it."""

from __future__ import annotations

from machines.node.word import Named, selects, told

ID = "ab" * 32


def a_service(selector):
    return {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {"selector": selector},
    }


def a_pod(labels, **status):
    return {"kind": "Pod", "metadata": {"name": "p", "labels": labels}, "status": status}


def test_a_container_is_told_once_its_pods_status_has_its_id_and_a_service_selects_it():
    service = a_service({"app": "web"})
    named = {"containerStatuses": [{"containerID": f"containerd://{ID}"}]}
    assert told([service, a_pod({"app": "web"})]) == set()
    assert told([service, a_pod({"app": "web"}, containerStatuses=[{"image": "x"}])]) == set()
    assert told([service, a_pod({"app": "db"}, **named)]) == set()
    assert told([service, a_pod({"app": "web", "tier": "1"}, **named)]) == {Named(ID, "web.ns")}


def test_init_and_ephemeral_containers_are_told_as_well():
    service = a_service({"app": "web"})
    for kind in ("initContainerStatuses", "ephemeralContainerStatuses"):
        pod = a_pod({"app": "web"}, **{kind: [{"containerID": f"containerd://{ID}"}]})
        assert told([service, pod]) == {Named(ID, "web.ns")}


def test_a_service_without_a_selector_selects_nothing():
    assert not selects(a_service({}), a_pod({"app": "web"}))
    assert not selects(a_service(None), a_pod(None))

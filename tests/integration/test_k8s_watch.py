"""Every fault that a watch can meet, over HTTP with the official client: no pod lost or stuck."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import replace
from itertools import product

import pytest

from bench.k8s_api import ApiServer, Fault
from bench.k8s_objects import NODE, pod, service
from bench.k8s_rig import QUICK, Follower, kubeconfig
from rover.errors import KubernetesError
from rover.k8s import cluster as cluster_module
from rover.k8s.access import by_kubeconfig, in_cluster
from rover.k8s.cluster import SERVICES, pods_of
from rover.k8s.watch import Pace, Watch

FIRST, SECOND = "first-Token", "sEcOnD-token"


@pytest.fixture
def api():
    with ApiServer() as server:
        for number in range(5):
            server.put("pods", pod(f"web-{number}", labels={"app": "web"}))
        server.put("services", service("web"))
        yield server


def make_tls(directory):
    """Make a certificate for the loopback, and the server's context."""
    certificate, key = directory / "ca.crt", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=kubernetes",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def follow(api, tmp_path):
    """Start following the API; ended with the test."""
    started = []

    def start(**how):
        follower = Follower(api, kubeconfig(tmp_path, api.url, token=api.token), **how)
        follower.__enter__()
        started.append(follower)
        return follower

    yield start
    for follower in started:
        follower.__exit__()


@pytest.fixture
def followed(follow, eventually):
    follower = follow()
    eventually(lambda: follower.has_truth() and follower.api.watching() == 2)
    return follower


def asked(api, verb, resource="pods"):
    return [query for was, of, query in api.requests if (was, of) == (verb, resource)]


# --- the everyday ---


@pytest.mark.usefixtures("followed")
def test_pods_of_this_node_and_all_services_are_listed_then_watched(api):
    assert [query["fieldSelector"] for query in asked(api, "list")] == [f"spec.nodeName={NODE}"]
    assert "fieldSelector" not in asked(api, "list", "services")[0]
    (query,) = asked(api, "watch")
    assert query["fieldSelector"] == f"spec.nodeName={NODE}"
    assert query["resourceVersion"] == str(api.version)
    assert query["allowWatchBookmarks"] == "true"
    assert int(query["timeoutSeconds"]) > 0


@pytest.mark.usefixtures("followed")
def test_the_first_list_comes_from_the_servers_cache(api):
    assert asked(api, "list")[0]["resourceVersion"] == "0"


def test_what_happens_later_arrives_by_the_watch(api, followed, eventually):
    api.put("pods", pod("late", started=False))
    api.put("pods", pod("late", started=True))
    api.put("pods", pod("elsewhere", node="node-2"))
    api.put("services", service("front", selector={"app": "late"}))
    api.delete("pods", "default", "web-0")
    eventually(followed.has_truth)
    assert followed.index.pods()["default", "late"][1] == "front"
    assert ("default", "elsewhere") not in followed.index.pods()
    assert len(asked(api, "list")) == 1


def test_an_event_is_there_within_a_tenth_of_a_second(api, followed, eventually):
    began = time.monotonic()
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert time.monotonic() - began < 0.1


def test_a_watch_that_times_out_at_the_server_goes_on_from_its_version(api, followed, eventually):
    eventually(lambda: len(asked(api, "watch")) >= 2)
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert len(asked(api, "list")) == 1


@pytest.mark.usefixtures("followed")
def test_bookmarks_move_the_version_of_an_idle_watch_on(api, eventually):
    for _ in range(20):
        api.put("services", service("other"))
    moved = api.version
    eventually(lambda: any(int(q["resourceVersion"]) >= moved for q in asked(api, "watch")))
    assert len(asked(api, "list")) == 1


def test_lists_are_read_page_by_page(api, follow, eventually):
    api.expire()
    for number in range(1_200):
        api.put("services", service(f"s{number}"))
    api.fail(Fault(410, resource="services", verb="list"))
    follower = follow()
    eventually(follower.has_truth)
    queries = asked(api, "list", "services")
    assert ["continue" in query for query in queries] == [False, False, True, True]
    assert all("resourceVersion" not in query for query in queries[1:])


def test_a_continue_token_that_expired_starts_the_list_over(api, follow, eventually):
    for number in range(600):
        api.put("services", service(f"s{number}"))
    api.fail(Fault(410, resource="services", verb="list"))  # so that the next is a paged one
    api.fail(Fault(410, resource="services", verb="list", passes=1))
    follower = follow()
    eventually(follower.has_truth)
    assert len(asked(api, "list", "services")) == 5


# --- 410 ---


def test_a_version_that_expired_under_an_open_watch_is_met_by_a_new_list(api, followed, eventually):
    api.expire()
    eventually(lambda: len(asked(api, "list")) == 2)
    assert "resourceVersion" not in asked(api, "list")[1]
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert followed.fault("pods") == ""


def test_a_watch_refused_with_status_410_is_met_by_a_new_list(api, followed, eventually):
    api.fail(Fault(410, resource="pods", verb="watch"))
    api.end_watches("clean")
    eventually(lambda: len(asked(api, "list")) == 2)
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


def test_versions_that_expire_for_ever_are_met_slower_and_slower(api, follow, eventually):
    api.fail(Fault(410, resource="pods", verb="watch", times=10_000))
    follower = follow(pace=replace(QUICK, backoff=0.1, backoff_most=60.0))
    eventually(lambda: "410" in follower.fault("pods"))
    assert len(asked(api, "watch")) < 15


def test_a_version_of_the_future_is_met_by_a_new_list(api, followed, eventually):
    api.rewind()
    api.delete("pods", "default", "web-0")
    eventually(lambda: len(asked(api, "list")) == 2)
    eventually(followed.has_truth)
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


# --- the server goes and comes ---


@pytest.mark.parametrize("how", ["reset", "clean"])
def test_a_broken_watch_goes_on_where_it_was(api, followed, eventually, how):
    for number in range(10):
        api.put("pods", pod(f"more-{number}"))
        api.end_watches(how)
        api.delete("pods", "default", f"more-{number}")
        api.put("pods", pod(f"kept-{number}"))
    eventually(followed.has_truth)
    assert len(asked(api, "list")) == 1


def test_a_line_cut_in_the_middle_is_sent_again_by_the_server(api, followed, eventually):
    event = json.dumps({"type": "ADDED", "object": pod("late")}).encode()
    api.end_watches("reset", tail=event[: len(event) // 2], resource="pods")
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


@pytest.mark.parametrize("how", ["reset", "clean"])
def test_after_a_restart_of_the_server_nothing_of_the_outage_is_missed(
    api, followed, eventually, how
):
    api.stop(how)
    api.delete("pods", "default", "web-0")
    api.delete("pods", "default", "web-1")
    api.put("pods", pod("web-1", uid="0e886e9a-3879-45f9-b44d-86ef9df03224"))
    api.put("pods", pod("late"))
    api.put("services", service("front", selector={"app": "late"}))
    eventually(lambda: followed.fault("pods"))
    api.restart()
    eventually(followed.has_truth)
    uid = followed.index.pods()["default", "web-1"][0].uid
    assert uid == "0e886e9a-3879-45f9-b44d-86ef9df03224"
    eventually(lambda: followed.fault("pods") == "" and followed.fault("services") == "")


def test_a_server_that_is_away_is_asked_ever_more_rarely(api, followed, eventually):
    followed.cluster.stop()
    api.stop()
    began = time.monotonic()
    access = by_kubeconfig(followed.config)
    pace = replace(QUICK, backoff=0.05, backoff_most=10.0)
    watch = Watch(SERVICES, access, lambda _: None, pace=pace)
    watch.start()
    eventually(lambda: watch.state().fault)
    time.sleep(1.0)
    watch.stop()
    tries = sum(n for name, n in watch.state().counts.items() if name.startswith("fault"))
    assert 2 <= tries <= 15, time.monotonic() - began


@pytest.mark.parametrize("status", [500, 502, 503, 504, 301])
def test_any_other_status_is_tried_again(api, followed, eventually, status):
    api.fail(Fault(status, times=3))
    api.end_watches()
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


def test_a_server_that_is_not_ready_costs_no_new_list(api, followed, eventually):
    api.fail(Fault(503, times=6))
    api.end_watches()
    eventually(lambda: not api.faults)
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert len(asked(api, "list")) == 1


# --- the server hangs ---


def test_a_hung_watch_is_given_up_after_the_servers_own_timeout(api, followed, eventually):
    api.hang_watches()
    began = time.monotonic()
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert 0.5 < time.monotonic() - began < 4.0
    assert followed.counts("pods")["fault timeout"] >= 1


def test_an_idle_watch_is_not_taken_for_a_hung_one(api, follow, eventually):
    api.bookmark_period = 60.0
    follower = follow()
    eventually(lambda: len(asked(api, "watch")) >= 3, within=8.0)
    assert not [name for name in follower.counts("pods") if name.startswith("fault")]


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_a_request_that_nobody_answers_is_made_again(api, followed, eventually, verb):
    api.fail(Fault(verb=verb, hang=30.0, times=2))
    api.expire()
    api.put("pods", pod("late"))
    eventually(followed.has_truth, within=8.0)


@pytest.mark.usefixtures("followed")
def test_while_a_consistent_list_hangs_the_servers_cache_is_asked(api, eventually):
    api.fail(Fault(verb="list", resource="pods", hang=30.0))
    api.expire()
    eventually(lambda: len(asked(api, "list")) == 3)
    assert [query.get("resourceVersion") for query in asked(api, "list")] == ["0", None, "0"]


def test_bodies_that_trickle_in_are_read_to_their_end(api, follow, eventually):
    api.trickle = 100
    follower = follow()
    eventually(follower.has_truth)
    api.put("pods", pod("late"))
    eventually(follower.has_truth)


# --- credentials and rights ---


def test_a_token_that_rotated_is_read_again(api, tmp_path, eventually):
    api.token = FIRST
    token = tmp_path / "token"
    token.write_text(FIRST)
    config = kubeconfig(tmp_path, api.url, token_file=str(token))
    with Follower(api, config) as follower:
        eventually(follower.has_truth)
        api.token = SECOND
        api.end_watches()
        eventually(lambda: "401" in follower.fault("pods"))
        token.write_text(SECOND)
        api.put("pods", pod("late"))
        eventually(follower.has_truth)
        eventually(lambda: follower.fault("pods") == "")


def test_an_open_watch_outlives_its_token(api, tmp_path, eventually):
    api.token = FIRST
    with Follower(api, kubeconfig(tmp_path, api.url, token=FIRST)) as follower:
        eventually(lambda: follower.has_truth() and api.watching() == 2)
        api.token = SECOND
        api.put("pods", pod("late"))
        eventually(follower.has_truth)


def test_a_token_is_in_no_message(api, tmp_path, eventually, caplog):
    api.token = FIRST
    with Follower(api, kubeconfig(tmp_path, api.url, token=SECOND)) as follower:
        eventually(lambda: follower.fault("pods"))
        assert SECOND not in follower.fault("pods")
    assert SECOND not in caplog.text


@pytest.mark.parametrize("right", [*product(("list", "watch"), ("pods", "services"))])
def test_a_right_that_lacks_is_named_and_used_once_it_is_given(
    api, follow, eventually, right, caplog
):
    verb, resource = right
    caplog.set_level(logging.INFO, "rover.k8s")
    api.denied.add((verb, resource))
    follower = follow()
    eventually(lambda: follower.fault(resource))
    assert f"allow the verb {verb} on {resource} in its ClusterRole" in follower.fault(resource)
    other = "services" if resource == "pods" else "pods"
    assert follower.fault(other) == ""
    api.denied.clear()
    api.put("pods", pod("late"))
    eventually(follower.has_truth)
    eventually(lambda: follower.fault(resource) == "")
    lines = [line for line in caplog.messages if f"resource={resource}" in line]
    assert [line.split(" resource")[0] for line in lines] == ["watch fails", "watch restored"]


def test_one_403_at_start_is_not_taken_for_final_nor_told(api, follow, eventually, caplog):
    api.fail(Fault(403, resource="pods"))
    follower = follow()
    eventually(follower.has_truth)
    assert follower.fault("pods") == ""
    assert "RBAC" not in caplog.text


def test_a_right_taken_away_is_noticed_at_the_reconnect(api, followed, eventually):
    api.denied.add(("watch", "pods"))
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    api.end_watches()
    eventually(lambda: "allow the verb watch on pods" in followed.fault("pods"))


def test_retry_after_is_waited_for(api, followed, eventually):
    api.fail(Fault(429, resource="pods", headers={"Retry-After": "1"}))
    api.end_watches(resource="pods")
    eventually(lambda: not api.faults)
    began = time.monotonic()
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert 0.9 < time.monotonic() - began < 2.0


def test_in_a_pod_the_service_account_is_used_over_tls(tmp_path, eventually, tls, monkeypatch):
    certificate, context = tls
    token = tmp_path / "token"
    token.write_text(FIRST)
    with ApiServer(token=FIRST, tls=context) as api:
        api.put("pods", pod("web"))
        host, port = api.url.removeprefix("https://").split(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        posted = []
        access = in_cluster(token_file=str(token), ca_file=str(certificate))
        watch = Watch(pods_of(NODE, with_env=False), access, posted.append, pace=QUICK)
        watch.start()
        assert watch.wait_listed(5.0)
        api.token = SECOND
        token.write_text(SECOND)
        api.end_watches()
        api.put("pods", pod("late"))
        eventually(lambda: any("late" in repr(message) for message in posted))
        assert watch.stop()


def test_a_new_issuer_of_the_servers_certificate_is_read_from_the_mount(
    tmp_path, eventually, tls, monkeypatch
):
    certificate, context = tls
    mounted, token = tmp_path / "mounted.crt", tmp_path / "token"
    mounted.write_bytes(certificate.read_bytes())
    token.write_text(FIRST)
    with ApiServer(token=FIRST, tls=context) as api:
        host, port = api.url.removeprefix("https://").split(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        posted = []
        access = in_cluster(token_file=str(token), ca_file=str(mounted))
        watch = Watch(pods_of(NODE, with_env=False), access, posted.append, pace=QUICK)
        watch.start()
        assert watch.wait_listed(5.0)
        new_certificate, api.tls = make_tls(tmp_path)
        api.stop()
        api.restart()
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in watch.state().fault)
        mounted.write_bytes(new_certificate.read_bytes())
        api.put("pods", pod("late"))
        eventually(lambda: any("late" in repr(message) for message in posted))
        assert watch.stop()


def test_a_certificate_of_an_unknown_issuer_is_refused_and_told(tmp_path, eventually, tls):
    _, context = tls
    with ApiServer(tls=context) as api, Follower(api, kubeconfig(tmp_path, api.url)) as follower:
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in follower.fault("pods"))
        assert follower.messages == []


# --- what is malformed ---


BROKEN = [
    b"not JSON\n",
    b'{"type":"ADDED"}\n',
    b"[]\n",
    b"null\n",
    b"[" * 100_000 + b"\n",
    b'{"type":"ADDED","object":\xff\xfe}\n',
    b"\n",
]


@pytest.mark.parametrize("line", BROKEN, ids=range(len(BROKEN)))
def test_a_line_that_is_no_event_is_healed_by_a_new_list(api, followed, eventually, line):
    api.send_raw(line, "pods")
    eventually(lambda: len(asked(api, "list")) == 2)
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


def test_an_event_of_an_unknown_type_changes_nothing(api, followed, eventually):
    line = json.dumps({"type": "SHINY", "object": pod("ghost")}).encode() + b"\n"
    api.send_raw(line, "pods")
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


MALFORMED = [
    {},
    {"metadata": None},
    {"metadata": {"namespace": "default", "uid": "u"}},
    {"metadata": {"name": 7, "namespace": "default", "uid": "u"}},
    [],
    None,
    "pod",
]


@pytest.mark.parametrize("item", MALFORMED, ids=range(len(MALFORMED)))
def test_an_object_that_does_not_parse_hurts_no_other(api, followed, eventually, item):
    before = followed.counts("pods")["lists"]
    api.send_raw(json.dumps({"type": "ADDED", "object": item}).encode() + b"\n", "pods")
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert followed.counts("pods")["unreadable"] == 1
    assert followed.counts("pods")["lists"] == before


def test_in_a_list_too(api, follow, eventually):
    body = {
        "kind": "PodList",
        "items": [{"metadata": {"name": "bad"}}, pod("good"), 7],
        "metadata": {"resourceVersion": str(api.version)},
    }
    api.fail(Fault(resource="pods", verb="list", body=json.dumps(body).encode()))
    follower = follow()
    eventually(lambda: follower.read_mail() or follower.index.pods_listed)
    assert list(follower.index.pods()) == [("default", "good")]
    assert follower.counts("pods")["unreadable"] == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"<html>", b'{"items":[', b'{"items":[{}]', b'{"items":[{}]}'],
)
def test_a_list_that_is_none_is_asked_for_again(api, follow, eventually, body):
    api.fail(Fault(resource="pods", verb="list", body=body, times=2))
    follower = follow()
    eventually(follower.has_truth)
    assert follower.counts("pods")["fault malformed"] == 2


# --- refresh and stop ---


def test_a_refresh_lists_again_but_not_too_often(api, followed, eventually):
    time.sleep(QUICK.refresh_pause)
    for _ in range(50):
        followed.cluster.list_pods_again()
    eventually(lambda: len(asked(api, "list")) == 2)
    eventually(lambda: api.watching("pods") == 1)
    assert len(asked(api, "list")) == 2
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


def test_a_refresh_heals_a_watch_that_went_silent(api, followed, eventually):
    followed.cluster.stop()
    follower = Follower(api, followed.config, pace=replace(QUICK, server_timeout=60.0))
    with follower:
        eventually(lambda: follower.has_truth() and api.watching() == 2)
        api.hang_watches()
        api.put("pods", pod("late"))
        time.sleep(QUICK.refresh_pause)
        follower.cluster.list_pods_again()
        eventually(follower.has_truth)


def test_it_stops_within_a_second_whatever_it_waits_for(api, tmp_path, eventually):
    config = kubeconfig(tmp_path, api.url)
    slow = replace(Pace(), backoff=30.0)
    for number, fault in enumerate((None, Fault(hang=5.0, times=9), Fault(500, times=9))):
        if fault:
            api.fail(fault)
        already = len(api.requests)
        follower = Follower(api, config, pace=slow)
        follower.cluster.start()
        eventually(lambda already=already: len(api.requests) >= already + 2)
        if number == 0:
            eventually(lambda: api.watching() == 2)
        began = time.monotonic()
        assert follower.cluster.stop()
        assert time.monotonic() - began < 1.0
        with api.changed:
            api.faults.clear()
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("k8s-")])


def test_a_stop_comes_back_in_time_even_from_a_connect_that_hangs(tmp_path):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(0)
            filler.connect_ex(("127.0.0.1", port))
        access = by_kubeconfig(kubeconfig(tmp_path, f"http://127.0.0.1:{port}"))
        watch = Watch(SERVICES, access, lambda _: None)
        watch.start()
        time.sleep(0.1)
        began = time.monotonic()
        watch.stop(1.0)
        assert time.monotonic() - began < 1.2
        for filler in fillers:
            filler.close()
    watch._thread.join(10.0)
    assert not watch._thread.is_alive()


def test_nothing_is_posted_after_a_stop(api, followed):
    followed.cluster.stop()
    seen = len(followed.messages)
    api.put("pods", pod("late"))
    time.sleep(0.1)
    followed.read_mail()
    assert len(followed.messages) == seen


def test_a_defect_in_the_receiver_is_told_not_swallowed(api, tmp_path, eventually):
    told = []

    def defect(_):
        raise RuntimeError("broken on purpose")

    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    watch = Watch(SERVICES, access, defect, pace=QUICK, failed=told.append)
    watch.start()
    eventually(lambda: told)
    assert "broken on purpose" in watch.state().fault


# --- which node this is ---


def test_where_no_node_is_named_the_agents_own_pod_tells_it(api, tmp_path, monkeypatch):
    own = tmp_path / "namespace"
    own.write_text("default\n")
    monkeypatch.setattr(cluster_module, "OWN_NAMESPACE", str(own))
    monkeypatch.setenv("HOSTNAME", "web-0")
    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    assert cluster_module._find_node_name(access, in_cluster=True) == NODE
    monkeypatch.setenv("HOSTNAME", "nosuch")
    with pytest.raises(KubernetesError, match=r"downward API from spec\.nodeName"):
        cluster_module._find_node_name(access, in_cluster=True)
    api.put("pods", pod("lost", node=""))
    monkeypatch.setenv("HOSTNAME", "lost")
    with pytest.raises(KubernetesError, match="is on no node"):
        cluster_module._find_node_name(access, in_cluster=True)


def test_outside_of_the_cluster_the_hosts_name_is_the_nodes(api, tmp_path):
    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    name = cluster_module._find_node_name(access, in_cluster=False)
    assert name == socket.gethostname().lower()

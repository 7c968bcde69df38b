"""Every fault that a watch can meet, over HTTP with the official client: no pod lost or stuck."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace

import pytest

from bench.cluster.objects import NODE, pod, service
from bench.cluster.state import Fault
from bench.rig.follower import QUICK, Follower, kubeconfig
from rover.guard import Guard
from rover.k8s.access import by_kubeconfig
from rover.k8s.cluster import SERVICES
from rover.k8s.watch import Timing, Watch

pytest_plugins = ("k8s_fixtures",)

PATIENT = replace(QUICK, list_silence=10.0)
"""For long lists, which a busy machine makes wait."""

# --- the everyday ---


@pytest.mark.usefixtures("followed")
def test_pods_of_this_node_and_all_services_are_listed_then_watched(api):
    assert [query["fieldSelector"] for query in api.asked("list")] == [f"spec.nodeName={NODE}"]
    assert "fieldSelector" not in api.asked("list", "services")[0]
    (query,) = api.asked("watch")
    assert query["fieldSelector"] == f"spec.nodeName={NODE}"
    assert query["resourceVersion"] == str(api.version)
    assert query["allowWatchBookmarks"] == "true"
    assert int(query["timeoutSeconds"]) > 0


@pytest.mark.usefixtures("followed")
def test_the_first_list_comes_from_the_servers_cache(api):
    assert api.asked("list")[0]["resourceVersion"] == "0"


def test_what_happens_later_arrives_by_the_watch(api, followed, eventually):
    api.put("pods", pod("late", started=False))
    api.put("pods", pod("late", started=True))
    api.put("pods", pod("elsewhere", node="node-2"))
    api.put("services", service("front", selector={"app": "late"}))
    api.delete("pods", "default", "web-0")
    eventually(followed.has_truth)
    assert followed.index.pods()["default", "late"][1] == "front"
    assert ("default", "elsewhere") not in followed.index.pods()
    assert len(api.asked("list")) == 1


def test_an_event_is_there_within_half_a_second(api, followed, eventually):
    began = time.monotonic()
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert time.monotonic() - began < 0.5


def test_a_watch_that_times_out_at_the_server_goes_on_from_its_version(api, followed, eventually):
    eventually(lambda: len(api.asked("watch")) >= 2)
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert len(api.asked("list")) == 1


@pytest.mark.usefixtures("followed")
def test_bookmarks_move_the_version_of_an_idle_watch_on(api, eventually):
    for _ in range(20):
        api.put("services", service("other"))
    moved = api.version
    eventually(lambda: any(int(q["resourceVersion"]) >= moved for q in api.asked("watch")))
    assert len(api.asked("list")) == 1


def test_lists_are_read_page_by_page(api, follow, eventually):
    api.expire()
    for number in range(1_200):
        api.put("services", service(f"s{number}"))
    api.fail(Fault(410, resource="services", verb="list"))
    follower = follow(timing=PATIENT)
    eventually(follower.has_truth)
    queries = api.asked("list", "services")
    assert ["continue" in query for query in queries] == [False, False, True, True]
    assert all("resourceVersion" not in query for query in queries[1:])


def test_a_continue_token_that_expired_starts_the_list_over(api, follow, eventually):
    for number in range(600):
        api.put("services", service(f"s{number}"))
    api.fail(Fault(410, resource="services", verb="list"))  # so that the next is a paged one
    api.fail(Fault(410, resource="services", verb="list", passes=1))
    follower = follow(timing=PATIENT)
    eventually(follower.has_truth)
    assert len(api.asked("list", "services")) == 5


# --- 410 ---


def test_a_version_that_expired_under_an_open_watch_is_met_by_a_new_list(api, followed, eventually):
    api.expire()
    eventually(lambda: len(api.asked("list")) == 2)
    assert "resourceVersion" not in api.asked("list")[1]
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert followed.fault("pods") == ""


def test_a_watch_refused_with_status_410_is_met_by_a_new_list(api, followed, eventually):
    api.fail(Fault(410, resource="pods", verb="watch"))
    api.end_watches("clean")
    eventually(lambda: len(api.asked("list")) == 2)
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


def test_versions_that_expire_for_ever_are_met_slower_and_slower(api, follow, eventually):
    api.fail(Fault(410, resource="pods", verb="watch", times=10_000))
    follower = follow(timing=replace(QUICK, backoff=0.1, backoff_most=60.0))
    eventually(lambda: "410" in follower.fault("pods"))
    assert len(api.asked("watch")) < 15


def test_a_version_of_the_future_is_met_by_a_new_list(api, followed, eventually):
    api.restore_backup()
    api.delete("pods", "default", "web-0")
    eventually(lambda: len(api.asked("list")) == 2)
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
    assert len(api.asked("list")) == 1


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
    timing = replace(QUICK, backoff=0.05, backoff_most=10.0)
    watch = Watch(SERVICES, access, lambda _: None, timing=timing)
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
    assert len(api.asked("list")) == 1


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
    eventually(lambda: len(api.asked("watch")) >= 3, within=8.0)
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
    eventually(lambda: len(api.asked("list")) == 3)
    assert [query.get("resourceVersion") for query in api.asked("list")] == ["0", None, "0"]


def test_bodies_that_trickle_in_are_read_to_their_end(api, follow, eventually):
    api.trickle = 100
    follower = follow()
    eventually(follower.has_truth)
    api.put("pods", pod("late"))
    eventually(follower.has_truth)


# --- refresh and stop ---


def test_a_refresh_lists_again_but_not_too_often(api, followed, eventually):
    time.sleep(QUICK.refresh_pause)
    for _ in range(50):
        followed.cluster.list_pods_again()
    eventually(lambda: len(api.asked("list")) == 2)
    eventually(lambda: api.watching("pods") == 1)
    assert len(api.asked("list")) == 2
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


def test_a_refresh_heals_a_watch_that_went_silent(api, followed, eventually):
    followed.cluster.stop()
    follower = Follower(api, followed.config, timing=replace(QUICK, server_timeout=60.0))
    with follower:
        eventually(lambda: follower.has_truth() and api.watching() == 2)
        api.hang_watches()
        api.put("pods", pod("late"))
        time.sleep(QUICK.refresh_pause)
        follower.cluster.list_pods_again()
        eventually(follower.has_truth)


def test_it_stops_within_a_second_whatever_it_waits_for(api, tmp_path, eventually):
    config = kubeconfig(tmp_path, api.url)
    slow = replace(Timing(), backoff=30.0)
    for number, fault in enumerate((None, Fault(hang=5.0, times=9), Fault(500, times=9))):
        if fault:
            api.fail(fault)
        already = len(api.requests)
        follower = Follower(api, config, timing=slow)
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
    followed.read_messages()
    assert len(followed.messages) == seen


def test_a_defect_in_the_receiver_is_told_and_the_watch_goes_on(api, tmp_path, eventually):
    guard, taken, broken = Guard(), [], [True]

    def post(message):
        if broken:
            raise RuntimeError("broken on purpose")
        taken.append(message)

    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    watch = Watch(SERVICES, access, post, timing=QUICK, guard=guard)
    watch.start()
    eventually(lambda: "broken on purpose" in watch.state().fault)
    assert guard.failing().defect.where == "watch services"
    broken.clear()
    eventually(lambda: taken and not watch.state().fault)
    assert guard.failing() is None
    assert watch.stop()


def test_news_that_there_is_no_room_for_is_listed_again(api, tmp_path, eventually):
    full, taken = [True], []

    def post(message):
        return False if full and taken else taken.append(message)

    watch = Watch(SERVICES, by_kubeconfig(kubeconfig(tmp_path, api.url)), post, timing=QUICK)
    watch.start()
    eventually(lambda: taken and watch.state().counts.get("watches"))
    api.put("services", service("lost"))
    eventually(lambda: watch.state().counts.get("fault behind", 0) > 1)
    full.clear()
    eventually(lambda: "lost" in repr(taken[-1]))
    assert watch.stop()


def test_an_object_that_brings_out_a_defect_hurts_no_other(api, tmp_path, eventually):
    guard, taken = Guard(), []

    def record(item):
        if item["metadata"]["name"] == "bad":
            raise RecursionError
        return SERVICES.record(item)

    api.put("services", service("bad"))
    api.put("services", service("good"))
    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    watch = Watch(replace(SERVICES, record=record), access, taken.append, timing=QUICK, guard=guard)
    watch.start()
    eventually(lambda: "good" in repr(taken))
    api.put("services", service("bad"))
    api.put("services", service("later"))
    eventually(lambda: "later" in repr(taken))
    assert (guard.counts["object"], guard.failing()) == (2, None)
    assert watch.stop()


def test_a_refresh_takes_no_list_that_is_behind_what_was_seen(api, followed, eventually):
    time.sleep(QUICK.refresh_pause)
    seen = api.version
    assert followed.cluster.list_pods_again() is None
    eventually(lambda: len(api.asked("list")) == 2)
    assert int(api.asked("list")[-1]["resourceVersion"]) == seen


def test_where_the_server_is_behind_a_refresh_reads_what_is_consistent(api, followed, eventually):
    time.sleep(QUICK.refresh_pause)
    api.fail(Fault(504, resource="pods", verb="list"))
    followed.cluster.list_pods_again()
    eventually(lambda: len(api.asked("list")) == 3)
    assert "resourceVersion" not in api.asked("list")[-1]
    api.put("pods", pod("late"))
    eventually(followed.has_truth)


def test_a_watch_whose_status_does_not_come_is_given_up_long_before_its_end(
    api, follow, eventually
):
    api.fail(Fault(hang=30.0, resource="pods", verb="watch"))
    follower = follow(timing=replace(QUICK, server_timeout=60.0, status=0.2))
    api.put("pods", pod("late"))
    eventually(follower.has_truth)


def test_after_a_bookmark_silence_is_noticed_sooner(api, follow, eventually):
    api.bookmark_period = 3600.0
    follower = follow(timing=replace(QUICK, server_timeout=60.0, bookmarks=0.3))
    eventually(lambda: follower.has_truth() and api.watching() == 2)
    api.send_bookmark()
    eventually(lambda: follower.cluster.states()[0].counts.get("bookmarks"))
    api.hang_watches()
    api.put("pods", pod("late"))
    eventually(follower.has_truth)

"""A real reporter against the embedded backend: every fault ends with the host's state there."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import grpc
import pytest
from reporter_rig import (
    AGENT,
    HURRY,
    POD,
    announced,
    eventually,
    names,
    report,
    reporting,
    shown,
    withdrawn,
)

from rover import metrics
from rover.backend import BackendOptions, EmbeddedBackend
from rover.config.settings import BackendSettings, DiscoverySettings
from rover.errors import BackendError
from rover.reporter.reporter import Reporter
from rover.reporter.state import Phase, Standing

CREW = [report(number) for number in range(5)]
EVERYBODY = shown(*range(5))


@pytest.fixture
def backend():
    with EmbeddedBackend(BackendOptions(seed=1)) as running:
        yield running
        broken = [str(violation) for violation in running.violations]
    assert not broken


def beats(backend, more=2):
    """Wait until every process has beaten so many times more."""
    before = {row.id: row.pings for row in backend.state.snapshot().processes}
    return backend.state.wait_for(
        lambda held: all(
            row.pings >= before.get(row.id, 0) + more for row in held.processes if row.visible
        )
    )


def test_processes_are_visible_with_their_properties_at_once(backend):
    with reporting(backend.address) as reporter:
        reporter.publish(announced(CREW[0], report(9, container=POD, layer="K8S_SERVICE")))
        held = backend.state.wait_for(shown(0, 9))
    (host,) = held.find(process="worker-0")
    assert host.kind == "VM"
    assert host.agent_id == AGENT
    assert host.properties["command_line"] == "sleep 1000"
    assert host.properties["host_ip"] not in {"", "127.0.0.1"}
    assert host.properties["support_ebpf_profiling"] == "false"
    (pod,) = held.find(process="worker-9")
    assert pod.kind == "KUBERNETES"
    assert pod.properties["pod_name"] == "shop-1"
    assert pod.properties["host_ip"] == "192.0.2.9"


def test_the_reporter_keeps_the_backends_ids(backend):
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        held = backend.state.wait_for(EVERYBODY)
        eventually(
            lambda: all(
                state.standing is Standing.REPORTED for state in reporter.state.entities.values()
            )
        )
        for row in held.processes:
            state = reporter.entity(row.entity.key)
            assert state.process_id == row.id
    assert reporter.entity(report(99).entity.key) is None


def test_what_goes_on_can_be_read_from_the_metrics(backend):
    def figure(name, **labels):
        return metrics.REGISTRY.get_sample_value(name, labels) or 0

    before = figure("rover_sent_entities_total", call="report")
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)
        beats(backend)
        assert figure("rover_sent_entities_total", call="report") >= before + len(CREW)
        assert figure("rover_session_state", state="beating") == 1
        assert figure("rover_session_state", state="backing-off") == 0
        assert figure("rover_last_heartbeat_timestamp_seconds") > time.time() - 60
        assert figure("rover_waiting_entities") == 0
        failed = figure("rover_reports_total", call="beat", result="unavailable")
        backend.faults.error("UNAVAILABLE", count=1, method="keepAlive")
        eventually(
            lambda: figure("rover_reports_total", call="beat", result="unavailable") > failed
        )


def test_a_process_that_ended_beats_no_more(backend):
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)
        reporter.publish(withdrawn(CREW[0]))
        eventually(lambda: reporter.entity(CREW[0].entity.key) is None)
        (gone,) = backend.state.snapshot().find(process="worker-0")
        (alive,) = backend.state.snapshot().find(process="worker-1")
        held = backend.state.wait_for(
            lambda held: held.find(process="worker-1")[0].pings >= alive.pings + 3
        )
    assert held.find(process="worker-0")[0].pings == gone.pings


def test_a_full_report_is_made_again_every_so_many_beats(backend):
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        held = backend.state.wait_for(lambda held: any(row.reports >= 3 for row in held.processes))
    assert all(row.pings >= 2 * HURRY.properties_report_period - 1 for row in held.processes)


def test_a_command_line_of_any_kind_is_reported(backend):
    lines = ["", "x" * 2_000_000, "a\0b\x01", "caf\udce9", "=" * 60_000, "\U0001f600" * 30_000]
    with reporting(backend.address) as reporter:
        reporter.publish(
            announced(*(report(number, command_line=line) for number, line in enumerate(lines)))
        )
        held = backend.state.wait_for(shown(*range(len(lines))))
    assert held.dropped_total == 0


def strike_refuse(backend):
    backend.faults.refuse()


def strike_reset(backend):
    backend.faults.reset(connections=2)


def strike_black_hole(backend):
    backend.faults.black_hole()


def strike_delay(backend):
    backend.faults.delay(3)


def strike_slow(backend):
    backend.faults.slow(200)


@pytest.mark.parametrize(
    "strike",
    [strike_refuse, strike_reset, strike_black_hole, strike_delay, strike_slow],
    ids=lambda strike: strike.__name__.removeprefix("strike_"),
)
def test_after_a_fault_of_the_link_the_backend_holds_what_lives(backend, strike):
    with reporting(backend.address, timeout=0.5) as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)
        strike(backend)
        reporter.publish(withdrawn(CREW[0]))
        reporter.publish(announced(report(7)))
        time.sleep(1)  # the fault's own duration
        backend.faults.clear()
        backend.state.wait_for(lambda held: "worker-7" in names(held))
        eventually(lambda: reporter.session.phase is Phase.BEATING)
        beats_again(backend, reporter, {1, 2, 3, 4, 7})


def beats_again(backend, reporter, numbers):
    """Wait until just these beat."""
    now = time.monotonic()
    backend.state.wait_for(
        lambda held: (
            {
                row.entity.process
                for row in held.processes
                if row.last_ping and row.last_ping.monotonic > now
            }
            == {f"worker-{number}" for number in numbers}
        )
    )
    assert len(reporter.state.entities) == len(numbers)


@pytest.mark.parametrize(
    "code",
    [
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "UNIMPLEMENTED",
        "INVALID_ARGUMENT",
        "UNKNOWN",
        "INTERNAL",
        "CANCELLED",
        "ABORTED",
        "DATA_LOSS",
    ],
)
@pytest.mark.parametrize("rate", [0.4, 1.0])
def test_after_failing_calls_the_backend_holds_what_lives(backend, code, rate):
    with reporting(backend.address) as reporter:
        backend.faults.error(code, rate=rate)
        reporter.publish(announced(*CREW))
        if rate == 1:
            eventually(lambda: reporter.session.phase is Phase.BACKING_OFF)
        time.sleep(0.3)  # the fault's own duration
        backend.faults.clear()
        backend.state.wait_for(EVERYBODY)
        eventually(lambda: reporter.session.phase is Phase.BEATING)
        beats_again(backend, reporter, range(5))


def test_calls_that_take_effect_but_fail_are_repeated_without_harm(backend):
    with reporting(backend.address) as reporter:
        backend.faults.error("UNAVAILABLE", stored=True, count=4)
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)
        eventually(lambda: reporter.session.phase is Phase.BEATING)


@pytest.mark.parametrize("keep_memory", [True, False])
def test_a_restarted_backend_is_told_everything_within_a_beat(backend, keep_memory):
    slow_beats = DiscoverySettings(heartbeat_period=5)
    with reporting(backend.address, slow_beats) as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)
        backend.restart(keep_memory=keep_memory)
        again = time.monotonic()
        backend.state.wait_for(
            lambda held: (
                EVERYBODY(held) and all(row.last_report.monotonic > again for row in held.processes)
            ),
            5,
        )


def test_the_backend_may_come_up_long_after_the_agent(backend):
    port = backend.port
    backend.stop()
    with reporting(f"127.0.0.1:{port}") as reporter:
        reporter.publish(announced(*CREW))
        eventually(lambda: reporter.session.phase is Phase.BACKING_OFF)
        assert "Connection refused" in reporter.session.last_error
        with EmbeddedBackend(BackendOptions(port=port)) as late:
            late.state.wait_for(EVERYBODY)
            assert not late.violations


def test_answers_with_fewer_items_or_in_another_order_are_matched(backend):
    backend.faults.reorder()
    backend.faults.fewer(2, count=3)
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        held = backend.state.wait_for(EVERYBODY)
        for row in held.processes:
            eventually(lambda row=row: reporter.entity(row.entity.key).process_id == row.id)


def test_ids_that_are_missing_are_asked_for_again(backend):
    backend.faults.drop_ids(count=2)
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        held = backend.state.wait_for(EVERYBODY)
        for row in held.processes:
            eventually(lambda row=row: reporter.entity(row.entity.key).process_id == row.id)


def test_wrong_ids_are_put_right_by_the_next_full_report(backend):
    backend.faults.wrong_ids(count=1)
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        held = backend.state.wait_for(EVERYBODY)
        for row in held.processes:
            eventually(lambda row=row: reporter.entity(row.entity.key).process_id == row.id)


def test_a_message_limit_is_kept_to(backend):
    backend.faults.limit_message_size(2000)
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*(report(n, command_line="x" * (n * 40)) for n in range(100))))
        backend.state.wait_for(shown(*range(100)))
        eventually(lambda: reporter.session.phase is Phase.BEATING)


def test_the_servers_own_limit_resets_the_stream_and_is_kept_to():
    with (
        EmbeddedBackend(BackendOptions(message_limit=20_000)) as backend,
        reporting(backend.address) as reporter,
    ):
        reporter.publish(announced(*(report(n, command_line="x" * 200) for n in range(300))))
        backend.state.wait_for(shown(*range(300)))
        eventually(lambda: reporter.session.phase is Phase.BEATING)


def test_a_layer_that_the_server_does_not_know_hurts_nobody_else(caplog):
    with (
        EmbeddedBackend() as backend,
        caplog.at_level(logging.INFO, "rover.reporter"),
        reporting(backend.address) as reporter,
    ):
        bad = report(9, layer="os_linux")
        reporter.publish(announced(*CREW[:3], bad, *CREW[3:]))
        backend.state.wait_for(EVERYBODY)
        state = eventually(
            lambda: (
                (found := reporter.entity(bad.entity.key)).standing is Standing.REFUSED and found
            )
        )
        assert "UNKNOWN" in state.detail
        beats(backend)
    assert caplog.text.count("entity set aside") == 1
    assert "layer unknown to OAP 10.1: layer=\"'os_linux'\"" in caplog.text or (
        "layer='os_linux'" in caplog.text
    )


def test_a_token_is_sent_and_never_shown(caplog):
    with (
        EmbeddedBackend(BackendOptions(token="open sesame")) as backend,  # noqa: S106  made up
        caplog.at_level(logging.DEBUG),
        reporting(backend.address, authentication="open sesame") as reporter,
    ):
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)
        backend.faults.error("UNAVAILABLE", "token open sesame is fine", count=1)
        eventually(lambda: reporter.session.last_error)
        assert "sesame" not in repr(reporter.state)
    assert "sesame" not in caplog.text


def test_a_wrong_token_is_said_once_and_a_changed_file_is_tried_at_once(tmp_path, caplog):
    path = tmp_path / "token"
    path.write_text("wrong\n")
    slow_beats = DiscoverySettings(heartbeat_period=30)
    with (
        EmbeddedBackend(BackendOptions(token="right")) as backend,  # noqa: S106  made up
        reporting(backend.address, slow_beats, authentication_file=str(path)) as reporter,
    ):
        reporter.publish(announced(*CREW))
        eventually(lambda: reporter.session.phase is Phase.BACKING_OFF)
        assert "PERMISSION_DENIED" in reporter.session.reason
        time.sleep(0.5)
        (tmp_path / "new").write_text("right\n")
        (tmp_path / "new").replace(path)
        backend.state.wait_for(EVERYBODY, 5)
    assert caplog.text.count("PERMISSION_DENIED") == 1
    assert "right" not in caplog.text


def test_the_next_address_serves_while_the_first_is_away(backend):
    with EmbeddedBackend() as other:
        other.stop()
        with reporting(f"{other.address},{backend.address}") as reporter:
            reporter.publish(announced(*CREW))
            backend.state.wait_for(EVERYBODY)
            eventually(lambda: reporter.session.phase is Phase.BEATING)
            assert reporter.session.backend == backend.address


def test_ipv6_is_spoken():
    with (
        EmbeddedBackend(BackendOptions(host="::1")) as backend,
        reporting(backend.address) as reporter,
    ):
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)


def test_what_is_no_oap_is_said_with_what_to_check():
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with reporting(f"127.0.0.1:{port}") as reporter:
            reporter.publish(announced(*CREW))
            eventually(lambda: reporter.session.phase is Phase.BACKING_OFF)
            assert "11800" in reporter.session.reason
    finally:
        server.stop(None).wait()


def test_publishing_never_waits_for_the_backend(backend):
    backend.faults.black_hole()
    with reporting(backend.address, timeout=1.0) as reporter:
        began = time.monotonic()
        for number in range(5000):
            reporter.publish(announced(report(number)))
            reporter.publish(withdrawn(report(number)))
        assert time.monotonic() - began < 1
        assert len(reporter.state.entities) <= 1
        backend.faults.clear()


def test_a_stop_reports_what_was_found_last(backend):
    reporter = Reporter(BackendSettings(addr=backend.address), DiscoverySettings(), AGENT)
    reporter.start()
    reporter.publish(announced(*CREW))
    backend.state.wait_for(EVERYBODY)
    reporter.publish(announced(report(7)))
    assert reporter.stop(3)
    assert "worker-7" in names(backend.state.snapshot())
    assert reporter.session.phase is Phase.STOPPED


@pytest.mark.parametrize("away", ["refuse", "black_hole"])
def test_a_stop_ends_in_time_whatever_the_backend_does(backend, away):
    reporter = Reporter(BackendSettings(addr=backend.address), DiscoverySettings(), AGENT)
    reporter.start()
    backend.state.wait_for(lambda held: held.calls)
    getattr(backend.faults, away)()
    reporter.publish(announced(*CREW))
    time.sleep(0.1)
    began = time.monotonic()
    assert reporter.stop(2)
    assert time.monotonic() - began < 2.5
    assert not reporter.is_alive
    backend.faults.clear()


def test_a_reporter_that_never_ran_can_be_stopped():
    assert Reporter(BackendSettings(), DiscoverySettings(), AGENT).stop()


def test_an_address_that_is_none_is_refused_at_once():
    with pytest.raises(BackendError, match="http"):
        Reporter(BackendSettings(addr="http://oap:12800"), DiscoverySettings(), AGENT)


def test_a_session_that_reconnects_often_leaks_no_thread_and_no_descriptor(backend):
    def used():
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    random = Random(3)
    rounds, early = 40, 10
    with reporting(backend.address) as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)
        for round_ in range(rounds):
            if random.random() < 0.5:
                backend.faults.reset()
            else:
                backend.faults.refuse()
                eventually(lambda: reporter.session.phase is Phase.BACKING_OFF)
                backend.faults.clear()
            eventually(lambda: reporter.session.phase is Phase.BEATING)
            if round_ == early:
                before = used()
        beats(backend)
        # the backend's own ends of the connections count in this process as well
        slack = (rounds - early) // 2
        eventually(
            lambda: all(now <= then + slack for now, then in zip(used(), before, strict=True))
        )

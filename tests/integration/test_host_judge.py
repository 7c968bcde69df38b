"""Host finders and sensor together, on real processes."""

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from rover.config.settings import ScanMode, ScannerSettings
from rover.discovery.procfs import ProcReader
from rover.foreign.reads import ForeignReads
from rover.model import Reason
from rover.naming.host.finders import HostFinders
from rover.naming.host.judge import HostJudge, SensorNews
from rover.naming.host_facts import Host
from rover.sensor.watch import Sensor

METADATA = "layer=GENERAL\nservice_name=shop\ninstance_name=i\nprocess_name=p\n"


@pytest.fixture
def judge():
    settings = ScannerSettings(period=3.0)
    reads = ForeignReads()
    reads.start()
    sensor = Sensor(settings.agent_stale_after, reads)
    finders = HostFinders(settings, (), Host("id", name="metal-3"), sensor, "")
    yield HostJudge(finders, sensor, settings.period)
    reads.stop()


def read(pid):
    return ProcReader(with_place=True).read(pid)


def verdict_on(judge, process, eventually):
    """What the judge says once it has been told what it asked for."""
    return eventually(
        lambda: (
            (judge.apply(SensorNews()), judge.judge(process))[1].reports and judge.judge(process)
        )
    )


def service(verdict):
    (report,) = verdict.reports
    return report.entity.service


def test_a_process_is_judged_again_when_its_agent_begins_to_tell_who_it_is(
    judge, spawn, tmp_path, eventually
):
    child = spawn(sys.executable, "-c", "input()", stdin=-1, env={"TMPDIR": str(tmp_path)})
    process = read(child.pid)
    assert service(verdict_on(judge, process, eventually)) == "metal-3"
    place = tmp_path / "apache_skywalking" / "process" / str(child.pid)
    place.mkdir(parents=True)
    (place / "metadata.properties").write_text(METADATA)
    judge.refresh(1e9)
    eventually(lambda: process.key in set(judge.apply(SensorNews())))
    assert service(judge.judge(process)) == "shop"


def test_a_process_with_metadata_is_never_judged_without(judge, spawn, tmp_path, eventually):
    child = spawn(sys.executable, "-c", "input()", stdin=-1, env={"TMPDIR": str(tmp_path)})
    place = tmp_path / "apache_skywalking" / "process" / str(child.pid)
    place.mkdir(parents=True)
    (place / "metadata.properties").write_text(METADATA)
    process, seen = read(child.pid), []

    def named():
        judge.apply(SensorNews())
        seen.append(judge.judge(process))
        return seen[-1].reports

    eventually(named)
    assert service(seen[-1]) == "shop"
    assert {verdict.reason for verdict in seen[:-1]} <= {Reason.PENDING}


def test_a_process_whose_agent_cannot_be_looked_for_is_judged_and_told_so(judge, spawn, tmp_path):
    (tmp_path / "link").symlink_to("elsewhere")
    os.lchown(tmp_path / "link", 65534, 65534)
    child = spawn("sleep", "60", env={"TMPDIR": str(tmp_path / "link")})
    process = read(child.pid)
    until = time.monotonic() + 10
    while not (verdict := judge.judge(process)).reports:
        assert time.monotonic() < until
        judge.apply(SensorNews())
    assert "left alone: it leads through a link of uid 65534" in verdict.detail


def test_a_process_in_a_real_systemd_shaped_cgroup_is_named_after_its_unit(
    judge, spawn, eventually
):
    root = _unified_tree()
    group = root / "system.slice" / r"rover\x2dtest.service"
    group.mkdir(parents=True, exist_ok=True)
    child = spawn("sleep", "60")
    try:
        (group / "cgroup.procs").write_text(str(child.pid))
        assert service(verdict_on(judge, read(child.pid), eventually)) == "rover-test"
    finally:
        child.kill()
        child.wait()
        eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
        with contextlib.suppress(OSError):  # in use where systemd runs
            group.parent.rmdir()


def test_the_next_look_is_a_period_after_the_last(judge):
    assert judge.next_refresh(100.0) <= 100.0
    judge.refresh(100.0)
    assert judge.next_refresh(100.0) == 103.0


def test_no_process_is_looked_into_where_no_finder_asks_for_agents():
    settings, sensor = ScannerSettings(mode=ScanMode.REGEX), Sensor(60.0, ForeignReads())
    judge = HostJudge(HostFinders(settings, (), Host("id"), sensor, ""), sensor, 3.0)
    process = ProcReader().read(os.getpid())
    assert judge.judge(process).reason is Reason.NO_FINDER
    assert sensor.figures.watched == 0
    judge.forget(process.key)
    assert not set(judge.refresh(100.0))
    assert judge.next_refresh(100.0) > 1000.0


def _unified_tree():
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        if source.startswith("cgroup2 "):
            return Path(mount.split(" ")[4])
    raise AssertionError("no cgroup v2 tree is mounted here")

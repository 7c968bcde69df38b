"""Host finders and sensor together, on real processes."""

import contextlib
import os
import sys
import time
from pathlib import Path

from rover.config.settings import ScanMode, ScannerSettings
from rover.discovery.procfs import ProcReader
from rover.model import Reason
from rover.naming.host.finders import HostFinders
from rover.naming.host.judge import HostJudge
from rover.naming.host_facts import Host
from rover.sensor.watch import Sensor

METADATA = "layer=GENERAL\nservice_name=shop\ninstance_name=i\nprocess_name=p\n"


def judge_of(period=0.05, stale_after=60.0):
    settings = ScannerSettings(period=period, agent_stale_after=stale_after)
    sensor = Sensor(settings.agent_stale_after)
    finders = HostFinders(settings, (), Host("id", name="metal-3"), sensor, "")
    return HostJudge(finders, sensor, settings.period)


def service(verdict):
    (report,) = verdict.reports
    return report.entity.service


def test_a_process_is_judged_again_when_its_agent_begins_to_tell_who_it_is(spawn, tmp_path):
    judge = judge_of()
    child = spawn(sys.executable, "-c", "input()", stdin=-1, env={"TMPDIR": str(tmp_path)})
    process = ProcReader().read(child.pid)
    assert service(judge.judge(process)) == "metal-3"
    place = tmp_path / "apache_skywalking" / "process" / str(child.pid)
    place.mkdir(parents=True)
    (place / "metadata.properties").write_text(METADATA)
    assert set(judge.refresh(time.monotonic())) == {process.key}
    assert service(judge.judge(process)) == "shop"


def test_a_process_in_a_real_systemd_shaped_cgroup_is_named_after_its_unit(spawn, eventually):
    root = _unified_tree()
    group = root / "system.slice" / r"rover\x2dtest.service"
    group.mkdir(parents=True, exist_ok=True)
    child = spawn("sleep", "60")
    try:
        (group / "cgroup.procs").write_text(str(child.pid))
        assert service(judge_of().judge(ProcReader().read(child.pid))) == "rover-test"
    finally:
        child.kill()
        child.wait()
        eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
        with contextlib.suppress(OSError):  # in use where systemd runs
            group.parent.rmdir()


def test_the_next_look_is_a_period_after_the_last():
    judge = judge_of(period=3.0)
    assert judge.next_refresh(100.0) <= 100.0
    judge.refresh(100.0)
    assert judge.next_refresh(100.0) == 103.0


def test_no_process_is_looked_into_where_no_finder_asks_for_agents():
    settings, sensor = ScannerSettings(mode=ScanMode.REGEX), Sensor(60.0)
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

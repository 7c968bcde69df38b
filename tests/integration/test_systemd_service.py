"""deploy/rover.service gives the agent what it needs, and systemd understands it."""

import configparser
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from agent_rig import ROVER

UNIT = Path(__file__).parents[2] / "deploy" / "rover.service"

# What the agent needs rights for: attach, see the processes of others, read agents' files.
PROOF = """
import os, sys, time
from rover.sensor.watch import Sensor
from rover.discovery.procfs import ProcReader
from rover.foreign.reads import ForeignReads
from rover.probes import settling

settling.attach().close()
reads = ForeignReads()
reads.start()
process = ProcReader(strings=reads, with_place=True).read(int(sys.argv[1]))
sensor = Sensor(60.0, reads)
sensor.watch(process, time.time())
while sensor.is_pending(process.key):
    time.sleep(0.01)
    sensor.take(time.time())
print(os.getuid(), process.exe, sensor.metadata(process.key).service)
reads.stop()
"""

METADATA = "layer=GENERAL\nservice_name=shop\ninstance_name=i\nprocess_name=p\n"


def service():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


def test_systemd_hears_when_the_agent_is_ready_that_it_is_well_and_that_it_ends(tmp_path):
    """As `Type=notify` and `WatchdogSec=` have it: READY comes with no backend to report to."""
    assert service()["Type"] == "notify"
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(30)
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "300000",
        "ROVER_BACKEND_ADDR": "127.0.0.1:1",
    }
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen(
            [ROVER, "start", "--state-dir", tmp_path / "state"], env=environment, stderr=log
        )
    ready, status = heard.recv(4_096).decode().split("\n")
    assert ready == "READY=1", (tmp_path / "log").read_text()
    assert status.startswith("STATUS=eBPF: ")
    said = "session with the backend: backing-off"
    while said not in status:
        status = heard.recv(4_096).decode()
        assert status.startswith("WATCHDOG=1")
    assert b"NOTIFY_SOCKET" not in b"".join(
        Path(f"/proc/{child.pid}/environ").read_bytes()
        for child in psutil.Process(agent.pid).children()
    )
    agent.terminate()
    while (last := heard.recv(4_096)) != b"STOPPING=1":
        assert last.startswith(b"WATCHDOG=1")
    assert agent.wait(10) == 0
    heard.close()


@pytest.mark.kernel
def test_the_capabilities_of_the_unit_are_enough_for_a_user_without_any_other_right(
    spawn, tmp_path
):
    capabilities = service()["AmbientCapabilities"].split()
    assert service()["CapabilityBoundingSet"].split() == capabilities
    given = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities)
    tmp_path.chmod(0o700)
    other = spawn("sleep", "60", env={"TMPDIR": str(tmp_path)})
    place = tmp_path / "apache_skywalking" / "process" / str(other.pid)
    place.mkdir(parents=True, mode=0o700)
    (place / "metadata.properties").write_text(METADATA)
    (place / "metadata.properties").chmod(0o600)
    run = subprocess.run(
        [
            *("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--no-new-privs"),
            *(f"--inh-caps={given}", f"--ambient-caps={given}", f"--bounding-set=-all,{given}"),
            *(sys.executable, "-B", "-c", PROOF, str(other.pid)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    sleep = str(Path(shutil.which("sleep")).resolve())
    assert run.stdout.split() == ["54321", sleep, "shop"], run.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_understands_every_line_of_the_unit(tmp_path):
    unit = tmp_path / "rover.service"
    unit.write_text(UNIT.read_text().replace(service()["ExecStart"].split()[0], "/bin/true"))
    run = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False
    )
    # It also speaks of the units of this machine that the unit wants.
    assert "rover" not in run.stderr
    assert run.returncode == 0, run.stderr

"""Rows on attaching: under which rights the programs come up, and what is said without one."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import yaml

from rover.backend import EmbeddedBackend
from rover.probes import programs

UNIT: Final = Path("/etc/systemd/system/rover.service")
ENVIRONMENT: Final = Path("/etc/rover/rover.env")
DEPLOY: Final = Path(__file__).parents[1] / "deploy"
PATIENCE: Final = 300.0
"""Seconds for what takes half a second on a machine that is not emulated beside other work."""
TOLD_WHEN_MISSED: Final = {"CAP_DAC_READ_SEARCH", "CAP_CHECKPOINT_RESTORE", "CAP_SYSLOG"}
"""Told where a file is kept back, or with the first profile, not at the start."""
PARANOID: Final = Path("/proc/sys/kernel/perf_event_paranoid")

LOAD: Final = """
from rover.errors import ProbeError
from rover.probes import programs
try:
    loaded = programs.load(timeout=300)
except ProbeError as error:
    raise SystemExit(str(error))
print(loaded.way, loaded.not_better)
"""


def eventually(condition: Callable[[], object], what: str, within: float = PATIENCE) -> object:
    """Wait until a condition gives something true, and return it."""
    until = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"not within {within:g} s: {what}")
        time.sleep(0.1)
    return value


def system(*command: str) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def capabilities_of_unit() -> list[str]:
    """Return what the shipped unit gives."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(DEPLOY / "rover.service")
    return str(parser["Service"]["AmbientCapabilities"]).split()


def capabilities_of_manifest() -> list[str]:
    """Return what the shipped DaemonSet gives."""
    objects = yaml.safe_load_all((DEPLOY / "daemonset.yaml").read_text())
    (pod,) = [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "DaemonSet"]
    (container,) = pod["containers"]
    return [str(name) for name in container["securityContext"]["capabilities"]["add"]]


class Unit:
    """The shipped unit, installed and started; its log since then."""

    def __init__(self, address: str, *, override: str = "", arguments: str = "") -> None:
        UNIT.write_text((DEPLOY / "rover.service").read_text())
        ENVIRONMENT.parent.mkdir(exist_ok=True)
        lines = [f"ROVER_BACKEND_ADDR={address}"] + [f"ROVER_ARGS={arguments}"] * bool(arguments)
        ENVIRONMENT.write_text("\n".join(lines) + "\n")
        folder = UNIT.with_name("rover.service.d")
        folder.mkdir(exist_ok=True)
        (folder / "override.conf").write_text(f"[Service]\nTimeoutStartSec=300\n{override}")
        system("systemctl", "daemon-reload")
        self._since = system("journalctl", "-n0", "--show-cursor").rpartition("cursor: ")[2].strip()
        system("systemctl", "start", "rover")

    def log(self) -> str:
        """Return what it and systemd said of it."""
        return system("journalctl", f"--after-cursor={self._since}", "-u", "rover", "-o", "cat")

    def wait_for(self, text: str) -> str:
        """Wait until the log matches; return the match."""
        found = eventually(lambda: re.search(text, self.log()), f"{text} in the log of the unit")
        assert isinstance(found, re.Match)
        return found.group()

    def stop(self) -> None:
        """End it."""
        system("systemctl", "stop", "rover")


def as_root() -> str:
    """All rights."""
    loaded = programs.load(timeout=PATIENCE)
    loaded.close()
    assert loaded.way == "raw tracepoints", loaded.not_better
    return ""


def as_root_by_perf_events() -> str:
    """The way of kernels without BTF."""
    loaded = programs.load(timeout=PATIENCE, way="tracepoints")
    loaded.close()
    return "ok, an exit says that it is the last" if loaded.last_known else "ok"


def by_the_unit() -> str:
    """As on a stock Debian: no sysctl is changed."""
    with EmbeddedBackend() as backend:
        unit = Unit(backend.address)
        try:
            unit.wait_for("ebpf=raw_tracepoints")
            child = subprocess.Popen(["/bin/sleep", "600"])
            eventually(
                lambda: (
                    any(row.pid == child.pid for row in backend.state.snapshot().processes)
                    or any(row.visible for row in backend.state.snapshot().processes)
                ),
                "a process at the backend",
            )
            child.kill()
            child.wait()
            told = system("systemctl", "show", "rover", "--property=Type,ActiveState,StatusText")
            assert "Type=notify" in told, told
            assert "ActiveState=active" in told, told
            assert "StatusText=eBPF: attached by raw tracepoints; session" in told, told
            log = unit.log()
        finally:
            unit.stop()
    assert "Referenced but unset environment variable" not in log
    assert "missing CAP" not in log
    return f"ok, perf_event_paranoid {PARANOID.read_text().strip()}"


def by_the_manifest() -> str:
    """Root with the container's capabilities and no other, no new privileges."""
    return _with_rights(capabilities_of_manifest())


def _with_rights(names: list[str]) -> str:
    rights = ",".join(["-all", *(f"+{name.lower()}" for name in names)])
    run = subprocess.run(
        ["setpriv", f"--bounding-set={rights}", "--inh-caps=-all", "--no-new-privs",
         sys.executable, "-c", LOAD],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout.strip() == "raw tracepoints", run.stderr.strip()[-300:]
    return ""


def each_right_taken_away() -> str:
    """Without one of the unit's capabilities the log names it; the agent goes on."""
    told = []
    with EmbeddedBackend() as backend:
        for taken in capabilities_of_unit():
            left = " ".join(name for name in capabilities_of_unit() if name != taken)
            override = (
                f"AmbientCapabilities=\nAmbientCapabilities={left}\n"
                f"CapabilityBoundingSet=\nCapabilityBoundingSet={left}\n"
            )
            unit = Unit(backend.address, override=override)
            try:
                unit.wait_for("started version")
                if re.search(f"missing {taken}", unit.log()):
                    told.append(taken)
                elif taken not in TOLD_WHEN_MISSED:
                    raise AssertionError(f"without {taken}: {unit.log()[-300:]}")
            finally:
                unit.stop()
    return f"ok, told: {', '.join(told)}"


def a_hung_agent_is_started_again() -> str:
    """By systemd's watchdog: the agent is stopped, and gives no sign of life."""
    with EmbeddedBackend() as backend:
        unit = Unit(backend.address, override="WatchdogSec=15\n")
        try:
            unit.wait_for("started version")
            before = system("systemctl", "show", "rover", "--property=MainPID")
            system("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "rover")
            unit.wait_for("Watchdog timeout")
            unit.wait_for(r"(?s)Watchdog timeout.*started version")
            assert system("systemctl", "show", "rover", "--property=MainPID") != before
        finally:
            unit.stop()
    return ""


ROWS: Final[dict[str, Callable[[], str]]] = {
    "attach as root": as_root,
    "attach as root by perf events": as_root_by_perf_events,
    "attach by the shipped unit": by_the_unit,
    "a hung agent is started again": a_hung_agent_is_started_again,
    "attach by the manifest's rights": by_the_manifest,
    "each right taken away": each_right_taken_away,
}

"""Made-up reports, and a backend in memory under a clock that the test turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover._proto.ebpf.profiling.Process_pb2 import EBPFProcessPingPkgList, EBPFProcessReportList
from rover._proto.service import REPORT_PROCESSES
from rover.backend.state import State
from rover.config.address import Endpoint
from rover.model import Changes, Entity, Process, ProcessKey, Report
from rover.reporter.failures import CallError, FailureKind
from rover.reporter.outbox import Outbox
from rover.reporter.pacing import Pacing
from rover.reporter.roster import Roster
from rover.reporter.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

Request = EBPFProcessReportList | EBPFProcessPingPkgList

AGENT = "5ca1ab1e-0000-4000-8000-000000000001"


def process(pid, command_line="sleep 1000"):
    return Process(
        key=ProcessKey(pid, 1),
        ppid=1,
        name="sleep",
        exe="/usr/bin/sleep",
        arguments=command_line.encode(),
        cwd="/",
        uid=0,
        cgroup="0::/",
        pid_namespace=0,
        mount_namespace=0,
        namespace_pid=pid,
        image=0,
    )


def report(number, *, layer="OS_LINUX", pid=None, command_line="sleep 1000", labels=()):
    entity = Entity(layer, "shop", "host-a", f"worker-{number}", labels)
    return Report(entity, process(pid or 1000 + number, command_line))


def announced(*reports):
    return Changes(announced=tuple(reports))


def withdrawn(*reports):
    return Changes(withdrawn=tuple(one.entity.key for one in reports))


class Memory:
    """A backend at an address: real state and rules, and a way for each call to go wrong."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.up = True
        self.fault: Callable[[str, Request, int], None] = lambda *_: None
        """Called before a call is served, with its size; raises CallError to fail it."""
        self.spoil: Callable[[EBPFProcessReportList], object] = lambda _: None
        """Takes away from a report what the backend will not hear of."""
        self.life = 0
        """A connection made in an earlier life is lost."""
        self.calls: list[tuple[str, int]] = []

    def restart(self, *, keep_memory: bool) -> None:
        self.life += 1
        if not keep_memory:
            self.state.forget()


class MemoryChannel:
    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.life = memory.life
        self.answered = False
        self.closed = False

    @property
    def stands(self) -> bool:
        return not self.closed and self.answered and self.life == self.memory.life

    def call(self, path: str, message: bytes, timeout: float) -> bytes:
        assert timeout > 0
        if self.closed or not self.memory.up or self.life != self.memory.life:
            raise CallError(FailureKind.AWAY, "nobody there")
        name = path.rpartition("/")[2]
        kind = EBPFProcessReportList if path == REPORT_PROCESSES else EBPFProcessPingPkgList
        request = kind.FromString(message)
        self.memory.calls.append((name, len(request.processes)))
        self.memory.fault(name, request, len(message))
        self.answered = True
        if isinstance(request, EBPFProcessReportList):
            self.memory.spoil(request)
            return self.memory.state.report(request).SerializeToString()
        if self.memory.state.beat(request):
            raise CallError(FailureKind.ITEM, "UNKNOWN: Application error processing RPC")
        return b""

    def close(self) -> None:
        self.closed = True


class Rig:
    """A session against backends in memory; seconds pass only when the test says so."""

    def __init__(self, backends: int = 1, chance: Callable[[], float] = lambda: 0.5, **pacing):
        self.now = 1000.0
        self.wake_at = 0.0
        self.listening = True
        self.has_news = False
        self.backends = [Memory() for _ in range(backends)]
        self.backends[1:] = [Memory(self.backends[0].state) for _ in range(backends - 1)]
        self.endpoints = tuple(Endpoint(f"oap-{number}", 11800) for number in range(backends))
        self.credentials_changed = False
        self.channels: list[MemoryChannel] = []
        self.alive: dict[int, Report] = {}
        self.roster = Roster()
        self.outbox = Outbox(self.roster)
        self.session = Session(
            self.roster, self, AGENT, Pacing(**pacing), clock=lambda: self.now, chance=chance
        )

    @property
    def backend(self) -> Memory:
        return self.backends[0]

    @property
    def state(self) -> State:
        return self.backend.state

    def open(self, endpoint):
        self.channels.append(MemoryChannel(self.backends[self.endpoints.index(endpoint)]))
        return self.channels[-1]

    def refresh(self):
        changed, self.credentials_changed = self.credentials_changed, False
        return changed

    def host_ip(self, _endpoint):
        return "192.0.2.1"

    def start(self, *reports):
        self.alive |= {one.process.pid: one for one in reports}
        self.outbox.put(announced(*reports))
        self.has_news = True

    def end(self, *reports):
        for one in reports:
            self.alive.pop(one.process.pid, None)
        self.outbox.put(withdrawn(*reports))

    def run(self, seconds=0.0):
        """Let the session work through so many seconds, woken just as its thread would be."""
        until = self.now + seconds
        for _ in range(100_000):
            if self.now < self.wake_at and not (self.listening and self.has_news):
                if self.wake_at > until:
                    self.now = until
                    return
                self.now = self.wake_at
            self.outbox.empty_into_roster()
            self.has_news = False
            rest = self.session.step()
            self.wake_at = self.now + max(rest.seconds, 1e-6)
            self.listening = rest.for_changes
        raise AssertionError("the session does not come to rest")

    @property
    def phase(self):
        return self.session.state.phase.value

    def visible(self):
        return {row.pid for row in self.state.snapshot().processes if row.visible}

    def reported(self):
        return {row.pid for row in self.state.snapshot().processes if row.reports}

    def beaten(self, since=0):
        """Processes that have beaten at least once more than so many times."""
        return {row.pid for row in self.state.snapshot().processes if row.pings > since}

    @property
    def broken_rules(self):
        return [str(violation) for violation in self.state.snapshot().violations]

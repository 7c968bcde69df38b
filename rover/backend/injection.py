"""Fault injection: which faults are in force, and what is injected into a call."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol

from rover._proto.ebpf.profiling.Process_pb2 import (
    EBPFProcessReportList,
    EBPFReportProcessDownstream,
)
from rover.backend.faults import (
    BlackHole,
    CallFault,
    Delay,
    DropIds,
    Error,
    Fault,
    Fewer,
    MessageLimit,
    Refuse,
    Reorder,
    Reset,
    Slow,
    Token,
    WrongIds,
    checked,
)

if TYPE_CHECKING:
    from typing import Unpack

    from rover._proto.ebpf.profiling.Process_pb2 import EBPFProcessDownstream
    from rover.backend.faults import CallSelector


class Transport(Protocol):
    """What carries the connections and can make them fail; each call returns once it holds."""

    def refuse(self, *, on: bool) -> None:
        """Reset open connections and refuse new ones."""

    def stall(self, *, on: bool) -> None:
        """Carry nothing."""

    def throttle(self, bytes_per_second: float | None) -> None:
        """Read this slowly; None: as fast as can be."""

    def reset(self, following: int) -> None:
        """Reset open connections and so many of those that follow."""

    def stop_resets(self) -> None:
        """Reset no more of those that follow."""


@dataclass(frozen=True, slots=True)
class Injection:
    """What is injected into one call."""

    delay: float = 0.0
    """Seconds."""
    error: Error | None = None
    of_answer: tuple[CallFault, ...] = ()
    """Faults of the answer, in the order they were added."""
    limit: MessageLimit | None = None
    tokens: tuple[str, ...] = field(default=(), repr=False)
    """The call must carry them; more than one cannot be met."""


class Faults:
    """The faults in force; safe to use from any thread.

    A method that makes a fault returns once it is in force, and gives it for ``clear``. All of
    them raise ConfigError where a value cannot be used.
    """

    def __init__(self, transport: Transport, seed: int | None = None) -> None:
        self._lock = threading.RLock()
        self._transport = transport
        self._random = Random(seed)  # noqa: S311  chooses what fails in a test
        self._active: dict[Fault, int | None] = {}
        """Each with the calls it is still injected into; None: until it is cleared."""

    @property
    def active(self) -> tuple[Fault, ...]:
        """Those in force, in the order they were added."""
        with self._lock:
            return tuple(self._active)

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force; a reset takes effect at once and is not kept."""
        checked(fault)
        with self._lock:
            if isinstance(fault, Reset):
                self._transport.reset(fault.connections)
            else:
                self._active[fault] = fault.count if isinstance(fault, CallFault) else None
                self.apply_to_transport()
        return fault

    def clear(self, *faults: Fault) -> None:
        """End these faults, or all of them."""
        with self._lock:
            for fault in faults or tuple(self._active):
                self._active.pop(fault, None)
            if not faults:
                self._transport.stop_resets()
            self.apply_to_transport()

    def apply_to_transport(self) -> None:
        """Tell the transport what is in force, as after its start."""
        with self._lock:
            active = tuple(self._active)
            self._transport.refuse(on=any(isinstance(fault, Refuse) for fault in active))
            self._transport.stall(on=any(isinstance(fault, BlackHole) for fault in active))
            slow = [fault.bytes_per_second for fault in active if isinstance(fault, Slow)]
            self._transport.throttle(min(slow, default=None))

    def refuse(self) -> Fault:
        """Reset open connections and refuse new ones, as where nothing listens."""
        return self.add(Refuse())

    def reset(self, connections: int = 0) -> Fault:
        """Reset open connections now, and so many new ones as soon as they are there."""
        return self.add(Reset(connections=connections))

    def black_hole(self) -> Fault:
        """Keep connections open and carry nothing in either direction."""
        return self.add(BlackHole())

    def slow(self, bytes_per_second: float) -> Fault:
        """Read this slowly, over all connections together."""
        return self.add(Slow(bytes_per_second=bytes_per_second))

    def delay(self, seconds: float, **selector: Unpack[CallSelector]) -> Fault:
        """Work on calls so much later."""
        return self.add(Delay(seconds=seconds, **selector))

    def error(
        self,
        code: str = "UNAVAILABLE",
        details: str = "fault on demand",
        *,
        stored: bool = False,
        **selector: Unpack[CallSelector],
    ) -> Fault:
        """Fail calls with a gRPC status; with ``stored`` only after they have taken effect."""
        return self.add(Error(code=code, details=details, stored=stored, **selector))

    def fewer(
        self, items: int = 1, *, stored: bool = False, **selector: Unpack[CallSelector]
    ) -> Fault:
        """Ignore so many reported items, chosen at random, and leave them out of the answer."""
        return self.add(Fewer(items=items, stored=stored, **selector))

    def reorder(self, **selector: Unpack[CallSelector]) -> Fault:
        """Answer in another order than the report's."""
        return self.add(Reorder(**selector))

    def drop_ids(self, **selector: Unpack[CallSelector]) -> Fault:
        """Answer without process ids."""
        return self.add(DropIds(**selector))

    def wrong_ids(self, **selector: Unpack[CallSelector]) -> Fault:
        """Answer with ids that belong to no process."""
        return self.add(WrongIds(**selector))

    def limit_message_size(self, size: int, code: str = "RESOURCE_EXHAUSTED") -> Fault:
        """Refuse requests of more bytes."""
        return self.add(MessageLimit(size=size, code=code))

    def require_token(self, token: str) -> Fault:
        """Refuse calls without this token in the metadata key ``authentication``."""
        return self.add(Token(token=token))

    def inject(self, method: str) -> Injection:
        """Choose what the next call of a method gets; this counts as one call for each fault."""
        with self._lock:
            chosen = [fault for fault in tuple(self._active) if self._applies(fault, method)]
        return Injection(
            delay=sum(fault.seconds for fault in chosen if isinstance(fault, Delay)),
            error=next((fault for fault in chosen if isinstance(fault, Error)), None),
            of_answer=tuple(
                fault for fault in chosen if isinstance(fault, Fewer | Reorder | DropIds | WrongIds)
            ),
            limit=min(
                (fault for fault in chosen if isinstance(fault, MessageLimit)),
                key=lambda limit: limit.size,
                default=None,
            ),
            tokens=tuple(fault.token for fault in chosen if isinstance(fault, Token)),
        )

    def drop_items(
        self, injection: Injection, request: EBPFProcessReportList
    ) -> EBPFProcessReportList:
        """Leave out of a report what the backend is to ignore."""
        ignored = self._sample(injection, len(request.processes), stored=False)
        if not ignored:
            return request
        kept = EBPFProcessReportList(ebpfAgentID=request.ebpfAgentID)
        kept.processes.extend(
            item for position, item in enumerate(request.processes) if position not in ignored
        )
        return kept

    def alter_answer(
        self, injection: Injection, answer: EBPFReportProcessDownstream
    ) -> EBPFReportProcessDownstream:
        """Alter the answer to a report as the faults of answers say."""
        if not injection.of_answer:
            return answer
        missing = self._sample(injection, len(answer.processes), stored=True)
        items = [item for position, item in enumerate(answer.processes) if position not in missing]
        for fault in injection.of_answer:
            if isinstance(fault, Reorder):
                items = self._shuffled(items)
            for item in items:
                if isinstance(fault, DropIds):
                    item.processId = ""
                elif isinstance(fault, WrongIds):
                    item.processId = hashlib.sha256(item.processId.encode()).hexdigest()
        return EBPFReportProcessDownstream(processes=items)

    def _applies(self, fault: Fault, method: str) -> bool:
        if not isinstance(fault, CallFault):
            return True
        if fault.method not in {"", method} or self._random.random() >= fault.rate:
            return False
        left = self._active[fault]
        if left is not None:
            self._active[fault] = left - 1
            if left == 1:
                del self._active[fault]
        return True

    def _sample(self, injection: Injection, of: int, *, stored: bool) -> set[int]:
        """Choose the positions of the items that are missing, of so many."""
        items = sum(
            fault.items
            for fault in injection.of_answer
            if isinstance(fault, Fewer) and fault.stored is stored
        )
        with self._lock:
            return set(self._random.sample(range(of), min(items, of)))

    def _shuffled(self, items: list[EBPFProcessDownstream]) -> list[EBPFProcessDownstream]:
        shuffled = items.copy()
        with self._lock:
            self._random.shuffle(shuffled)
        return shuffled if shuffled != items else [*items[1:], *items[:1]]

"""The programs that profile while any process is followed, and what they are attached to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rover.errors import ProbeError
from rover.probes import libbpf, profile_programs
from rover.profiling import layout
from rover.profiling.code_space import CodeSpace
from rover.profiling.draining import Drain
from rover.profiling.perf_events import CpuClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.binaries.reader import Reader


class Loaded:
    """Programs, maps, and who works these."""

    def __init__(
        self, reader: Reader, most_switches: int, *, unwind: bool, given_up: Callable[[], bool]
    ) -> None:
        """Load, and attach nothing.

        Args:
            reader: knows the code of processes.
            most_switches: of a process in a second.
            unwind: whether by rows, as far as the kernel can.
            given_up: asked meanwhile whether it is still wanted.

        Raises:
            ProbeError: eBPF does not work here.
        """
        libbpf.library()
        request = {} if unwind else {"unwind": False}
        self.programs = profile_programs.load(layout.sizes(), given_up=given_up, **request)
        maps = self.programs.maps
        self.code = CodeSpace(maps, reader)
        self.drain = Drain(maps, most_switches * layout.WINDOW_NS // 1_000_000_000)
        self.clock: CpuClock | None = None
        self._switches: int | None = None

    def attach_switches(self, *, wanted: bool) -> str:
        """Attach to switches, or detach; say why that cannot be."""
        if not wanted and self._switches is not None:
            os.close(self._switches)
            self._switches = None
        if wanted and self._switches is None:
            try:
                self._switches = libbpf.attach_raw(self.programs.off_cpu, "sched_switch")
            except OSError as error:
                return f"the tracepoint of switches cannot be attached: {error.strerror}"
        return ""

    def attach_clock(self, period_ns: int | None) -> str:
        """Attach to the CPUs' clocks with a period, or detach; say why that cannot be."""
        if period_ns is None:
            if self.clock:
                self.clock.close()
            self.clock = None
            return ""
        try:
            if self.clock:
                self.clock.follow_cpus()
            else:
                self.clock = CpuClock(self.programs.on_cpu, period_ns)
        except ProbeError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """Detach and free all."""
        self.attach_switches(wanted=False)
        self.attach_clock(None)
        self.programs.close()

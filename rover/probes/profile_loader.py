"""What the loader's child does to load the programs that profile; it attaches nothing.

The agent attaches them itself, for as long as a task runs: a perf event for each CPU, and the raw
tracepoint of switches. The standard library alone, as for all that the loader imports.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any, Final

from rover.probes import loader, refusals
from rover.probes.refusals import LoadError

MAPS: Final = ("targets", "mappings", "rows", "stacks", "starts", "control", "profile_counters")
STEPS: Final = {"on_steps": "on_step", "off_steps": "off_step"}
"""Arrays with the program that walks stacks. The agent holds them: when nobody outside of the
kernel does, it empties them."""
OFFSETS: Final = {
    "ROVER_TASK_PID": ("task_struct", "pid"),
    "ROVER_TASK_FLAGS": ("task_struct", "flags"),
    "ROVER_TASK_MM": ("task_struct", "mm"),
}


def load(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Compile and load; return the answer and the descriptors of maps, arrays and programs."""
    started = time.monotonic()
    offsets = loader.kernel_offsets(request, OFFSETS)
    why_not = refusals.no_unwinding() if request.get("unwind", True) else "it was not asked for"
    if not why_not:
        try:
            return _load(request, offsets, started, "")
        except LoadError as error:
            if refusals.own_missing_capabilities() or "bpf" in refusals.forbidden_calls():
                raise
            why_not = f"{error}; {error.advice}"
    return _load(request, offsets, started, why_not)


def _load(
    request: dict[str, Any], offsets: dict[str, int], started: float, why_not: str
) -> tuple[dict[str, Any], list[int]]:
    defines = loader.definitions(request, [])
    defines += [f"-D{name}={value}" for name, value in offsets.items()]
    defines += [] if why_not else ["-DROVER_UNWIND"]
    module, headers = loader.compile_programs(request, defines)
    arrays = [loader.map_descriptor(module, name) for name in STEPS]
    try:
        programs = [
            module.load_func("on_cpu", module.PERF_EVENT).fd,
            module.load_func("off_cpu", module.RAW_TRACEPOINT).fd,
        ]
        if not why_not:
            steps = (
                module.load_func("on_step", module.PERF_EVENT).fd,
                module.load_func("off_step", module.RAW_TRACEPOINT).fd,
            )
            for array, step in zip(arrays, steps, strict=True):
                _put(array, step)
    except Exception as error:  # bcc raises nothing finer
        raise refusals.refusal(error) from error
    answer = {
        "maps": [*MAPS, *STEPS],
        "programs": ["on_cpu", "off_cpu"],
        "not_unwound": why_not,
        "headers": headers,
        "seconds": time.monotonic() - started,
    }
    maps = [loader.map_descriptor(module, name) for name in MAPS]
    return answer, [*maps, *arrays, *programs]


def _put(array: int, program: int) -> None:
    """Write a program into the first slot of an array of programs."""
    import bcc  # noqa: PLC0415 - costs 70 MB and may not be there

    first, value = ctypes.c_uint32(0), ctypes.c_uint32(program)
    if bcc.lib.bpf_update_elem(array, ctypes.byref(first), ctypes.byref(value), 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"array of programs: {os.strerror(number)}")

"""An embedded SkyWalking backend: a real gRPC server with the server's behaviour, in memory.

::

    from rover.backend import BackendOptions, EmbeddedBackend

    with EmbeddedBackend(BackendOptions()) as backend:
        ...  # an agent reports to backend.address
        backend.state.wait_for(lambda held: held.find(process="nginx"))

Names are imported when they are first used: pytest loads a plugin from here in runs that may never
start a backend, and gRPC alone takes longer to import than many of those runs take.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rover.backend.commands import Command
    from rover.backend.faults import Fault, parse_fault
    from rover.backend.injection import Faults
    from rover.backend.profiles import Frame, Node, Profile, ProfilingTask, Schedule
    from rover.backend.profiling import Profiling
    from rover.backend.records import (
        Call,
        Change,
        Drop,
        Rule,
        Snapshot,
        Stamp,
        StoredInstance,
        StoredProcess,
        StoredService,
        Violation,
    )
    from rover.backend.server import BackendOptions, EmbeddedBackend, Tls
    from rover.backend.state import State
    from rover.config.layers import LAYERS_10_1, LAYERS_LATER

__all__ = [
    "LAYERS_10_1",
    "LAYERS_LATER",
    "BackendOptions",
    "Call",
    "Change",
    "Command",
    "Drop",
    "EmbeddedBackend",
    "Fault",
    "Faults",
    "Frame",
    "Node",
    "Profile",
    "Profiling",
    "ProfilingTask",
    "Rule",
    "Schedule",
    "Snapshot",
    "Stamp",
    "State",
    "StoredInstance",
    "StoredProcess",
    "StoredService",
    "Tls",
    "Violation",
    "parse_fault",
]

_NAMES_BY_MODULE: Final = {
    "rover.backend.commands": ("Command",),
    "rover.backend.faults": ("Fault", "parse_fault"),
    "rover.backend.injection": ("Faults",),
    "rover.backend.profiles": ("Frame", "Node", "Profile", "ProfilingTask", "Schedule"),
    "rover.backend.profiling": ("Profiling",),
    "rover.backend.records": (
        "Call",
        "Change",
        "Drop",
        "Rule",
        "Snapshot",
        "Stamp",
        "StoredInstance",
        "StoredProcess",
        "StoredService",
        "Violation",
    ),
    "rover.backend.server": ("BackendOptions", "EmbeddedBackend", "Tls"),
    "rover.backend.state": ("State",),
    "rover.config.layers": ("LAYERS_10_1", "LAYERS_LATER"),
}
_MODULE_OF: Final = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)

"""What can go wrong, as one tree.

::

    RoverError                 anything the agent says about itself; exit code 1
    ├── ConfigError            a file, flag or variable is wrong; exit code 2
    ├── StateError             the state directory cannot be used, or is in use
    ├── ProbeError             eBPF programs cannot be loaded or attached here
    ├── BackendError           the backend's address or credentials cannot be used
    └── KubernetesError        the cluster cannot be asked

Each message says what was tried, what came back and what to do. Foreign exceptions become one of
these at the seam of the room that imports the foreign library, and nowhere else.
"""

from __future__ import annotations

from typing import Final

INTERRUPTED: Final = 130
"""Exit code of what SIGINT ended, as shells have it."""


class RoverError(Exception):
    """Base of all errors that the agent raises on purpose; the message is for its user."""

    exit_code = 1


class ConfigError(RoverError):
    """A setting is unknown, has the wrong type or a value that cannot be used."""

    exit_code = 2


class StateError(RoverError):
    """The state directory cannot be used, or another agent holds it."""


class ProbeError(RoverError):
    """The eBPF programs cannot be compiled, loaded or attached on this host."""


class BackendError(RoverError):
    """The backend's address, certificates or token cannot be used, or a port cannot be served."""


class KubernetesError(RoverError):
    """The cluster cannot be reached or does not allow what the agent needs."""

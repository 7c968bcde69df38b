"""What systemd is told of the agent: that it is ready, that it is well, that it is ending.

sd_notify(3) is a datagram to the socket that a variable names: too little for a library. The
variables are taken away, for the children of the agent have nothing to say there.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger("rover.cli")

BEATS: Final = 3
"""Signs of life within the time in which there must be one."""


class Supervisor:
    """systemd, where it has started the agent and asks to be told; else nobody."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take what concerns this process out of its variables."""
        self._address = environment.pop("NOTIFY_SOCKET", "")
        within = environment.pop("WATCHDOG_USEC", "")
        whose = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        asked = self._address and whose == str(os.getpid()) and within.isdecimal()
        self.period = int(within) / 1e6 / BEATS if asked and int(within) else None
        """Seconds between two signs of life; None where none is waited for."""
        self._told = ""

    def ready(self, status: str) -> None:
        """Tell that all parts have started."""
        self._told = status
        self._send("READY=1", f"STATUS={status}")

    def well(self, status: str) -> None:
        """Tell that all parts do their work; who does not hear that in time ends the agent."""
        further = () if status == self._told else (f"STATUS={status}",)
        self._told = status
        self._send("WATCHDOG=1", *further)

    def ill(self, status: str) -> None:
        """Tell what is wrong, and give no sign of life."""
        if status != self._told:
            self._told = status
            log.warning("systemd is given no sign of life: %s", status)
            self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # an @ stands for the NUL with which an abstract address begins
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.connect(address)
                sender.settimeout(0)
                sender.send("\n".join(lines).encode())
        except OSError as error:
            log.warning("systemd cannot be told %s at %s: %s", lines[0], self._address, error)

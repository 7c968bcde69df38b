"""Commands that the backend answers beats with, as a script written beforehand."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rover._proto.common.Command_pb2 import Commands

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT_LIMIT: Final = 10_000
"""Beats that may be scripted ahead."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command with its arguments."""

    name: str
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Line:
    commands: tuple[Command, ...]
    agent_id: str


class Script:
    """What the next beats are answered with; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[_Line] = deque(maxlen=SCRIPT_LIMIT)

    def add(self, *commands: Command, beats: int = 1, agent_id: str = "") -> None:
        """Answer so many more beats with these commands, after those scripted before.

        Args:
            commands: None makes an empty answer, which is how a pause is scripted.
            beats: How many.
            agent_id: Only beats of this agent count; empty: of any.
        """
        with self._lock:
            self._lines.extend([_Line(commands, agent_id)] * beats)

    def clear(self) -> None:
        """Answer further beats with nothing."""
        with self._lock:
            self._lines.clear()

    def answer(self, agent_id: str) -> Commands:
        """Take the next line for an agent and make the answer of it."""
        message = Commands()
        with self._lock:
            line = next((line for line in self._lines if line.agent_id in {"", agent_id}), None)
            if line is None:
                return message
            self._lines.remove(line)
        for command in line.commands:
            added = message.commands.add(command=command.name)
            for key, value in command.args.items():
                added.args.add(key=key, value=value)
        return message

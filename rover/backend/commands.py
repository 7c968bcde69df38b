"""Commands that the backend answers beats with, as a script written beforehand."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rover._proto.common.Command_pb2 import Commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCRIPT_LIMIT: Final = 10_000
"""Beats that may be scripted ahead."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command with its arguments."""

    name: str
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _ScriptedAnswer:
    commands: tuple[Command, ...]
    agent_id: str


class Script:
    """What the next beats are answered with; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripted: deque[_ScriptedAnswer] = deque(maxlen=SCRIPT_LIMIT)

    def add(self, *commands: Command, beats: int = 1, agent_id: str = "") -> None:
        """Answer so many more beats with these commands, after those scripted before.

        Args:
            commands: None makes an empty answer, which is how a pause is scripted.
            beats: How many.
            agent_id: Only beats of this agent count; empty: of any.
        """
        with self._lock:
            self._scripted.extend([_ScriptedAnswer(commands, agent_id)] * beats)

    def clear(self) -> None:
        """Answer further beats with nothing."""
        with self._lock:
            self._scripted.clear()

    def answer(self, agent_id: str) -> Commands:
        """Take the next answer that is scripted for an agent."""
        with self._lock:
            found = next((one for one in self._scripted if one.agent_id in {"", agent_id}), None)
            if found is None:
                return Commands()
            self._scripted.remove(found)
        return message_of(found.commands)


def message_of(commands: Iterable[Command]) -> Commands:
    """Make the message that carries commands, their arguments in order."""
    message = Commands()
    for command in commands:
        added = message.commands.add(command=command.name)
        for key, value in command.args.items():
            added.args.add(key=key, value=value)
    return message

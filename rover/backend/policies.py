"""Policies of continuous profiling, as the server gives them out; safe from any thread."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any, Final

from rover.backend.commands import Command
from rover.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover._proto.ebpf.profiling.Continuous_pb2 import ContinuousProfilingPolicyQuery

COMMAND: Final = "ContinuousProfilingPolicyQuery"
ARGUMENT: Final = "ServiceWithPolicyJSON"
POLICIES_KEPT: Final = 10_000

Rules = dict[str, dict[str, dict[str, Any]]]
"""By target, then by what is watched: Threshold, Period and Count."""


class Policies:
    """The policies of one backend, by the name of the service."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._policies: dict[str, tuple[str, Rules]] = {}

    def set(self, service: str, rules: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
        """Have agents watch a service; return the policy's uuid.

        Args:
            service: Its name.
            rules: By target and by what is watched, as ``{"ON_CPU": {"PROCESS_CPU":
                {"Threshold": "80", "Period": 10, "Count": 3}}}``; none end it. They are given out
                as they are.

        Raises:
            ConfigError: The service has no name, or there are too many.
        """
        if not service:
            raise ConfigError("a policy is of a service: name it")
        kept: Rules = json.loads(json.dumps(rules))
        uuid = hashlib.sha512(json.dumps(kept, sort_keys=True).encode()).hexdigest()
        with self._lock:
            if service not in self._policies and len(self._policies) >= POLICIES_KEPT:
                raise ConfigError(f"there are {POLICIES_KEPT} policies already")
            self._policies[service] = (uuid, kept)
        return uuid

    def query(self, request: ContinuousProfilingPolicyQuery) -> tuple[Command, ...]:
        """Answer an agent: one command with all policies that differ from those that it has."""
        with self._lock:
            changed = [
                {"ServiceName": asked.serviceName, "UUID": uuid, "Profiling": rules}
                for asked in request.policies
                for uuid, rules in (self._policies.get(asked.serviceName, ("", {})),)
                if uuid and uuid != asked.uuid
            ]
        return (Command(COMMAND, {ARGUMENT: json.dumps(changed)}),) if changed else ()

    def forget(self) -> None:
        """Lose all policies."""
        with self._lock:
            self._policies.clear()

"""Both calls with nobody in them, to see whether a backend answers; the agent need not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover.reporter import messages
from rover.reporter.channel import GrpcDialer
from rover.reporter.exchange import PATHS
from rover.reporter.failures import CallError

if TYPE_CHECKING:
    from rover.config.address import Endpoint
    from rover.config.settings import BackendSettings


def try_calls(
    settings: BackendSettings, endpoint: Endpoint, agent_id: str, timeout: float
) -> dict[str, CallError | None]:
    """Make each call once; return what went wrong with it.

    Args:
        settings: ``core.backend``.
        endpoint: one of its addresses.
        agent_id: goes into the messages.
        timeout: seconds for each.

    Raises:
        BackendError: a certificate or the token cannot be used.
    """
    dialer = GrpcDialer(settings, heartbeat=20.0)
    message = messages.listed((), agent_id)
    try:
        channel = dialer.open(endpoint)
    except CallError as error:
        return {call.value: error for call in PATHS}
    try:
        told: dict[str, CallError | None] = {}
        for call, path in PATHS.items():
            try:
                channel.call(path, message, timeout)
                told[call.value] = None
            except CallError as error:
                told[call.value] = error
        return told
    finally:
        channel.close()

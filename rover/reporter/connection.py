"""The connection to whichever address of the backend answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from rover.reporter.failures import CallError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from rover.config.address import Endpoint

MOST_TIMEOUTS: Final = 2
"""Calls in a row without an answer in time, before the connection itself is doubted."""


class Channel(Protocol):
    """One connection to the backend."""

    @property
    def stands(self) -> bool:
        """Whether a call was answered over it, and it has not broken since."""

    def call(self, path: str, message: bytes, timeout: float) -> bytes:
        """Send a message and give the answer.

        Raises:
            CallError: There is no usable answer within the time, seconds.
        """

    def call_aside(self, path: str, messages: Iterable[bytes], timeout: float) -> bytes:
        """Send a stream of messages and give the answer, for threads other than the session's.

        Raises:
            CallError: There is no connection, or no usable answer within the time, seconds.
        """

    def cancel_aside(self, paths: Collection[str]) -> None:
        """Make each `call_aside` under way to these methods fail; from any thread."""

    def close(self) -> None:
        """End it; from any thread, a call under way fails."""


class Dialer(Protocol):
    """Opens connections."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Addresses in the order in which they are tried; at least one."""

    def open(self, endpoint: Endpoint) -> Channel:
        """Prepare a connection; its first call makes it.

        Raises:
            CallError: It cannot be prepared.
        """

    def refresh(self) -> bool:
        """Look whether the credentials changed; true where they did."""

    def host_ip(self, endpoint: Endpoint) -> str:
        """Tell this host's address as seen from there."""


class Connection:
    """At most one connection, to the present address; the first address is the favourite."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._channel: Channel | None = None
        self._at = 0
        self._timeouts = 0

    @property
    def endpoint(self) -> Endpoint:
        """The address that is spoken to, or tried."""
        return self._dialer.endpoints[self._at]

    @property
    def on_first(self) -> bool:
        """Whether that is the first one."""
        return self._at == 0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that has not broken."""
        channel = self._channel
        return channel is not None and channel.stands

    def open(self) -> None:
        """Replace the connection by a new one to the present address.

        Raises:
            CallError: It cannot be prepared.
        """
        self.close()
        self._channel = self._dialer.open(self.endpoint)
        self._timeouts = 0

    def call(self, path: str, message: bytes, timeout: float) -> bytes:
        """Make a call.

        Raises:
            CallError: There is no usable answer within the time, seconds.
        """
        channel = self._channel
        if channel is None:
            raise CallError(FailureKind.AWAY, "not connected")
        try:
            answer = channel.call(path, message, timeout)
        except CallError as error:
            self._timeouts += error.kind is FailureKind.TIMEOUT
            raise
        self._timeouts = 0
        return answer

    def call_aside(self, path: str, messages: Iterable[bytes], timeout: float) -> bytes:
        """Make a call for threads other than the session's; how it goes is nothing to the session.

        Raises:
            CallError: There is no connection, or no usable answer within the time, seconds.
        """
        channel = self._channel
        if channel is None:
            raise CallError(FailureKind.AWAY, "not connected")
        return channel.call_aside(path, messages, timeout)

    def cancel_aside(self, paths: Collection[str]) -> None:
        """Make each `call_aside` under way to these methods fail; from any thread."""
        channel = self._channel
        if channel is not None:
            channel.cancel_aside(paths)

    def fail_over(self) -> bool:
        """Move to the next address; false, and on the first one, after the last was tried."""
        if len(self._dialer.endpoints) > 1:
            self.close()
        self._at = (self._at + 1) % len(self._dialer.endpoints)
        return self._at != 0

    def return_to_first(self, path: str, probe: bytes, timeout: float) -> bool:
        """Change over to the first address if it answers; keep the present one if not."""
        try:
            channel = self._dialer.open(self._dialer.endpoints[0])
        except CallError:
            return False
        try:
            channel.call(path, probe, timeout)
        except CallError:
            channel.close()
            return False
        self.close()
        self._channel, self._at = channel, 0
        return True

    def close_if_doubtful(self) -> None:
        """Close a connection that broke or never stood, or that has swallowed several calls."""
        if not self.is_open or self._timeouts >= MOST_TIMEOUTS:
            self.close()

    def close(self) -> None:
        """End the connection; from any thread, a call under way fails."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

"""What stands before each call: faults, token, size; and the note of how it was answered."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError

from rover.backend.records import Call, Stamp

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from google.protobuf.message import Message

    from rover.backend.injection import Faults, Injection
    from rover.backend.records import Method
    from rover.backend.state import State

APPLICATION_ERROR: Final = "Application error processing RPC"
"""What the server says of any exception in its own code."""
TOKEN_KEY: Final = "authentication"  # noqa: S105  the key, not a token


class RefusedError(Exception):
    """The call ends with this status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


@dataclass(slots=True)
class Note:
    """What is known of a call while it is worked on."""

    agent_id: str = ""
    items: int = 0
    size: int = 0
    """Bytes of the request."""


class Gate:
    """Lets calls through to what works on them; one object serves all threads.

    Args:
        state: Takes note of calls.
        faults: What is injected into them.
        token: Calls must carry it; empty: none needed.
        message_limit: Largest message in bytes.
        stopping: Set when the server stops, which ends delays.
    """

    def __init__(
        self,
        state: State,
        faults: Faults,
        *,
        token: str,
        message_limit: int,
        stopping: threading.Event,
    ) -> None:
        self._state = state
        self._faults = faults
        self._token = token
        self._message_limit = message_limit
        self._stopping = stopping

    def serve(
        self,
        method: Method,
        note: Note,
        context: grpc.ServicerContext,
        work: Callable[[Injection], bytes],
    ) -> bytes:
        """Have a call worked on, unless something is in its way.

        Args:
            method: Its name.
            note: Filled in by the work.
            context: Of the call.
            work: Gives the answer, or raises RefusedError.
        """
        refused = None
        answer = b""
        try:
            injection = self._faults.inject(method)
            self._authenticate(injection, context)
            self.limit(injection, note.size)
            if injection.delay:
                self._stopping.wait(injection.delay)
            _fail_before(injection)
            answer = work(injection)
        except RefusedError as refusal:
            refused = refusal
        self._state.answered(
            Call(
                method=method,
                at=Stamp.now(),
                agent_id=note.agent_id,
                items=note.items,
                size=note.size,
                code=refused.code.name if refused else "OK",
            )
        )
        if refused:
            context.abort(refused.code, refused.details)
        return answer

    def limit(self, injection: Injection, size: int) -> None:
        """Refuse a message that is too large."""
        if injection.limit is not None and size > injection.limit.size:
            details = f"message larger than max ({size} vs. {injection.limit.size})"
            raise RefusedError(grpc.StatusCode[injection.limit.code], details)
        if size > self._message_limit:
            # what a client of the server sees when its message is too large
            raise RefusedError(grpc.StatusCode.CANCELLED, "")

    def decode(self, message: Message, payload: bytes, method: Method) -> None:
        """Read a request; bytes that are none are a violation."""
        try:
            message.ParseFromString(payload)
        except (DecodeError, UnicodeDecodeError) as error:
            message.Clear()
            self._state.undecodable(method, str(error))
            raise RefusedError(grpc.StatusCode.UNKNOWN, APPLICATION_ERROR) from error

    def _authenticate(self, injection: Injection, context: grpc.ServicerContext) -> None:
        wanted = (self._token, *injection.tokens) if self._token else injection.tokens
        if not wanted:
            return
        metadata = {pair[0]: pair[1] for pair in context.invocation_metadata()}
        given = metadata.get(TOKEN_KEY, "")
        shown = given.encode() if isinstance(given, str) else given
        if not all(hmac.compare_digest(shown, token.encode()) for token in wanted):
            raise RefusedError(grpc.StatusCode.PERMISSION_DENIED, "")


def fail_after(injection: Injection) -> None:
    """Fail a call that has taken effect, where that is asked for."""
    if injection.error is not None and injection.error.stored:
        _fail(injection.error.code, injection.error.details)


def _fail_before(injection: Injection) -> None:
    if injection.error is not None and not injection.error.stored:
        _fail(injection.error.code, injection.error.details)


def _fail(code: str, details: str) -> NoReturn:
    raise RefusedError(grpc.StatusCode[code], details)

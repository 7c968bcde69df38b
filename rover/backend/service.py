"""EBPFProcessService as the server runs it, with the faults that are injected into it.

Messages are decoded here rather than by gRPC: bytes that do not decode answer UNKNOWN, as on the
server, where gRPC for Python would answer INTERNAL.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError

from rover._proto.ebpf.profiling.Process_pb2 import (
    EBPFProcessPingPkgList,
    EBPFProcessReportList,
)
from rover._proto.service import SERVICE
from rover.backend.records import Call, Stamp

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from rover.backend.commands import Script
    from rover.backend.injection import Faults, Injection
    from rover.backend.records import Method
    from rover.backend.state import State

APPLICATION_ERROR: Final = "Application error processing RPC"
"""What the server says of any exception in its own code."""
TOKEN_KEY: Final = "authentication"  # noqa: S105  the key, not a token

log = logging.getLogger("rover.backend")


class _Refused(Exception):  # noqa: N818  it carries a gRPC status, which may be no error here
    """The call ends with this status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class ProcessService:
    """The two methods; one object serves all threads.

    Args:
        state: Where calls are stored.
        faults: What is injected into them.
        script: Commands for the answers to beats.
        token: Calls must carry it; empty: none needed.
        message_limit: Largest request in bytes.
        stopping: Set when the server stops, which ends delays.
    """

    def __init__(
        self,
        state: State,
        faults: Faults,
        script: Script,
        *,
        token: str,
        message_limit: int,
        stopping: threading.Event,
    ) -> None:
        self._state = state
        self._faults = faults
        self._script = script
        self._token = token
        self._message_limit = message_limit
        self._stopping = stopping

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a grpc.Server is given."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "reportProcesses": grpc.unary_unary_rpc_method_handler(self._report_processes),
                "keepAlive": grpc.unary_unary_rpc_method_handler(self._keep_alive),
            },
        )

    def _report_processes(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        request = EBPFProcessReportList()

        def work(injection: Injection) -> bytes:
            self._decode(request, payload, "reportProcesses")
            answer = self._state.report(self._faults.drop_items(injection, request))
            _fail_after(injection)
            return self._faults.alter_answer(injection, answer).SerializeToString()

        return self._serve("reportProcesses", payload, request, context, work)

    def _keep_alive(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        request = EBPFProcessPingPkgList()

        def work(injection: Injection) -> bytes:
            self._decode(request, payload, "keepAlive")
            failed = self._state.beat(request)
            if failed is not None:
                log.debug("beat failed item=%d layer=%r", failed.at_item, failed.layer)
                raise _Refused(grpc.StatusCode.UNKNOWN, APPLICATION_ERROR)
            _fail_after(injection)
            return self._script.answer(request.ebpfAgentID).SerializeToString()

        return self._serve("keepAlive", payload, request, context, work)

    def _serve(
        self,
        method: Method,
        payload: bytes,
        request: EBPFProcessReportList | EBPFProcessPingPkgList,
        context: grpc.ServicerContext,
        work: Callable[[Injection], bytes],
    ) -> bytes:
        refused = None
        answer = b""
        try:
            injection = self._faults.inject(method)
            self._authenticate(injection, context)
            self._limit(injection, len(payload))
            if injection.delay:
                self._stopping.wait(injection.delay)
            _fail_before(injection)
            answer = work(injection)
        except _Refused as refusal:
            refused = refusal
        self._state.answered(
            Call(
                method=method,
                at=Stamp.now(),
                agent_id=request.ebpfAgentID,
                items=len(request.processes),
                size=len(payload),
                code=refused.code.name if refused else "OK",
            )
        )
        if refused:
            context.abort(refused.code, refused.details)
        return answer

    def _authenticate(self, injection: Injection, context: grpc.ServicerContext) -> None:
        wanted = (self._token, *injection.tokens) if self._token else injection.tokens
        if not wanted:
            return
        metadata = {pair[0]: pair[1] for pair in context.invocation_metadata()}
        given = metadata.get(TOKEN_KEY, "")
        shown = given.encode() if isinstance(given, str) else given
        if not all(hmac.compare_digest(shown, token.encode()) for token in wanted):
            raise _Refused(grpc.StatusCode.PERMISSION_DENIED, "")

    def _limit(self, injection: Injection, size: int) -> None:
        if injection.limit is not None and size > injection.limit.size:
            details = f"message larger than max ({size} vs. {injection.limit.size})"
            raise _Refused(grpc.StatusCode[injection.limit.code], details)
        if size > self._message_limit:
            # what a client of the server sees when its message is too large
            raise _Refused(grpc.StatusCode.CANCELLED, "")

    def _decode(
        self,
        request: EBPFProcessReportList | EBPFProcessPingPkgList,
        payload: bytes,
        method: Method,
    ) -> None:
        try:
            request.ParseFromString(payload)
        except (DecodeError, UnicodeDecodeError) as error:
            request.Clear()
            self._state.undecodable(method, str(error))
            raise _Refused(grpc.StatusCode.UNKNOWN, APPLICATION_ERROR) from error


def _fail_before(injection: Injection) -> None:
    if injection.error is not None and not injection.error.stored:
        _fail(injection.error.code, injection.error.details)


def _fail_after(injection: Injection) -> None:
    if injection.error is not None and injection.error.stored:
        _fail(injection.error.code, injection.error.details)


def _fail(code: str, details: str) -> NoReturn:
    raise _Refused(grpc.StatusCode[code], details)

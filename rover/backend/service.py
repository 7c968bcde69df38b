"""The services as the server runs them.

Messages are decoded here rather than by gRPC: bytes that do not decode answer UNKNOWN, as on the
server, where gRPC for Python would answer INTERNAL.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import grpc

from rover._proto.ebpf.profiling.Continuous_pb2 import (
    ContinuousProfilingPolicyQuery,
    ContinuousProfilingReport,
)
from rover._proto.ebpf.profiling.Process_pb2 import (
    EBPFProcessPingPkgList,
    EBPFProcessReportList,
)
from rover._proto.ebpf.profiling.Profile_pb2 import EBPFProfilingData, EBPFProfilingTaskQuery
from rover._proto.service import CONTINUOUS_SERVICE, PROFILING_SERVICE, SERVICE
from rover.backend.commands import message_of
from rover.backend.gate import APPLICATION_ERROR, Note, RefusedError, fail_after
from rover.backend.profiling import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.backend.commands import Script
    from rover.backend.gate import Gate
    from rover.backend.injection import Faults, Injection
    from rover.backend.profiling import Profiling
    from rover.backend.state import State

log = logging.getLogger("rover.backend")


class ProcessService:
    """EBPFProcessService; one object serves all threads.

    Args:
        gate: What calls come through.
        state: Where they are stored.
        faults: Of answers.
        script: Commands for the answers to beats.
    """

    def __init__(self, gate: Gate, state: State, faults: Faults, script: Script) -> None:
        self._gate = gate
        self._state = state
        self._faults = faults
        self._script = script

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
        note = Note(size=len(payload))

        def work(injection: Injection) -> bytes:
            request = EBPFProcessReportList()
            self._gate.decode(request, payload, "reportProcesses")
            note.agent_id, note.items = request.ebpfAgentID, len(request.processes)
            answer = self._state.report(self._faults.drop_items(injection, request))
            fail_after(injection)
            return self._faults.alter_answer(injection, answer).SerializeToString()

        return self._gate.serve("reportProcesses", note, context, work)

    def _keep_alive(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        note = Note(size=len(payload))

        def work(injection: Injection) -> bytes:
            request = EBPFProcessPingPkgList()
            self._gate.decode(request, payload, "keepAlive")
            note.agent_id, note.items = request.ebpfAgentID, len(request.processes)
            failed = self._state.beat(request)
            if failed is not None:
                log.debug("beat failed item=%d layer=%r", failed.at_item, failed.layer)
                raise RefusedError(grpc.StatusCode.UNKNOWN, APPLICATION_ERROR)
            fail_after(injection)
            return self._script.answer(request.ebpfAgentID).SerializeToString()

        return self._gate.serve("keepAlive", note, context, work)


class ProfilingService:
    """EBPFProfilingService; one object serves all threads.

    Args:
        gate: What calls come through.
        profiling: The tasks, and where stacks are stored.
    """

    def __init__(self, gate: Gate, profiling: Profiling) -> None:
        self._gate = gate
        self._profiling = profiling

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a grpc.Server is given."""
        return grpc.method_handlers_generic_handler(
            PROFILING_SERVICE,
            {
                "queryTasks": grpc.unary_unary_rpc_method_handler(self._query_tasks),
                "collectProfilingData": grpc.stream_unary_rpc_method_handler(self._collect),
            },
        )

    def _query_tasks(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        note = Note(size=len(payload))

        def work(injection: Injection) -> bytes:
            request = EBPFProfilingTaskQuery()
            self._gate.decode(request, payload, "queryTasks")
            note.agent_id = request.roverInstanceId
            commands = self._profiling.query(request)
            note.items = len(commands)
            fail_after(injection)
            return message_of(commands).SerializeToString()

        return self._gate.serve("queryTasks", note, context, work)

    def _collect(self, payloads: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        note = Note()
        stream = Stream(self._profiling)

        def work(injection: Injection) -> bytes:
            # each message takes effect as it comes, also of a stream that fails later
            for payload in payloads:
                note.size += len(payload)
                self._gate.limit(injection, len(payload))
                data = EBPFProfilingData()
                self._gate.decode(data, payload, "collectProfilingData")
                if not stream.take(data):
                    raise RefusedError(grpc.StatusCode.UNKNOWN, APPLICATION_ERROR)
                note.items += 1
            fail_after(injection)
            return b""

        return self._gate.serve("collectProfilingData", note, context, work)


class ContinuousService:
    """ContinuousProfilingService; one object serves all threads.

    Args:
        gate: What calls come through.
        profiling: The policies, and where tasks are made.
    """

    def __init__(self, gate: Gate, profiling: Profiling) -> None:
        self._gate = gate
        self._profiling = profiling

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a grpc.Server is given."""
        return grpc.method_handlers_generic_handler(
            CONTINUOUS_SERVICE,
            {
                "queryPolicies": grpc.unary_unary_rpc_method_handler(self._query_policies),
                "reportProfilingTask": grpc.unary_unary_rpc_method_handler(self._report),
            },
        )

    def _query_policies(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        note = Note(size=len(payload))

        def work(injection: Injection) -> bytes:
            request = ContinuousProfilingPolicyQuery()
            self._gate.decode(request, payload, "queryPolicies")
            note.items = len(request.policies)
            commands = self._profiling.policies.query(request)
            fail_after(injection)
            return message_of(commands).SerializeToString()

        return self._gate.serve("queryPolicies", note, context, work)

    def _report(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        note = Note(items=1, size=len(payload))

        def work(injection: Injection) -> bytes:
            request = ContinuousProfilingReport()
            self._gate.decode(request, payload, "reportProfilingTask")
            command = self._profiling.triggered(request)
            fail_after(injection)
            return message_of([command]).SerializeToString()

        return self._gate.serve("reportProfilingTask", note, context, work)

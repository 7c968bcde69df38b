"""The services: their methods' paths and client stubs.

grpcio-tools' own stub would refuse every grpcio older than the compiler for two lines of code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rover._proto.common.Command_pb2 import Commands
from rover._proto.ebpf.profiling.Continuous_pb2 import (
    ContinuousProfilingPolicyQuery,
    ContinuousProfilingReport,
)
from rover._proto.ebpf.profiling.Process_pb2 import (
    EBPFProcessPingPkgList,
    EBPFProcessReportList,
    EBPFReportProcessDownstream,
)
from rover._proto.ebpf.profiling.Profile_pb2 import EBPFProfilingData, EBPFProfilingTaskQuery

if TYPE_CHECKING:
    import grpc

SERVICE: Final = "skywalking.v3.EBPFProcessService"
REPORT_PROCESSES: Final = f"/{SERVICE}/reportProcesses"
KEEP_ALIVE: Final = f"/{SERVICE}/keepAlive"

PROFILING_SERVICE: Final = "skywalking.v3.EBPFProfilingService"
QUERY_TASKS: Final = f"/{PROFILING_SERVICE}/queryTasks"
COLLECT_PROFILING_DATA: Final = f"/{PROFILING_SERVICE}/collectProfilingData"

CONTINUOUS_SERVICE: Final = "skywalking.v3.ContinuousProfilingService"
QUERY_POLICIES: Final = f"/{CONTINUOUS_SERVICE}/queryPolicies"
REPORT_PROFILING_TASK: Final = f"/{CONTINUOUS_SERVICE}/reportProfilingTask"


class EBPFProcessServiceStub:
    """The service on a channel; each method is grpc's multi-callable (deadline, metadata, future).

    Attributes:
        reportProcesses: Announces processes with their properties and gets their ids.
        keepAlive: Beats for entities; the answer may carry commands.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.reportProcesses: grpc.UnaryUnaryMultiCallable[
            EBPFProcessReportList, EBPFReportProcessDownstream
        ] = channel.unary_unary(
            REPORT_PROCESSES,
            request_serializer=EBPFProcessReportList.SerializeToString,
            response_deserializer=EBPFReportProcessDownstream.FromString,
        )
        self.keepAlive: grpc.UnaryUnaryMultiCallable[EBPFProcessPingPkgList, Commands] = (
            channel.unary_unary(
                KEEP_ALIVE,
                request_serializer=EBPFProcessPingPkgList.SerializeToString,
                response_deserializer=Commands.FromString,
            )
        )


class EBPFProfilingServiceStub:
    """The service on a channel, as above.

    Attributes:
        queryTasks: Gives the profiling tasks of an agent's processes as commands.
        collectProfilingData: Takes the stacks of one flush, of all tasks.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.queryTasks: grpc.UnaryUnaryMultiCallable[EBPFProfilingTaskQuery, Commands] = (
            channel.unary_unary(
                QUERY_TASKS,
                request_serializer=EBPFProfilingTaskQuery.SerializeToString,
                response_deserializer=Commands.FromString,
            )
        )
        self.collectProfilingData: grpc.StreamUnaryMultiCallable[EBPFProfilingData, Commands] = (
            channel.stream_unary(
                COLLECT_PROFILING_DATA,
                request_serializer=EBPFProfilingData.SerializeToString,
                response_deserializer=Commands.FromString,
            )
        )


class ContinuousProfilingServiceStub:
    """The service on a channel, as above.

    Attributes:
        queryPolicies: Gives the policies of services that changed, as commands.
        reportProfilingTask: Says that a threshold was passed; the answer names the task.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.queryPolicies: grpc.UnaryUnaryMultiCallable[
            ContinuousProfilingPolicyQuery, Commands
        ] = channel.unary_unary(
            QUERY_POLICIES,
            request_serializer=ContinuousProfilingPolicyQuery.SerializeToString,
            response_deserializer=Commands.FromString,
        )
        self.reportProfilingTask: grpc.UnaryUnaryMultiCallable[
            ContinuousProfilingReport, Commands
        ] = channel.unary_unary(
            REPORT_PROFILING_TASK,
            request_serializer=ContinuousProfilingReport.SerializeToString,
            response_deserializer=Commands.FromString,
        )

"""EBPFProcessService: its methods' paths and a client stub.

grpcio-tools' own stub would refuse every grpcio older than the compiler for two lines of code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rover._proto.common.Command_pb2 import Commands
from rover._proto.ebpf.profiling.Process_pb2 import (
    EBPFProcessPingPkgList,
    EBPFProcessReportList,
    EBPFReportProcessDownstream,
)

if TYPE_CHECKING:
    import grpc

SERVICE: Final = "skywalking.v3.EBPFProcessService"
REPORT_PROCESSES: Final = f"/{SERVICE}/reportProcesses"
KEEP_ALIVE: Final = f"/{SERVICE}/keepAlive"


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

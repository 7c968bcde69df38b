"""Short ways to write the protocol's messages and to speak to a backend in tests of it."""

from __future__ import annotations

import contextlib

import grpc
import pytest

from rover._proto.common.Common_pb2 import KeyStringValuePair
from rover._proto.ebpf.profiling import Process_pb2 as pb
from rover._proto.service import EBPFProcessServiceStub

AGENT = "agent-1"
QUICK_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
)


def entity(process="p", *, service="s", instance="i", layer="OS_LINUX", labels=()):
    return pb.EBPFProcessEntityMetadata(
        layer=layer,
        serviceName=service,
        instanceName=instance,
        processName=process,
        labels=labels,
    )


def pairs(properties):
    return [KeyStringValuePair(key=key, value=value) for key, value in properties.items()]


def host(process="p", pid=1, properties=None, **names):
    return pb.EBPFProcessProperties(
        hostProcess=pb.EBPFHostProcessMetadata(
            entity=entity(process, **names), pid=pid, properties=pairs(properties or {})
        )
    )


def pod(process="p", pid=1, properties=None, **names):
    return pb.EBPFProcessProperties(
        k8sProcess=pb.EBPFKubernetesProcessMetadata(
            entity=entity(process, **names), pid=pid, properties=pairs(properties or {})
        )
    )


def report(*items, agent=AGENT):
    return pb.EBPFProcessReportList(processes=items, ebpfAgentID=agent)


def ping(process="p", properties=None, **names):
    return pb.EBPFProcessPingPkg(
        entityMetadata=entity(process, **names), properties=pairs(properties or {})
    )


def beat(*items, agent=AGENT):
    return pb.EBPFProcessPingPkgList(processes=items, ebpfAgentID=agent)


@contextlib.contextmanager
def speaking_to(backend, options=QUICK_RECONNECT):
    with grpc.insecure_channel(backend.address, options=options) as channel:
        yield EBPFProcessServiceStub(channel)


def failure(call, *arguments, timeout=5, **more):
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, timeout=timeout, **more)
    return raised.value

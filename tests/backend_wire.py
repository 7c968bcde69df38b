"""Short ways to write the protocol's messages in tests of the backend."""

from __future__ import annotations

from rover._proto.common.Common_pb2 import KeyStringValuePair
from rover._proto.ebpf.profiling import Process_pb2 as pb

AGENT = "agent-1"


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

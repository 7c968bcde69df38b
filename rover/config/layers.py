"""The layers that OAP knows. It refuses a whole beat for one that it does not (OAP 10.1)."""

from __future__ import annotations

import difflib
from typing import Final

LAYERS_10_1: Final = frozenset(
    """
    UNDEFINED MESH GENERAL OS_LINUX K8S FAAS MESH_CP MESH_DP DATABASE CACHE BROWSER SO11Y_OAP
    SO11Y_SATELLITE MQ VIRTUAL_DATABASE VIRTUAL_MQ VIRTUAL_GATEWAY K8S_SERVICE MYSQL VIRTUAL_CACHE
    POSTGRESQL APISIX AWS_EKS OS_WINDOWS AWS_S3 AWS_DYNAMODB AWS_GATEWAY REDIS ELASTICSEARCH
    RABBITMQ MONGODB KAFKA PULSAR BOOKKEEPER NGINX ROCKETMQ CLICKHOUSE ACTIVEMQ CILIUM_SERVICE
    SO11Y_JAVA_AGENT
    """.split()  # noqa: SIM905 - quotes and commas would hide the names
)
"""Those of 10.1."""

LAYERS_LATER: Final = frozenset(
    """
    KONG SO11Y_GO_AGENT FLINK BANYANDB GENAI VIRTUAL_GENAI ENVOY_AI_GATEWAY IOS WECHAT_MINI_PROGRAM
    ALIPAY_MINI_PROGRAM AIRFLOW
    """.split()  # noqa: SIM905 - as above
)
"""Those that later servers know as well."""

UNDEFINED: Final = "UNDEFINED"
"""Known to every server, but a service of this layer alone is never listed."""


def doubt(layer: str) -> str:
    """Tell what is wrong with a layer, or "" where nothing is."""
    known = LAYERS_10_1 | LAYERS_LATER
    if layer in known:
        return ""
    near = difflib.get_close_matches(layer.strip().upper(), known, 1, 0.6)
    advice = f"did you mean {near[0]}?" if near else "see the layers of your OAP's version"
    return (
        f"no server is known to have the layer {layer!r}, and one without it refuses what is"
        f" reported under it; {advice}"
    )

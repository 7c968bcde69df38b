"""Layers the server knows; a name outside its list fails the whole beat (OAP 10.1)."""

from __future__ import annotations

from typing import Final

UNDEFINED: Final = "UNDEFINED"
"""Accepted, but a service of this layer alone is never listed."""

LAYERS_10_1: Final = frozenset(
    """
    UNDEFINED MESH GENERAL OS_LINUX K8S FAAS MESH_CP MESH_DP DATABASE CACHE BROWSER SO11Y_OAP
    SO11Y_SATELLITE MQ VIRTUAL_DATABASE VIRTUAL_MQ VIRTUAL_GATEWAY K8S_SERVICE MYSQL VIRTUAL_CACHE
    POSTGRESQL APISIX AWS_EKS OS_WINDOWS AWS_S3 AWS_DYNAMODB AWS_GATEWAY REDIS ELASTICSEARCH
    RABBITMQ MONGODB KAFKA PULSAR BOOKKEEPER NGINX ROCKETMQ CLICKHOUSE ACTIVEMQ CILIUM_SERVICE
    SO11Y_JAVA_AGENT
    """.split()  # noqa: SIM905  quotes and commas would hide the names
)
"""Those of OAP 10.1."""

LAYERS_LATER: Final = frozenset(
    """
    KONG SO11Y_GO_AGENT FLINK BANYANDB GENAI VIRTUAL_GENAI ENVOY_AI_GATEWAY IOS
    WECHAT_MINI_PROGRAM ALIPAY_MINI_PROGRAM AIRFLOW
    """.split()  # noqa: SIM905  quotes and commas would hide the names
)
"""Those that releases after 10.1 added."""

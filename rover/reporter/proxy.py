"""Which HTTP proxy leads to the backend, by the variables that other programs follow.

grpc reads them in lower case only and knows no address ranges in ``no_proxy``; where a host sets
them in upper case alone, its cluster-internal names would be looked for at the proxy.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.address import Endpoint

PROXY_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
EXEMPT_VARIABLES: Final = ("no_grpc_proxy", "no_proxy")


def proxy_for(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Give the proxy's URL, empty where the way to the endpoint is direct.

    The loopback is always direct. Only proxies spoken to over plain HTTP are known.
    """
    url = _first(environ, PROXY_VARIABLES)
    if not url or endpoint.is_local:
        return ""
    exempt = _first(environ, EXEMPT_VARIABLES)
    if any(_matches(pattern.strip().lower(), endpoint) for pattern in exempt.split(",")):
        return ""
    if "://" not in url:
        return f"http://{url}"
    return url if url.startswith("http://") else ""


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    values = (environ.get(spelt, "") for name in names for spelt in (name, name.upper()))
    return next((value.strip() for value in values if value.strip()), "")


def _matches(pattern: str, endpoint: Endpoint) -> bool:
    """Tell whether one item of ``no_proxy`` is about the endpoint."""
    host = endpoint.host.lower()
    if not pattern or pattern == "*":
        return bool(pattern)
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        pass
    name = pattern.removesuffix(f":{endpoint.port}").removeprefix("*").lstrip(".")
    return host == name or host.endswith(f".{name}")

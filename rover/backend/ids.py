"""Ids as the server builds them: OAP 10.1, bit for bit.

The server counts names in UTF-16 units, as Java does, and so may cut a character beyond the Basic
Multilingual Plane in two; the half that stays is encoded as "?".
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import Final

from rover.model import NAME_UNITS, is_blank

BLANK: Final = "_blank"
"""Stands for a blank name."""

_CACHED_NAMES: Final = 32_768


@lru_cache(maxsize=_CACHED_NAMES)
def stored_name(name: str) -> str:
    """Cut a service or instance name as the server does before it stores it."""
    if len(name) <= NAME_UNITS // 2 or (name.isascii() and len(name) <= NAME_UNITS):
        return name
    units = name.encode("utf-16-le", "surrogatepass")[: 2 * NAME_UNITS]
    return units.decode("utf-16-le", "surrogatepass").encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=_CACHED_NAMES)
def service_id(service: str) -> str:
    """``base64(name).1``; the suffix marks a service that is not made up by the server."""
    return f"{_encoded(stored_name(service))}.1"


@lru_cache(maxsize=_CACHED_NAMES)
def instance_id(service: str, instance: str) -> str:
    """``serviceId_base64(name)``."""
    return f"{service_id(service)}_{_encoded(stored_name(instance))}"


@lru_cache(maxsize=_CACHED_NAMES)
def process_id(service: str, instance: str, process: str) -> str:
    """``hex(sha256(name_instanceId))``; the process name counts in full."""
    text = f"{_or_blank(process)}_{instance_id(service, instance)}"
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def _or_blank(name: str) -> str:
    return BLANK if is_blank(name) else name


def _encoded(name: str) -> str:
    return b64encode(_or_blank(name).encode("utf-8", "replace")).decode("ascii")

"""The names by which the agent lets itself be asked over TCP.

A page in a browser may have its own name resolve to this host's address and then read what is
served here as its own (DNS rebinding). Its requests carry that name in the Host header, so what is
none of ours is not answered. An IP address is no name: no page can make it lead elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[^\[\]:/@*\s]{1,253}))(:\d*)?"
)
"""uri-host and port of RFC 9110, section 7.2."""
ANY_BELOW: Final = "*."


def own_names(hostname: str, configured: Iterable[str]) -> frozenset[str]:
    """List the names that are ours.

    Args:
        hostname: of the host or pod, with its domain or without.
        configured: further names; ``*.example.org`` stands for all below it.
    """
    names = {"localhost", hostname, hostname.partition(".")[0], *configured}
    return frozenset(plain for name in names if (plain := _plain(name)))


def is_ours(host: str, names: frozenset[str]) -> bool:
    """Tell whether a Host header names this agent.

    Args:
        host: the header's value, with or without a port.
        names: as `own_names` lists them.
    """
    match = HOST.fullmatch(host)
    if match is None:
        return False
    if match["v6"] or _is_address(match["name"]):
        return _is_address(match["v6"] or match["name"])
    name = _plain(match["name"])
    return name in names or any(
        ANY_BELOW + name[at + 1 :] in names for at, letter in enumerate(name) if letter == "."
    )


def _plain(name: str) -> str:
    return name.strip().lower().removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

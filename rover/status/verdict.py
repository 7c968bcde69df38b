"""Whether all is well, and what that is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKS: Final = "works"
NO_DEFECTS: Final = "none that lasts"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well, and what it is judged by."""

    fine: bool
    brief: Mapping[str, Any]
    """What anyone may know who reaches the port: states, in words of our own. No address, no name
    and no message that came from elsewhere."""
    detail: Mapping[str, Any]
    """All of it, for who may see what the agent sees."""

"""Which machine this is, for the agent's id; apart from the agent, so that the id comes at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rover.config.settings import kubernetes_active
from rover.identity import Machine

if TYPE_CHECKING:
    from rover.config.settings import Settings


def machine(settings: Settings) -> Machine:
    """Read what tells this machine from others, its place in a cluster included."""
    active = kubernetes_active(settings, os.environ)
    return Machine.here(settings.process_discovery.kubernetes.node_name if active else "")

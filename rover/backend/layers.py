"""Layers the server knows; a name outside its list fails the whole beat (OAP 10.1)."""

from __future__ import annotations

from typing import Final

from rover.config.layers import LATER_LAYERS, LAYERS

UNDEFINED: Final = "UNDEFINED"
"""Accepted, but a service of this layer alone is never listed."""

LAYERS_10_1: Final = LAYERS
"""Those of OAP 10.1."""

LAYERS_LATER: Final = LATER_LAYERS
"""Those that releases after 10.1 added."""

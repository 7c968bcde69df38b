"""What SkyWalking's language agents inside processes say of them.

Files that other users wrote are opened by the child of `rover.foreign` and nowhere else.
"""

from __future__ import annotations

from rover.sensor.metadata import Metadata
from rover.sensor.watch import Sensor

__all__ = ["Metadata", "Sensor"]

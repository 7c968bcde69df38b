"""What SkyWalking's language agents inside processes say of them.

Files that other users wrote are opened here and nowhere else.
"""

from __future__ import annotations

from rover.sensor.metadata import Metadata
from rover.sensor.watch import Sensor

__all__ = ["Metadata", "Sensor"]

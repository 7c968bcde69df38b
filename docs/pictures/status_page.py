"""Makes the pictures of the status page anew: ``python docs/pictures/status_page.py``.

It takes Chromium. What they show is made up, an hour of a host with a deployment in it, and is the
same each time.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rover.status.history import COURSES, MOST, PERIOD, TAKEN, Course, Points, points
from rover.status.page import Shown, page

FOLDER = Path(__file__).parent
SIZES = {"status-page": "1100,1010", "status-page-phone": "390,1500"}
DEPLOYED_AT = 70
"""Of the looks, the one at which twelve processes more begin to run."""


def figures(at: int) -> dict[str, float]:
    """Make up the figures of one look; counts grow, levels waver."""
    later = at >= DEPLOYED_AT
    wave = math.sin(at / 7) + math.sin(at / 2.3) / 2
    return {
        "rover_processes": 212 + 12 * later + round(wave),
        "rover_entities": 148 + 12 * later,
        "rover_events_total": at * 340 + 3 * at * math.sin(at / 5) + 2_000 * later,
        "rover_waiting_entities": 12.0 * (at == DEPLOYED_AT),
        "rover_heartbeat_seconds_sum": at * 1.5 * 0.011 + 0.02 * math.sin(at / 9),
        "rover_heartbeat_seconds_count": at * 1.5,
        "process_resident_memory_bytes": (54 + 1.5 * later + wave / 4) * 2**20,
        "process_cpu_seconds_total": at * PERIOD * 0.0011 + 0.01 * math.sin(at / 3),
    }


def courses() -> list[tuple[Course, Points]]:
    """Return an hour of each chart."""
    looks = [
        ((at - MOST + 1) * PERIOD, tuple(figures(at).get(taken.name, 0.0) for taken in TAKEN))
        for at in range(MOST)
    ]
    return [(course, points(course, looks, 0.0)) for course in COURSES]


def process(pid: int, service: str, name: str, command: str, **more: str) -> dict[str, Any]:
    """Make up a process."""
    entity = {"layer": "OS_LINUX", "service": service, "instance": "web-1", "process": name}
    return {
        "pid": pid,
        "name": name,
        "command_line": command,
        "reason": "reported",
        "detail": "systemd unit",
        "entities": [entity] if service else [],
        **more,
    }


SHOWN = Shown(
    well=True,
    facts={
        "discovery": "works",
        "reporter": "works",
        "first scan": "done",
        "ebpf": "attached by raw tracepoints",
        "session": "beating",
        "backend": "oap.example.org:11800",
    },
    courses=courses(),
    processes=[
        process(812, "nginx", "nginx", "nginx: master process /usr/sbin/nginx"),
        process(
            813, "nginx", "nginx", "nginx: worker process",
            reason="another process leads its entity", detail="pid 812",
        ),
        process(1_204, "checkout", "java", "java -jar checkout.jar --db-password ***"),
        process(
            1_377, "", "node_exporter", "/usr/bin/node_exporter",
            reason="matches an ignore rule", detail="^/usr/bin/node_exporter",
        ),
        process(2_090, "postgresql", "postgres", "/usr/lib/postgresql/15/bin/postgres -D /srv/pg"),
    ],
)  # fmt: skip


def main(to: Path = FOLDER) -> None:
    """Draw each picture."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        document = Path(name) / "page.html"
        document.write_bytes(page(SHOWN).body)
        for picture, size in SIZES.items():
            subprocess.run(
                [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 f"--user-data-dir={name}/profile", f"--window-size={size}",
                 f"--screenshot={to / picture}.png", document.as_uri()],
                check=True, capture_output=True,
            )  # fmt: skip


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

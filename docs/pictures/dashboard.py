"""Makes the picture of the dashboard anew: ``python docs/pictures/dashboard.py``, as root.

It takes Prometheus. An agent runs for a minute and a half while processes come and go, Prometheus
scrapes it, and each panel of deploy/grafana/rover.json is drawn from the answers to its queries.
Grafana draws them its own way; which panels there are, where, and with which lines, is the file's.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rover.backend import EmbeddedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

TO: Final = Path(__file__).with_name("dashboard.svg")
DASHBOARD: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "rover.json"
SECONDS: Final = 90
STEP: Final = 2
LIVING: Final = 20
"""Processes that are there at once."""
RATE: Final = "10s"
UNIT: Final = 50
"""What one of 24 units across takes."""
ROW: Final = 30
"""What one unit down takes."""
MOST_LINES: Final = 6
COLOURS: Final = ("#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#b877d9", "#e02f44")
BACK: Final = "#111217"
PANEL: Final = "#181b1f"
INK: Final = "#ccccdc"
FAINT: Final = "#6e7079"
SCALES: Final = {
    "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")),
    "s": ((1, "s"), (1e-3, "ms")),
}

PROMETHEUS: Final = """
global: {{scrape_interval: {step}s, evaluation_interval: 1m}}
scrape_configs:
  - job_name: rover
    static_configs: [{{targets: ['{target}']}}]
"""


class Line(NamedTuple):
    """One series of a panel."""

    name: str
    points: list[tuple[float, float]]


class Box(NamedTuple):
    """Where a panel is."""

    x: int
    y: int
    wide: int
    high: int


def free_port() -> int:
    """Return a port of this host that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running(*command: str | Path) -> Iterator[None]:
    """Run a program until the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def come_and_go(until: float) -> None:
    """Keep processes starting and ending."""
    living: list[subprocess.Popen[bytes]] = []
    while time.monotonic() < until:
        living.append(subprocess.Popen(["/bin/sleep", "600"]))
        subprocess.run(["/bin/true"], check=True)
        if len(living) > LIVING:
            first = living.pop(0)
            first.kill()
            first.wait()
        time.sleep(0.2)
    for each in living:
        each.kill()
        each.wait()


class Answers:
    """What a Prometheus says."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, what: str, **query: str) -> list[dict[str, Any]]:
        """Ask one question of its HTTP API."""
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def of(self, described: dict[str, Any], end: float) -> list[Line]:
        """Ask all that a panel asks."""
        return [
            line for target in described.get("targets", ()) for line in self._lines(target, end)
        ]

    def _lines(self, target: dict[str, Any], end: float) -> list[Line]:
        series = self.ask(
            "query_range",
            query=plain(target["expr"]),
            start=f"{end - SECONDS + 20:.0f}",
            end=f"{end:.0f}",
            step=str(STEP),
        )
        return [
            Line(
                named(target.get("legendFormat", ""), each["metric"]),
                [(float(at), float(value)) for at, value in each["values"] if value != "NaN"],
            )
            for each in series
        ]


def plain(expression: str) -> str:
    """Put values in the place of Grafana's variables."""
    return (
        expression.replace("$__rate_interval", RATE)
        .replace("$job", "rover")
        .replace("$instance", ".*")
    )


def named(form: str, labels: dict[str, str]) -> str:
    """Name a series as Grafana does: by the form, else by its labels."""
    if form:
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), form)
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def number(value: float, unit: str) -> str:
    """Write a value with its unit."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    for size, name in SCALES.get(unit.replace("Bps", "bytes"), ()):
        if value >= size:
            return f"{value / size:.3g} {name}{'/s' * (unit == 'Bps')}"
    return f"{value:.3g}{' /s' * (unit in {'ops', 'Bps'})}"


def text(x: float, y: float, said: str, colour: str = INK, size: int = 13, **more: str) -> str:
    """Draw a text."""
    rest = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    place = f'x="{x:.0f}" y="{y:.0f}" fill="{colour}" font-size="{size}"'
    return f"<text {place}{rest}>{escape(said)}</text>"


def panel(described: dict[str, Any], lines: list[Line]) -> str:
    """Draw a panel at its place."""
    place = described["gridPos"]
    x, y = place["x"] * UNIT + 4, place["y"] * ROW + 4
    wide, high = place["w"] * UNIT - 8, place["h"] * ROW - 8
    if described["type"] == "row":
        return text(x + 4, y + 16, described["title"], size=15, font_weight="bold")
    unit = described.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
    parts = [
        f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" fill="{PANEL}" rx="2"/>',
        text(x + 8, y + 20, described["title"], font_weight="bold"),
    ]
    if described["type"] == "stat":
        last = number(lines[0].points[-1][1], unit) if lines and lines[0].points else "no data"
        middle = x + wide / 2
        parts.append(text(middle, y + high / 2 + 22, last, COLOURS[0], 34, text_anchor="middle"))
        return "".join(parts)
    return "".join((*parts, *_course(Box(x, y, wide, high), lines, unit)))


def _course(box: Box, lines: list[Line], unit: str) -> Iterator[str]:
    x, y, wide, high = box
    shown = [line for line in lines if line.points][:MOST_LINES]
    if not shown:
        yield text(x + wide / 2, y + high / 2, "nothing happened", FAINT, text_anchor="middle")
        return
    most = max(value for line in shown for _, value in line.points) or 1.0
    begin = min(line.points[0][0] for line in shown)
    end = max(line.points[-1][0] for line in shown)
    left, top = x + 62, y + 34
    across, down = wide - 72, high - 34 - 16 * ((len(shown) + 1) // 2) - 12
    for part in (0.0, 0.5, 1.0):
        at = top + down * (1 - part)
        yield f'<path d="M{left} {at:.0f}h{across}" stroke="{FAINT}" stroke-width="0.4"/>'
        yield text(left - 6, at + 4, number(most * part, unit), FAINT, 10, text_anchor="end")
    for place, (line, colour) in enumerate(zip(shown, COLOURS, strict=False)):
        scale = across / max(end - begin, 1)
        drawn = " ".join(
            f"{left + scale * (at - begin):.1f},{top + down * (1 - value / most):.1f}"
            for at, value in line.points
        )
        yield f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        below = top + down + 18 + 16 * (place // 2)
        yield text(x + 10 + (place % 2) * wide / 2, below, line.name[:28], colour, 11)


def main(to: Path = TO) -> None:
    """Run it all, and draw."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        sys.exit("prometheus is not installed: apt-get install --no-install-recommends prometheus")
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rover = Path(sys.executable).with_name("rover")
    agents, prometheuses = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with EmbeddedBackend() as backend, tempfile.TemporaryDirectory() as folder:
        rules = Path(folder, "prometheus.yml")
        rules.write_text(PROMETHEUS.format(step=STEP, target=agents))
        with (
            running(
                rover, "start", "--state-dir", f"{folder}/state", f"--set=status.addr={agents}",
                f"--set=core.backend.addr={backend.address}",
            ),
            running(
                prometheus, f"--config.file={rules}", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={prometheuses}",
            ),
        ):  # fmt: skip
            come_and_go(time.monotonic() + SECONDS)
            answers, now = Answers(prometheuses), time.time()
            drawn = [panel(each, answers.of(each, now)) for each in panels]
    high = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in panels) * ROW
    to.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * UNIT} {high}"'
        f' font-family="sans-serif"><rect width="100%" height="100%" fill="{BACK}"/>'
        + "\n".join(drawn)
        + "</svg>\n"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""Makes the picture of the live view anew: ``python docs/pictures/live_view.py``.

It is drawn as on a terminal, by the same code. What it shows is made up, and the same each time: a
host on which a job has just ended and a shop is deployed.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

from rover.cli.screen import Page, columns_of, drawn, summed_up

TO: Final = Path(__file__).with_name("live-view.svg")
WIDTH: Final = 132
PRESENT: Final = 148
"""Processes that there are, of which those below are the first."""
NAMES: Final = ("service", "process", "pid", "age", "last beat", "command")
LIVE: Final = (
    ("checkout", "java", "48211", "3s", "none yet", "java -jar checkout.jar --db-password=***"),
    ("checkout", "envoy", "48190", "4s", "none yet", "envoy -c /etc/envoy.yaml"),
    ("sshd", "sshd", "47702", "71s", "11s ago", "sshd: admin [priv]"),
    ("nginx", "nginx", "812", "3h", "11s ago", "nginx: master process /usr/sbin/nginx"),
    ("postgresql", "postgres", "2090", "3h", "11s ago", "/usr/lib/postgresql/15/bin/postgres"),
    ("redis", "redis-server", "1377", "3h", "11s ago", "/usr/bin/redis-server 127.0.0.1:6379"),
    ("cron", "cron", "640", "3h", "11s ago", "/usr/sbin/cron -f"),
)
ENDED: Final = (("backup", "restic", "47920", "54s", "gone", "restic backup /srv --password ***"),)
FORM: Final = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" \
xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; \
line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""
"""As rich has it, without the fonts that it has fetched from elsewhere."""


def page() -> Page:
    """Make up what is seen."""
    columns = columns_of(WIDTH)

    def row(told: tuple[str, ...]) -> tuple[str, ...]:
        named = dict(zip(NAMES, told, strict=True)) | {"layer": "OS_LINUX", "instance": "web-1"}
        return tuple(named[column] for column in columns)

    return Page(
        title="",
        columns=columns,
        rows=tuple(row(each) for each in (*LIVE, *ENDED)),
        gone=(False,) * len(LIVE) + (True,) * len(ENDED),
        summary=summed_up(PRESENT, len(ENDED), 0, len(LIVE), scrolls=True),
    )


def main(to: Path = TO) -> None:
    """Draw it."""
    console = Console(
        file=io.StringIO(), width=WIDTH, record=True, force_terminal=True, color_system="truecolor"
    )
    console.print(drawn(page()))
    console.save_svg(
        str(to), title="make run", theme=DIMMED_MONOKAI, code_format=FORM, unique_id="live"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""The status page, for people with a browser: one document, no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from rover import __version__
from rover.model import Reason
from rover.printable import printable
from rover.status.charts import chart
from rover.status.http import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rover.status.history import Course, Points

MOST_ROWS: Final = 200
"""Processes that are shown; a search finds the others."""
MOST_SEARCHED: Final = 200
"""Characters of a search."""
REFRESH: Final = 30
"""Seconds after which a browser asks anew."""
HTML: Final = "text/html; charset=utf-8"

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--faint:#5b6570;--paper:#fff;--line:#d8dee4;
--mark:#0b6bcb;--good:#1a7f37;--bad:#c62828}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--faint:#9aa4af;--paper:#0d1117;
--line:#30363d;--mark:#58a6ff;--good:#3fb950;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1rem;font:15px/1.45 system-ui,sans-serif;
color:var(--ink);background:var(--paper)}
h1{font-size:1.3rem;margin:0 0 .8rem}h2{font-size:1.05rem;margin:1.6rem 0 .6rem}
small,.faint{color:var(--faint)}.good{color:var(--good)}.bad{color:var(--bad)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:0}
dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,13rem),1fr));gap:.8rem}
figure{margin:0;padding:.5rem .7rem;border:1px solid var(--line);border-radius:6px}
figcaption{display:flex;flex-wrap:wrap;justify-content:space-between;column-gap:1rem}
svg{display:block;width:100%;height:3rem}
polyline{fill:none;stroke:var(--mark);stroke-width:1.5;stroke-linejoin:round;
stroke-linecap:round}
form{display:flex;gap:.5rem;margin-bottom:.6rem}
input,button{font:inherit;padding:.3rem .6rem;color:inherit;background:var(--paper);
border:1px solid var(--line);border-radius:6px}input{flex:1;min-width:0}
table{width:100%;border-collapse:collapse;table-layout:fixed}
th:nth-child(1){width:5.5rem}th:nth-child(2){width:16rem}th:nth-child(3){width:14rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}
td.pid{white-space:nowrap}td.command div{font-family:ui-monospace,monospace;font-size:.85rem;
display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:4;overflow:hidden}
code{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}
@media(max-width:40rem){.charts{grid-template-columns:1fr 1fr}
thead{display:none}tr{display:block;border-bottom:1px solid var(--line);padding:.3rem 0}
td{display:block;border:0;padding:.05rem 0}}
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    # a search may hold what a process was given
    ("Referrer-Policy", "no-referrer"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page tells; all text may be foreign, and is escaped as it is written."""

    well: bool
    facts: Mapping[str, str]
    courses: Sequence[tuple[Course, Points]]
    processes: Sequence[Mapping[str, Any]] | None
    """As `explain` tells them; None where nothing may be told of them."""
    instead: str = ""
    """Where they are told, if not here."""
    search: str = ""


def page(shown: Shown) -> Answer:
    """Write the page."""
    text = "".join(_document(shown))
    return Answer(HTTPStatus.OK, text.encode("utf-8", "replace"), HTML, HEADERS)


def facts(verdicts: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten what health and readiness tell into names and words, in their order."""
    told: dict[str, str] = {}
    for name, value in verdicts.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, dict):
            told |= facts(value, f"{label}: ")
        elif value not in ("", None):
            told[label] = str(value)
    return told


def _document(shown: Shown) -> Iterator[str]:
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH}"><title>rover</title>'
        f"<style>{STYLE}</style></head><body>"
    )
    state = '<span class="good">works</span>' if shown.well else '<span class="bad">is ill</span>'
    yield f"<h1>rover {escape(__version__)} {state}</h1><dl>"
    for name, value in shown.facts.items():
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield '</dl><h2>The last hour</h2><div class="charts">'
    yield from (chart(course, points) for course, points in shown.courses)
    yield "</div><h2>Processes</h2>"
    if shown.processes is None:
        yield f"<p>{escape(shown.instead)}</p>"
    else:
        yield from _listed(shown.processes, shown.search)
    yield (
        '<p class="faint">Also <a href="/metrics">figures</a>, <a href="/healthz">health</a>,'
        ' <a href="/readyz">readiness</a>.</p></body></html>\n'
    )


def _listed(processes: Sequence[Mapping[str, Any]], search: str) -> Iterator[str]:
    search = search[:MOST_SEARCHED]
    found = [each for each in processes if _matches(each, search)]
    yield (
        f'<form><input type="search" name="q" value="{escape(search)}" maxlength="{MOST_SEARCHED}"'
        ' placeholder="pid, service, command, reason" aria-label="search">'
        "<button>Search</button></form>"
    )
    many = (
        f"{len(found)} processes"
        if len(found) <= MOST_ROWS
        else (f"{MOST_ROWS} of {len(found)} processes; search for the others")
    )
    yield (
        f'<p class="faint">{many}</p><table><thead><tr><th>PID</th><th>Entity</th><th>State</th>'
        "<th>Command</th></tr></thead><tbody>"
    )
    for each in found[:MOST_ROWS]:
        command = _shown(each["command_line"] or each["name"])
        yield (
            f'<tr><td class="pid">{each["pid"]}</td><td>{_entities(each)}</td>'
            f"<td>{_shown(_state(each))}</td>"
            f'<td class="command"><div>{command}</div></td></tr>'
        )
    yield "</tbody></table>"


def _matches(process: Mapping[str, Any], search: str) -> bool:
    """Tell whether each word of a search is in what is told; kernel threads come when called."""
    words = search.casefold().split()
    if not words:
        return bool(process["reason"] != Reason.KERNEL_THREAD.value)
    named = [
        process["name"],
        process["command_line"],
        _state(process),
        *(str(entity[part]) for entity in process["entities"] for part in _PARTS),
    ]
    text = "\n".join((str(process["pid"]), *named)).casefold()
    return all(word in text for word in words)


_PARTS: Final = ("layer", "service", "instance", "process")


def _entities(process: Mapping[str, Any]) -> str:
    return "<br>".join(
        f"{_shown(each['service'])} <small>{_shown(each['layer'])}, {_shown(each['process'])}"
        f"</small>"
        for each in process["entities"]
    )


def _shown(text: str) -> str:
    """Write what others wrote: it is no markup, and turns the direction of nothing beside it."""
    return escape(printable(text))


def _state(process: Mapping[str, Any]) -> str:
    detail = process["detail"]
    return f"{process['reason']}: {detail}" if detail else str(process["reason"])

"""What a bench prints: the machine, then each figure with its aim, as a table or as JSON."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import psutil

from bench.rig.cost import slope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.rig.cost import Cost


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(part * len(ordered)) - 1]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "p50": statistics.median(values),
        "p99": quantile(values, 0.99),
        "max": max(values),
    }


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


class Figures:
    """Rows of a bench, printed as a table while they come or as one JSON object at the end."""

    def __init__(self, title: str, *, as_json: bool) -> None:
        self.title = title
        self.as_json = as_json
        self.rows: list[dict[str, Any]] = []

    def add(
        self, what: str, value: float, unit: str, aim: str = "", *, met: bool | None = None
    ) -> None:
        self.rows.append({"what": what, "value": value, "unit": unit, "aim": aim, "met": met})
        if not self.as_json:
            verdict = {True: "met", False: "NOT MET", None: ""}[met]
            print(f"{what:<58} {value:>10.4g} {unit:<10} {aim:<14} {verdict}", flush=True)

    def limit(self, what: str, value: float, unit: str, at_most: float) -> None:
        """Add a figure whose aim is a most."""
        self.add(what, value, unit, f"<= {at_most:g}", met=value <= at_most)

    def add_memory(self, samples: Sequence[Cost]) -> None:
        """Add how memory developed; its slope once all caches have filled.

        Pages of files come and go by the kernel's will, so what leaks shows in the others.
        """
        late = samples[len(samples) // 2 :]
        whole, in_no_file = attrgetter("rss"), attrgetter("anonymous")
        for what, of in (("memory", whole), ("  of it in no file", in_no_file)):
            trend, error = slope(late, of)
            self.add(f"{what}, at the first look", of(samples[0]) / 2**20, "MB")
            self.add("  at the half", of(late[0]) / 2**20, "MB")
            self.add("  at the last", of(late[-1]) / 2**20, "MB")
            self.add("  slope of the second half", trend, "MB/h", f"+- {error:.2g}")

    def start(self) -> None:
        if not self.as_json:
            print(f"\n{self.title}\n{machine()}, {time.strftime('%Y-%m-%d')}")

    def end(self) -> None:
        if self.as_json:
            print(
                json.dumps({"bench": self.title, "machine": machine(), "rows": self.rows}, indent=1)
            )

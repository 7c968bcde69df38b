"""What benches are told on their command lines."""

from __future__ import annotations

import argparse
import time


def options(
    doc: str | None, *, seconds: float | None = None, seeded: bool = False
) -> argparse.ArgumentParser:
    """Make a parser of the options that benches have in common.

    Args:
        doc: The bench's docstring, for its help.
        seconds: How long it takes unless it is told; None where that is not for choice.
        seeded: Whether it has a seed, by which it chooses what it does.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one object, no table")
    if seconds is not None:
        parser.add_argument("--seconds", type=float, default=seconds, help="default: %(default)g")
    if seeded:
        parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    return parser

"""A flame graph as an SVG page of its own: no script, no style and no font from elsewhere.

Names of functions are words of whoever wrote the program, so all text is escaped.
"""

from __future__ import annotations

import zlib
from html import escape
from typing import TYPE_CHECKING, Final

from rover.profiling.folded import KERNEL_SUFFIX, UNITS, root_first, weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rover.profiling.records import StackCount, Target

WIDTH: Final = 1_200
MARGIN: Final = 10
ROW: Final = 17
HEAD: Final = 44
LETTER: Final = 6.6
"""Width of one letter in 11 px of a fixed-width font."""
THINNEST: Final = 0.15
"""Pixels below which a frame is left out with what is above it."""
MAX_FRAMES: Final = 50_000

_STYLE: Final = (
    "text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#111}"
    ".t{font-size:15px}.s{fill:#555}rect{stroke:#fff;stroke-width:.5}"
    "g:hover>rect{stroke:#000;stroke-width:1}"
)


_SVG: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    'viewBox="0 0 {width} {height}">'
)
_HINT: Final = "names and shares are shown under the pointer"


class _Frame:
    __slots__ = ("above", "value")

    def __init__(self) -> None:
        self.value = 0
        self.above: dict[str, _Frame] = {}


def svg(stacks: Iterable[StackCount], title: str, target: Target) -> str:
    """Draw stacks, root at the bottom, as wide as they weigh.

    Args:
        stacks: of one target.
        title: what was profiled.
        target: of the stacks.
    """
    root = _Frame()
    for stack in stacks:
        value = weight(stack)
        root.value += value
        frame = root
        for name in root_first(stack):
            frame = frame.above.setdefault(name, _Frame())
            frame.value += value
    boxes = list(_boxes(root))
    depth = max((level for level, *_ in boxes), default=0)
    height = HEAD + (depth + 1) * ROW + MARGIN
    said = f"{root.value:,} {UNITS[target]}"
    drawn = [
        _SVG.format(width=WIDTH, height=height),
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fdfdfb"/>',
        f'<text class="t" x="{MARGIN}" y="20">{escape(title)}</text>',
        f'<text class="s" x="{MARGIN}" y="36">{said}; {_HINT}</text>',
    ]
    drawn += [_box(box, height, root.value) for box in boxes]
    drawn.append("</svg>\n")
    return "\n".join(drawn)


def _boxes(root: _Frame) -> Iterator[tuple[int, float, float, str, int]]:
    """Give level, place, width, name and value of each frame that can be seen."""
    scale = (WIDTH - 2 * MARGIN) / root.value if root.value else 0
    waiting: list[tuple[int, float, str, _Frame]] = [(0, MARGIN, "all", root)] if scale else []
    given = 0
    while waiting and given < MAX_FRAMES:
        level, place, name, frame = waiting.pop()
        width = frame.value * scale
        if width < THINNEST:
            continue
        given += 1
        yield level, place, width, name, frame.value
        for above, part in sorted(frame.above.items()):
            waiting.append((level + 1, place, above, part))
            place += part.value * scale


def _box(box: tuple[int, float, float, str, int], height: int, whole: int) -> str:
    level, place, width, name, value = box
    top = height - MARGIN - (level + 1) * ROW
    is_kernel = name.endswith(KERNEL_SUFFIX)
    shown = name.removesuffix(KERNEL_SUFFIX)
    letters = int((width - 6) / LETTER)
    label = shown if len(shown) <= letters else shown[: letters - 1] + "…"
    text = (
        f'<text x="{place + 3:.1f}" y="{top + 12}">{escape(label)}</text>' if letters > 2 else ""  # noqa: PLR2004  one letter and a sign say nothing
    )
    about = f"{shown}{' (kernel)' if is_kernel else ''}: {value:,}, {100 * value / whole:.2f} %"
    return (
        f"<g><title>{escape(about)}</title>"
        f'<rect x="{place:.2f}" y="{top}" width="{width:.2f}" height="{ROW - 1}" '
        f'fill="{_colour(shown, kernel=is_kernel)}"/>{text}</g>'
    )


def _colour(name: str, *, kernel: bool) -> str:
    """Return a warm colour for a function, a cool one for the kernel's; the same each time."""
    spread = zlib.crc32(name.encode("utf-8", "replace")) % 1_000 / 1_000
    hue = 200 + 40 * spread if kernel else 12 + 40 * spread
    return f"hsl({hue:.0f},{65 + 20 * spread:.0f}%,{72 - 8 * spread:.0f}%)"

"""Files below a TMPDIR where the agent looks for the metadata of SkyWalking's language agents."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.neighbours.place import Place

LIVING = 20
FILE = "metadata.properties"


def trees(place: Place) -> None:
    """Keep processes whose metadata is something else at every look."""
    homes: dict[int, Path] = {}
    while place.goes_on():
        while len(place.children) < LIVING:
            tmpdir = place.folder / f"t{place.random.randrange(8)}"
            pid = place.start(["sleep", "3600"], {"TMPDIR": str(tmpdir)})
            homes[pid] = tmpdir / "apache_skywalking/process" / str(pid)
        for pid in place.random.sample(place.children, 5):
            with contextlib.suppress(OSError):
                _clear(homes[pid])
                place.random.choice(CONTENTS)(place, homes[pid])
        if place.random.random() < 0.2:
            place.end_one()
        place.pause(0.02, 0.2)


def _clear(home: Path) -> None:
    if home.is_symlink() or home.is_file():
        home.unlink()
    shutil.rmtree(home, ignore_errors=True)


def _write(home: Path, content: str | bytes) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / FILE).write_bytes(
        content if isinstance(content, bytes) else content.encode(errors="replace")
    )


def _good(place: Place, home: Path, **more: str) -> None:
    names = {
        "layer": "GENERAL",
        "service_name": place.text(60) or "s",
        "instance_name": place.text(60) or "i",
        "process_name": place.text(60) or "p",
        **more,
    }
    _write(home, "".join(f"{name}={value}\n" for name, value in names.items()))


def _nested(place: Place, home: Path) -> None:
    depth = place.random.randrange(1, 3_000)
    opened, closed = place.random.choice((("[", "]"), ('{"a":', "}")))
    _good(place, home, properties='{"a":' + opened * depth + "1" + closed * depth + "}")


def _many_keys(place: Place, home: Path) -> None:
    inner = ",".join(f'"{number}":"{number}"' for number in range(5_000))
    _good(place, home, properties="{" + inner + "}", labels="x," * 5_000)


def _noise(place: Place, home: Path) -> None:
    _write(home, place.random.randbytes(place.random.randrange(70_000)))


def _escapes(place: Place, home: Path) -> None:
    _good(place, home, labels="\\ud800\\u12\\", properties='{"a":"\\\\ud800"}')


def _sparse(_: Place, home: Path) -> None:
    _write(home, b"layer=GENERAL\n")
    os.truncate(home / FILE, 4 * 2**30)


def _pipe(_: Place, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    os.mkfifo(home / FILE)


def _directory(_: Place, home: Path) -> None:
    (home / FILE).mkdir(parents=True)


def _link(place: Place, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    target = place.random.choice(
        ("/proc/self/mem", "/dev/zero", "/etc/shadow", FILE, "/proc/1/root")
    )
    (home / FILE).symlink_to(target)


def _linked_home(place: Place, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    home.symlink_to(place.random.choice(("/proc/self/net", "/dev", "..", str(home))))


def _linked_place(place: Place, home: Path) -> None:
    """Make the whole directory a link to where listing fails: a child that nobody waited for."""
    shutil.rmtree(home.parents[2], ignore_errors=True)
    (home.parents[2] / "apache_skywalking").mkdir(parents=True, exist_ok=True)
    zombie = os.fork()
    if zombie == 0:
        os._exit(0)
    home.parent.symlink_to(f"/proc/{zombie}/net")
    place.pause(0.1, 0.5)
    os.waitpid(zombie, 0)
    home.parent.unlink()


def _crowd(_: Place, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    for number in range(2_000):
        (home.parent / str(4_000_000 + number)).touch()


def _unreadable(place: Place, home: Path) -> None:
    _good(place, home)
    (home / FILE).chmod(0)


CONTENTS: tuple[Callable[[Place, Path], None], ...] = (
    _good,
    _nested,
    _many_keys,
    _noise,
    _escapes,
    _sparse,
    _pipe,
    _directory,
    _link,
    _linked_home,
    _linked_place,
    _crowd,
    _unreadable,
)

"""What support needs to see of a host, in one file, with secrets taken out and listed."""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rover.config.show import MASK, rows
from rover.errors import RoverError
from rover.redaction import without_secrets
from rover.status.client import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.load import Loaded

MOST: Final = 4 * 2**20
"""Bytes of one text."""
HOST_FILES: Final = ("proc/version", "proc/cmdline", "proc/mounts", "proc/self/status")
NOTE: Final = """\
What was taken out of this bundle, by file. Nothing of any process is in it: no command line and no
environment. In it are this host's name, addresses of the backend and the API server, and names of
services that figures and errors tell of: look through it before you give it away.

"""


def texts(loaded: Loaded, report: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Gather the texts by file name; return them without secrets, and what was taken out.

    Args:
        loaded: the agent's configuration.
        report: the doctor's own.
    """
    settings = rows(loaded)
    removed = [f"config.json: {row.path}" for row in settings if row.value == MASK]
    raw = {
        "doctor.json": json.dumps(report, indent=1),
        "config.json": json.dumps(
            {row.path: {"value": row.value, "origin": str(row.origin)} for row in settings},
            indent=1,
        ),
        "status.json": _asked(loaded, "/status"),
        "metrics.txt": _asked(loaded, "/metrics"),
        "host.txt": _host(),
    }
    token = loaded.settings.core.backend.authentication
    clean = {}
    for name, text in raw.items():
        lines, taken = _clean(text[:MOST], token)
        clean[name] = lines
        removed += [f"{name}: line {number}" for number in taken]
    return clean, removed


def write(path: Path, contents: Mapping[str, str], removed: list[str]) -> None:
    """Write a bundle that its owner alone may read.

    Raises:
        RoverError: it cannot be written, or is there already.
    """
    listed = "\n".join(removed) if removed else "nothing"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RoverError(f"cannot write {path}: {error.strerror}; name another file") from error
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
        for name, text in {**contents, "REMOVED.txt": f"{NOTE}{listed}\n"}.items():
            content = text.encode(errors="replace")
            entry = tarfile.TarInfo(f"rover-bundle/{name}")
            entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
            bundle.addfile(entry, io.BytesIO(content))


def _clean(text: str, token: str) -> tuple[str, list[int]]:
    """Take secrets out of a text; return it with the numbers of the lines that were changed."""
    lines, taken = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        known = line.replace(token, "***") if token else line
        clean = without_secrets(known)
        if clean != line:
            taken.append(number)
        lines.append(clean)
    return "\n".join(lines) + "\n", taken


def _asked(loaded: Loaded, target: str) -> str:
    try:
        return ask(loaded.settings.core.state_dir, target).body.decode(errors="replace")
    except RoverError as error:
        return f"{error}\n"


def _host() -> str:
    told = [f"{platform.platform()}\npython {platform.python_version()}\n"]
    for name in HOST_FILES:
        try:
            told.append(f"\n# /{name}\n{(Path('/') / name).read_text(errors='replace')}")
        except OSError as error:
            told.append(f"\n# /{name}: {error.strerror}\n")
    return "".join(told)

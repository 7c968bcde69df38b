"""The section of docs/machines.md on the real node."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from machines.node.components import kubernetes_version

BEGIN, END = "<!-- a real node -->\n", "<!-- end of a real node -->\n"
SECTION: Final = """## A real node

Made by `make node` ({date}), in {minutes:.0f} minutes: Kubernetes {kubernetes}, {containerd} and
{runc} of Debian, Linux {kernel}; the image by deploy/Dockerfile's steps, `deploy/` applied as
[kubernetes.md](kubernetes.md) says, without `SYS_RESOURCE` where the host's root has not got it.
The node is no machine of its own: it has its own namespaces for mounts and network and its own part
of the host's cgroups. Other work was running there, so times are upper bounds. "Restarted" means
that every container and the runtime was killed at once, the kernel going on.

Each workload has a namespace of its own, and all were made at once. "ok" means that the backend had
exactly the processes named, with their services, instances, layer and label, and no other. The time
from a process's start holds the wait for the API to say whose its container is; the time from the
API's word, or from the start where that is later, is the agent's own, against a watch beside it.
Both are the longest of the row, of processes that were still there when they were looked at.

| workload | expected | got | from its start | from the API's word |
|---|---|---|---|---|
{workloads}

| claim | got |
|---|---|
{claims}

"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one row came to."""

    name: str
    result: str
    expected: str | None
    """None for what is no workload."""
    from_start: float | None
    from_word: float | None

    @classmethod
    def of(cls, said: dict[str, Any]) -> Finding:
        """Read one line of what the node said."""
        times = (said.get("from_start"), said.get("from_word"))
        return cls(said["row"], said["result"], said.get("expected"), *times)

    @property
    def right(self) -> bool:
        """Whether its claim held."""
        return self.result[:2] == "ok"


def replace_section(document: str, findings: Iterable[Finding], seconds: float) -> str:
    """Return docs/machines.md with this run's section in the place of the last one's."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    section = SECTION.format(
        date=time.strftime("%Y-%m-%d"),
        minutes=seconds / 60,
        kubernetes=kubernetes_version(),
        containerd=_version("containerd"),
        runc=_version("runc"),
        kernel=os.uname().release,
        workloads="\n".join(_workload(each) for each in findings if each.expected is not None),
        claims="\n".join(
            f"| {each.name} | {_cell(each.result)} |" for each in findings if each.expected is None
        ),
    )
    return f"{before.rstrip()}\n\n{BEGIN}{section}{END}{after}"


def section_of(document: str) -> str:
    """Return the section with its marks as docs/machines.md has it; empty where it has none."""
    _, mark, rest = document.partition(BEGIN)
    section, end, _ = rest.partition(END)
    return mark + section + end if end else ""


def _workload(each: Finding) -> str:
    times = " | ".join(_milliseconds(seconds) for seconds in (each.from_start, each.from_word))
    return f"| {each.name} | {each.expected} | {_cell(each.result)} | {times} |"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"


def _cell(result: str) -> str:
    return result.replace("|", "/").replace("\n", " ")


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout)
    return f"{program} {found[0] if found else '?'}"

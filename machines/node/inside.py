"""The node's run, in its own namespaces: ``python -m machines.node.inside FOLDER COMPONENTS ...``.

Says what it found a JSON object a line, as `machines.inside` does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from machines.attaching import eventually
from machines.node.comparison import Delay, compare, delay, of_the_runtime, rows_of, slowest
from machines.node.faults import BEAT, BY_HELM, FAULTS, LONG, Site, make_namespace
from machines.node.node import BACKEND_PORT, Node, agents_log, deploy
from machines.node.place import ADDRESS, Place
from machines.node.word import Word
from machines.node.workloads import WORKLOADS, Object, Workload, service
from rover.backend import BackendOptions, EmbeddedBackend, StoredProcess

SETTLED: Final = 10.0
"""Seconds in which what is too much would have come."""


def main() -> None:
    """Run what is named, or all; a row that fails stops no other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scratch", type=Path)
    parser.add_argument("components", type=Path)
    parser.add_argument("findings", type=Path)
    parser.add_argument("--archive", type=Path, action="append", required=True)
    parser.add_argument("rows", nargs="*")
    asked = parser.parse_args()
    place = Place(asked.scratch, asked.components)

    def say(**fields: object) -> None:
        line = json.dumps(fields)
        with asked.findings.open("a") as findings:
            findings.write(line + "\n")
        print(line, flush=True)

    def wanted(name: str) -> bool:
        return not asked.rows or name.replace(" ", "_") in asked.rows

    workloads = [each for each in WORKLOADS if wanted(each.name)]
    faults = [name for name in FAULTS if wanted(name)]
    if not shutil.which("helm") and BY_HELM in faults:
        print("helm is not installed: the chart is not tried", flush=True)
        faults.remove(BY_HELM)
    began = time.monotonic()
    say(kernel=os.uname().release, planned=[*(each.name for each in workloads), *faults])
    options = BackendOptions(host=ADDRESS, port=BACKEND_PORT)
    with Node(place, asked.archive) as node, EmbeddedBackend(options) as backend:
        say(row="the node ready", result="ok", seconds=round(time.monotonic() - began, 1))
        deploy(node, {"ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD": f"{BEAT:g}s"})
        way = eventually(lambda: _word(agents_log(node), "ebpf="), "how eBPF is attached")
        say(
            row="the agent deployed",
            result=f"ok, {way}",
            seconds=round(time.monotonic() - began, 1),
        )
        site = Site(node, backend)
        with Word(node.kubectl) as word:
            for workload, result, slow in run_workloads(site, workloads, word):
                say(row=workload.name, result=result, expected=_expected(workload),
                    from_start=slow.from_start, from_word=slow.from_word)  # fmt: skip
        for name in faults:
            at = time.monotonic()
            say(
                row=name,
                result=_outcome(FAULTS[name], site),
                seconds=round(time.monotonic() - at, 1),
            )
        own = of_the_runtime(backend.state.snapshot().processes)
        say(row="no process of the runtime's own", result=f"reported: {own}" if own else "ok")
        broken = backend.violations
        say(row="the protocol's rules", result=f"broken: {broken[:3]}" if broken else "ok")
        (place.logs / "agent.log").write_text(agents_log(node))


def run_workloads(
    site: Site, workloads: list[Workload], word: Word
) -> list[tuple[Workload, str, Delay]]:
    """Have all workloads run at once; return what became of each."""
    for workload in workloads:
        make_namespace(site.node, workload.namespace)
    for workload in workloads:
        _ask_for(site.node, workload)
    refused = {each.name: _do_then(site.node, each) for each in workloads}
    measured: dict[str, Delay] = {}

    def all_there() -> bool:
        rows = site.backend.state.snapshot().processes
        for workload in workloads:
            if workload.name not in measured and not compare(workload, rows)[0]:
                delays = [delay(row, word) for row in rows_of(rows, workload.namespace)]
                measured[workload.name] = slowest(delays)
        return len(measured) == len(workloads)

    with contextlib.suppress(TimeoutError):  # each row says what is missing
        eventually(all_there, "every workload at the backend", LONG)
    time.sleep(SETTLED)
    rows = site.backend.state.snapshot().processes
    return [
        (each, _result(each, rows, refused[each.name]), measured.get(each.name, Delay(None, None)))
        for each in workloads
    ]


def _ask_for(node: Node, workload: Workload) -> None:
    items = [service()] * workload.service + list(workload.objects)
    placed: list[Object] = [
        {**each, "metadata": {**each["metadata"], "namespace": workload.namespace}}
        for each in items
    ]
    if workload.static:
        (manifest,) = (each for each in placed if each["kind"] == "Pod")
        placed.remove(manifest)
        (node.runtime.static_pods / "static.json").write_text(json.dumps(manifest))
    node.kubectl.apply(placed)


def _do_then(node: Node, workload: Workload) -> str:
    """Do what a workload has done to it; return the refusal, if any."""
    try:
        if workload.then:
            workload.then(node.kubectl)
    except RuntimeError as error:
        return str(error)
    return ""


def _result(workload: Workload, rows: Iterable[StoredProcess], refused: str) -> str:
    missing, surplus = compare(workload, rows)
    wrong = [refused] if refused else []
    wrong += [f"missing {each}" for each in missing]
    wrong += [f"too much: {each}" for each in surplus]
    return "; ".join(wrong) or "ok"


def _expected(workload: Workload) -> str:
    return ", ".join(f"{each.process}" for each in workload.expected) or "nothing"


def _outcome(fault: Callable[[Site], str], site: Site) -> str:
    try:
        return fault(site) or "ok"
    except Exception as error:  # whatever it is, the row says it
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"[:500]


def _word(text: str, beginning: str) -> str:
    return next((word for word in text.split() if word.startswith(beginning)), "")


if __name__ == "__main__":
    main()

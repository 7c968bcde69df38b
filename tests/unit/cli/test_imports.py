"""A command imports what it needs: operators ask in loops, on hosts with other things to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

LARGE = ("grpc", "google.protobuf", "kubernetes", "prometheus_client", "psutil", "yaml", "re2",
         "http.client", "http.server", "asyncio", "rich.console", "rich.table")  # fmt: skip
LOOK = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"


@pytest.mark.parametrize(
    "command", ["status", "explain", "ps", "events", "id", "log_level", "config", "version"]
)
def test_what_asks_a_running_agent_brings_no_large_library_along(command: str):
    said = subprocess.run(
        [sys.executable, "-c", LOOK, f"rover.cli.{command}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(said.stdout.split()) & {*LARGE} == set()


UNNEEDED = {
    # by an agent until a cluster is to be asked, or a process profiled
    "rover.agent": ("kubernetes", "rover.k8s.cluster", "rover.k8s.index", "rover.naming.pods",
                    "rover.profiling.profiler", "rover.profiling.sampling", "rover.binaries.child",
                    "rich", "click", "bcc"),
    # by a command that looks at the host itself
    "rover.cli.scan": ("grpc", "rover.agent", "rover.reporter.reporter", "kubernetes"),
    # by the first of the two starts of an agent
    "rover.console": ("click", "rover.cli", "rover.config", "rover.probes", "subprocess"),
}  # fmt: skip


@pytest.mark.parametrize("module", UNNEEDED)
def test_what_is_not_needed_to_start_is_not_imported(module: str):
    said = subprocess.run(
        [sys.executable, "-c", LOOK, module], capture_output=True, text=True, check=True
    )
    assert set(said.stdout.split()) & {*UNNEEDED[module]} == set()

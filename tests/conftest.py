"""Fixtures that every room's tests share."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kernel import KernelTests, obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["pytester"]

# a busy machine makes no claim false
hypothesis.settings.register_profile("rover", deadline=None)
hypothesis.settings.load_profile("rover")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(KernelTests(obstacle()), "kernel-tests")


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start programs that are ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(arguments, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Wait until a condition gives something true, and return it."""

    def wait(condition: Callable[[], object], within: float = 5.0) -> object:
        deadline = time.monotonic() + within
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within:g} s; last seen: {value!r}")
            time.sleep(0.01)

    return wait

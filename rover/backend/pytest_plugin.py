"""Fixtures for tests of SkyWalking eBPF agents, this project's or any other.

Installed with the package as a pytest plugin; docs/testing-with-the-backend.md shows their use.
gRPC is imported by the first test that asks for a backend, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.backend import BackendOptions, EmbeddedBackend, Faults, Profiling

VIOLATIONS_SHOWN: Final = 20


@pytest.fixture
def skywalking_backend_options() -> BackendOptions:
    """How ``skywalking_backend`` is made; override it to require a token, TLS or a port."""
    from rover.backend import BackendOptions  # noqa: PLC0415  imported where it is first used

    return BackendOptions()


@pytest.fixture
def skywalking_backend(skywalking_backend_options: BackendOptions) -> Iterator[EmbeddedBackend]:
    """A SkyWalking backend of the test's own, on a free port of 127.0.0.1."""
    from rover.backend import EmbeddedBackend  # noqa: PLC0415  imported where it is first used

    with EmbeddedBackend(skywalking_backend_options) as backend:
        yield backend


@pytest.fixture
def skywalking_faults(skywalking_backend: EmbeddedBackend) -> Iterator[Faults]:
    """The faults of ``skywalking_backend``, all cleared when the test ends.

    An agent that is torn down afterwards so finds its backend well and can say goodbye.
    """
    yield skywalking_backend.faults
    skywalking_backend.faults.clear()


@pytest.fixture
def skywalking_profiling(skywalking_backend: EmbeddedBackend) -> Profiling:
    """The profiling tasks of ``skywalking_backend``, and the profiles that agents send."""
    return skywalking_backend.profiling


@pytest.fixture
def strict_skywalking_backend(skywalking_backend: EmbeddedBackend) -> Iterator[EmbeddedBackend]:
    """The test's backend, which fails the test if a rule of the protocol was broken."""
    yield skywalking_backend
    held = skywalking_backend.state.snapshot()
    if held.violations_total:
        shown = [f"- {violation}" for violation in held.violations[:VIOLATIONS_SHOWN]]
        more = held.violations_total - len(shown)
        if more:
            shown.append(f"- and {more} more")
        pytest.fail(
            "\n".join([f"{held.violations_total} rules of the protocol were broken:", *shown]),
            pytrace=False,
        )

"""The child that says whether executables name their functions is there while it is asked."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from reporter_rig import process

from rover.profiling import support
from rover.profiling.support import Supports


@pytest.fixture
def supports(monkeypatch):
    monkeypatch.setattr(support, "IDLE_S", 0.5)
    made = Supports()
    yield made
    made.close()


def child(supports):
    return supports._reader.pid


def test_it_ends_when_nobody_asks_and_comes_back_for_the_next_question(supports, eventually):
    me = process(os.getpid())
    first = supports.supports_profiling(me)
    known = child(supports)
    assert psutil.pid_exists(known)
    eventually(lambda: child(supports) is None)
    eventually(lambda: not Path(f"/proc/{known}").exists())
    assert supports.supports_profiling(me) is first
    assert child(supports) not in {None, known}


def test_after_the_end_none_is_left(supports):
    supports.supports_profiling(process(os.getpid()))
    known = child(supports)
    supports.close()
    assert not psutil.pid_exists(known)

"""The child that says whether executables name their functions is there while it is asked."""

from __future__ import annotations

import os
from dataclasses import replace
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
    first = supports.supports_profiling([me])[0]
    known = child(supports)
    assert psutil.pid_exists(known)
    eventually(lambda: child(supports) is None)
    eventually(lambda: not Path(f"/proc/{known}").exists())
    other = replace(me, exe="/usr/bin/other")
    assert supports.supports_profiling([other])[0] is first
    assert child(supports) not in {None, known}


def test_of_an_executable_that_is_known_nobody_is_asked_until_it_may_have_changed(
    supports, eventually, monkeypatch
):
    me = process(os.getpid())
    first = supports.supports_profiling([me])[0]
    eventually(lambda: child(supports) is None)
    assert supports.supports_profiling([replace(me, key=me.key._replace(pid=1))])[0] is first
    assert child(supports) is None
    monkeypatch.setattr(support, "KEPT_S", 0.0)
    assert supports.supports_profiling([me])[0] is first
    assert child(supports) is not None


def test_where_profiling_is_turned_off_nothing_can_be_profiled_and_nobody_is_asked():
    inactive = Supports(active=False)
    assert not inactive.supports_profiling([process(os.getpid())])[0]
    assert child(inactive) is None
    inactive.close()


def test_after_the_end_none_is_left(supports):
    supports.supports_profiling([process(os.getpid())])
    known = child(supports)
    supports.close()
    assert not psutil.pid_exists(known)

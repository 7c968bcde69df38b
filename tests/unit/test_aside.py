"""Work done aside comes to whoever waits for it as it came to its thread."""

from __future__ import annotations

import threading

import pytest

from rover.aside import begun


def test_a_result_and_an_error_are_those_of_the_work():
    assert begun(lambda: threading.current_thread().name, "worker").result(10) == "worker"
    with pytest.raises(ZeroDivisionError):
        begun(lambda: 1 // 0, "worker").result(10)

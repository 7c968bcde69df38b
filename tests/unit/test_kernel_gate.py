"""The gate that keeps kernel tests from being skipped unseen."""

from __future__ import annotations

import pytest
from kernel import KernelTests, needs

SKIPPING = """
import pytest

@pytest.mark.kernel
def test_of_the_kernel():
    pytest.skip("no mood for it")
"""

LACKING = """
import pytest
from kernel import needs

@pytest.mark.kernel
@needs("no-such-tool", "sh")
def test_of_the_kernel():
    pass
"""

PASSING = """
import pytest

@pytest.mark.kernel
def test_of_the_kernel():
    pass
"""


@pytest.fixture(autouse=True)
def bare_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, source: str, reason: str | None) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers = kernel: needs eBPF")
    pytester.makepyfile(source)
    return pytester.inline_run(plugins=[KernelTests(reason)])


def test_a_kernel_test_skipped_on_a_capable_machine_fails_the_run(pytester: pytest.Pytester):
    assert run(pytester, SKIPPING, None).ret == pytest.ExitCode.TESTS_FAILED


def test_a_kernel_test_skipped_for_want_of_a_tool_does_not(pytester: pytest.Pytester):
    result = run(pytester, LACKING, None)
    assert result.ret == pytest.ExitCode.OK
    assert needs("no-such-tool", "sh").kwargs["reason"] == "not installed: no-such-tool"


def test_a_kernel_test_that_runs_passes_the_run(pytester: pytest.Pytester):
    assert run(pytester, PASSING, None).ret == pytest.ExitCode.OK


def test_kernel_tests_are_skipped_where_the_machine_cannot_run_them(pytester: pytest.Pytester):
    result = run(pytester, PASSING, "not root")
    passed, skipped, failed = result.listoutcomes()
    assert (len(passed), len(skipped), len(failed)) == (0, 1, 0)
    assert result.ret == pytest.ExitCode.OK

"""The pytest plugin in runs of its own, as another project's tests use it."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

AGENT = """
import grpc
import pytest

from rover._proto.ebpf.profiling import Process_pb2 as pb
from rover._proto.service import EBPFProcessServiceStub
from rover.backend import BackendOptions


def speak(backend, agent="agent-1", pid=1):
    entity = pb.EBPFProcessEntityMetadata(
        layer="OS_LINUX", serviceName="s", instanceName="i", processName="p"
    )
    item = pb.EBPFProcessProperties(hostProcess=pb.EBPFHostProcessMetadata(entity=entity, pid=pid))
    request = pb.EBPFProcessReportList(processes=[item], ebpfAgentID=agent)
    with grpc.insecure_channel(backend.address) as channel:
        EBPFProcessServiceStub(channel).reportProcesses(request, timeout=5)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test file in a process of its own, with this plugin alone and warnings as errors."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def running(source):
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-W", "error", "-p", "skywalking-backend")

    return running


def test_the_package_brings_the_plugin_along():
    (entry,) = (one for one in entry_points(group="pytest11") if one.name == "skywalking-backend")
    assert entry.value == "rover.backend.pytest_plugin"


def test_a_run_that_uses_no_backend_imports_nothing_heavy(run):
    done = run(
        """
        import sys

        def test_modules():
            loaded = {name.partition(".")[0] for name in sys.modules}
            assert "rover" in loaded
            assert not loaded & {"grpc", "google", "click", "rich", "kubernetes", "yaml", "psutil"}
        """
    )
    done.assert_outcomes(passed=1)


def test_a_backend_takes_reports_and_is_new_for_each_test(run):
    done = run(
        AGENT
        + """
def test_one(skywalking_backend):
    speak(skywalking_backend)
    skywalking_backend.state.wait_for(lambda held: held.find(process="p", pid=1))


def test_two(skywalking_backend):
    assert skywalking_backend.state.snapshot().processes == ()
"""
    )
    done.assert_outcomes(passed=2)


def test_options_are_overridden_by_a_fixture_of_the_same_name(run):
    done = run(
        AGENT
        + """
@pytest.fixture
def skywalking_backend_options():
    return BackendOptions(token="t")


def test_token(skywalking_backend):
    with pytest.raises(grpc.RpcError):
        speak(skywalking_backend)
"""
    )
    done.assert_outcomes(passed=1)


def test_faults_are_cleared_before_agents_are_torn_down(run):
    done = run(
        AGENT
        + """
@pytest.fixture
def agent(skywalking_backend):
    yield
    speak(skywalking_backend)


def test_refused(agent, skywalking_faults, skywalking_backend):
    skywalking_faults.refuse()
    with pytest.raises(grpc.RpcError):
        speak(skywalking_backend)
"""
    )
    done.assert_outcomes(passed=1)


def test_a_strict_backend_fails_the_test_of_an_agent_that_breaks_a_rule(run):
    done = run(
        AGENT
        + """
def test_good(strict_skywalking_backend):
    speak(strict_skywalking_backend)


def test_bad(strict_skywalking_backend):
    speak(strict_skywalking_backend, agent="")
"""
    )
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(
        ["1 rules of the protocol were broken:", "- AGENT_ID_MISSING: *(reportProcesses)"]
    )

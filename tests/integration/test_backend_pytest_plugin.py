"""The pytest plugin in runs of its own, as another project's tests use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from rover.backend import Rule
from rover.backend.faults import KINDS

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
    # channels share what they know of an address otherwise, and so the pause after its refusal
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(backend.address, options) as channel:
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


DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "testing-with-the-backend.md"
"""Its blocks of Python are taken as they stand."""

MY_AGENT = f"""#!{sys.executable}
import signal
import sys
import threading

import grpc

from rover._proto.common.Common_pb2 import KeyStringValuePair
from rover._proto.ebpf.profiling import Process_pb2 as pb
from rover._proto.service import EBPFProcessServiceStub

ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
entity = pb.EBPFProcessEntityMetadata(
    layer="OS_LINUX", serviceName="s", instanceName="i", processName="nginx"
)
host = pb.EBPFHostProcessMetadata(
    entity=entity, pid=42, properties=[KeyStringValuePair(key="host_ip", value="10.0.0.1")]
)
report = pb.EBPFProcessReportList(
    processes=[pb.EBPFProcessProperties(hostProcess=host)], ebpfAgentID="my-agent"
)
beat = pb.EBPFProcessPingPkgList(
    processes=[pb.EBPFProcessPingPkg(entityMetadata=entity)], ebpfAgentID="my-agent"
)
options = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100))
with grpc.insecure_channel(sys.argv[2], options=options) as channel:
    stub = EBPFProcessServiceStub(channel)
    while not ended.wait(0.05):
        try:
            stub.reportProcesses(report, timeout=1)
            stub.keepAlive(beat, timeout=1)
        except grpc.RpcError:
            pass
"""


def documented():
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_the_documented_tests_pass_with_an_agent_that_is_not_ours(run, tmp_path, monkeypatch):
    agent = tmp_path / "my-agent"
    agent.write_text(MY_AGENT, encoding="utf-8")
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tests = next(block for block in documented() if "test_an_outage_is_healed" in block)
    run(tests).assert_outcomes(passed=2)


def test_the_other_documented_lines_run():
    backend_made = next(block for block in documented() if "with EmbeddedBackend(" in block)
    commands = next(block for block in documented() if "backend.command(" in block)
    options = next(block for block in documented() if "def skywalking_backend_options" in block)
    indented = textwrap.indent(commands, "    ")
    script = f"import pytest\n{options}\n{backend_made}\n{indented}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_fault_and_rule_is_documented():
    text = DOCUMENT.read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))
    assert {*KINDS, *(rule.name for rule in Rule)} <= named

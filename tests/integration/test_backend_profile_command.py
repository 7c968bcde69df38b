"""`rover backend profile` as a user runs it, against a backend with stacks that were made up."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import grpc
import pytest
from backend_wire import AGENT, beat, host, ping, report

from rover._proto.ebpf.profiling import Profile_pb2 as pb
from rover._proto.service import EBPFProcessServiceStub, EBPFProfilingServiceStub
from rover.backend import BackendOptions, EmbeddedBackend
from rover.cli.backend_profile import drawn, folded

COMMAND = (sys.executable, "-W", "error", "-c", "from rover.cli import main; main()", "backend")


@pytest.fixture
def backend():
    with EmbeddedBackend(BackendOptions(control_port=0)) as running:
        yield running


def run(backend, *options, port=None):
    port = port or backend.control_address.partition(":")[2]
    return subprocess.run(
        (*COMMAND, "profile", "--control", port, *options),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def agent(backend):
    """Report a process, and answer the first task that comes with so many stacks."""
    stop = threading.Event()

    def work():
        with grpc.insecure_channel(backend.address) as channel:
            processes = EBPFProcessServiceStub(channel)
            yes = {"support_ebpf_profiling": "true"}
            processes.reportProcesses(report(host("shop", 7, yes)), timeout=5)
            processes.keepAlive(beat(ping("shop")), timeout=5)
            ready.set()
            stub = EBPFProfilingServiceStub(channel)
            query = pb.EBPFProfilingTaskQuery(roverInstanceId=AGENT)
            while not (commands := stub.queryTasks(query, timeout=5).commands):
                if stop.wait(0.05):
                    return
            args = {pair.key: pair.value for pair in commands[0].args}
            end = int(args["TaskStartTime"]) + 1000 * int(args["FixedTriggerDuration"])
            task = pb.EBPFProfilingTaskMetadata(
                taskId=args["TaskId"], processId=args["ProcessId"], currentTime=end
            )
            stub.collectProfilingData(map(pb.EBPFProfilingData.FromString, made(args, task)))

    def made(args, task):
        stacks = [(("hot", "main"), 7, 9_000), (("cold", "main"), 3, 1_000)]
        for number, (symbols, count, ns) in enumerate(stacks):
            stack = pb.EBPFProfilingStackMetadata(
                stackType=pb.PROCESS_USER_SPACE, stackId=number, stackSymbols=symbols
            )
            data = pb.EBPFProfilingData(task=None if number else task)
            if args["TargetType"] == "ON_CPU":
                data.onCPU.CopyFrom(pb.EBPFOnCPUProfiling(stacks=[stack], dumpCount=count))
            else:
                data.offCPU.CopyFrom(
                    pb.EBPFOffCPUProfiling(stacks=[stack], switchCount=count, duration=ns)
                )
            yield data.SerializeToString()

    ready = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    yield
    stop.set()
    thread.join(10)


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("process", ["shop", "7"])
def test_the_tree_of_a_process_is_drawn_when_its_task_is_over(backend, process):
    done = run(backend, process, "--seconds", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ON_CPU: 10 dumps",
        "└─ 100.0%  main",
        "   ├─  70.0%  hot",
        "   └─  30.0%  cold",
    ]


@pytest.mark.usefixtures("agent")
def test_time_off_the_cpu_has_its_shares_by_time(backend):
    done = run(backend, "shop", "--seconds", "1", "--off-cpu", "--least", "20")
    assert done.stdout.splitlines() == [
        "OFF_CPU: 10 switches, 0.000 s off the CPU",
        "└─ 100.0%  main",
        "   └─  90.0%  hot",
    ]


@pytest.mark.usefixtures("agent")
def test_collapsed_stacks_and_json_are_for_other_programs(backend):
    done = run(backend, "shop", "--seconds", "1", "-o", "folded")
    assert done.stdout == "main;hot 7\nmain;cold 3\n"
    (task,) = backend.profiling.tasks
    assert json.loads(json.dumps(backend.profiling.profile(task.id).as_dict()))["count"] == 10


@pytest.mark.usefixtures("agent")
def test_a_process_that_nobody_reports_is_an_error(backend):
    done = run(backend, "nobody")
    assert (done.returncode, "no processes here are process 'nobody'" in done.stderr) == (2, True)


def test_without_a_backend_it_says_how_to_start_one(backend):
    done = run(backend, "shop", port="1")
    assert done.returncode == 1
    assert "start one with --control 1" in done.stderr


def node(symbol, count, *children, kernel=False, own=0):
    return {
        "symbol": symbol,
        "kernel": kernel,
        "count": count,
        "ns": 0,
        "own_count": own,
        "own_ns": 0,
        "children": list(children),
    }


def test_a_chain_of_calls_takes_no_width():
    leaf = node("read", 4, own=4, kernel=True)
    found = {
        "task": {"target": "ON_CPU"},
        "count": 4,
        "ns": 0,
        "roots": [node("a", 4, node("b", 4, node("c\x1b;", 4, leaf)))],
    }
    assert list(drawn(found, 1)) == [
        "ON_CPU: 4 dumps",
        "└─ 100.0%  a",
        "   100.0%  b",
        "   100.0%  c\ufffd;",
        "   100.0%  read [kernel]",
    ]
    assert list(folded(found["roots"], by_time=False)) == ["a;b;c\ufffd:;read [kernel] 4"]

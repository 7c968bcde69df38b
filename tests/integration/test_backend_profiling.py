"""The embedded backend's EBPFProfilingService over real connections, as an agent meets it."""

from __future__ import annotations

import http.client
import json
import time

import grpc
import pytest
from backend_wire import AGENT, beat, failure, host, ping, report

from rover._proto.ebpf.profiling import Profile_pb2 as pb
from rover._proto.service import EBPFProcessServiceStub, EBPFProfilingServiceStub
from rover.backend import BackendOptions, EmbeddedBackend, Frame, Rule
from rover.errors import ConfigError

YES = {"support_ebpf_profiling": "true"}


@pytest.fixture
def backend():
    with EmbeddedBackend(BackendOptions(control_port=0)) as running:
        yield running


@pytest.fixture
def channel(backend):
    with grpc.insecure_channel(backend.address) as opened:
        yield opened


@pytest.fixture
def stub(channel):
    return EBPFProfilingServiceStub(channel)


@pytest.fixture
def known(channel):
    """Report processes, and give their ids by name."""

    def tell(*items):
        processes = EBPFProcessServiceStub(channel)
        answer = processes.reportProcesses(report(*items), timeout=5)
        processes.keepAlive(
            beat(
                *(
                    ping(item.hostProcess.entity.processName, labels=item.hostProcess.entity.labels)
                    for item in items
                )
            ),
            timeout=5,
        )
        return {
            each.hostProcess.entityMetadata.processName: each.processId for each in answer.processes
        }

    return tell


def commands(stub, latest=0, agent=AGENT):
    asked = pb.EBPFProfilingTaskQuery(roverInstanceId=agent, latestUpdateTime=latest)
    return [
        {pair.key: pair.value for pair in command.args}
        for command in stub.queryTasks(asked, timeout=5).commands
    ]


def side(kind, number, *symbols):
    return pb.EBPFProfilingStackMetadata(stackType=kind, stackId=number, stackSymbols=symbols)


def user(number, *symbols):
    return side(pb.PROCESS_USER_SPACE, number, *symbols)


def kernel(number, *symbols):
    return side(pb.PROCESS_KERNEL_SPACE, number, *symbols)


def task_of(task, process_id, at=2_000):
    return pb.EBPFProfilingTaskMetadata(
        taskId=task.id, processId=process_id, profilingStartTime=1_000, currentTime=at
    )


def on_cpu(count, *stacks, task=None):
    return pb.EBPFProfilingData(
        task=task, onCPU=pb.EBPFOnCPUProfiling(stacks=stacks, dumpCount=count)
    )


def off_cpu(count, ns, *stacks, task=None):
    return pb.EBPFProfilingData(
        task=task,
        offCPU=pb.EBPFOffCPUProfiling(stacks=stacks, switchCount=count, duration=ns),
    )


def send(stub, *messages):
    return stub.collectProfilingData(iter(messages), timeout=5)


def test_a_task_is_given_to_the_agent_of_its_process_once_it_changed(backend, stub, known):
    ids = known(host("shop", 7, YES))
    task = backend.profiling.create_task("ON_CPU", 60, service="s")
    (args,) = commands(stub)
    assert list(args) == [
        "SerialNumber",
        "TaskId",
        "ProcessId",
        "TaskUpdateTime",
        "TriggerType",
        "TargetType",
        "TaskStartTime",
        "ExtensionConfigJSON",
        "FixedTriggerDuration",
    ]
    assert (args["TaskId"], args["ProcessId"]) == (task.id, ids["shop"])
    assert (args["TriggerType"], args["TargetType"]) == ("FIXED_TIME", "ON_CPU")
    assert (args["TaskStartTime"], args["FixedTriggerDuration"]) == (str(task.start), "60")
    assert commands(stub, latest=int(args["TaskUpdateTime"])) == []
    assert len(commands(stub, latest=int(args["TaskUpdateTime"]) - 1)) == 1
    assert commands(stub, agent="another") == []


def test_a_task_of_a_service_has_a_command_for_each_process_with_its_labels(backend, stub, known):
    ids = known(
        host("a", 1, YES, labels=["web"]), host("b", 2, YES, labels=["web"]), host("c", 3, YES)
    )
    backend.profiling.create_task("ON_CPU", 60, service="s", labels=["web"])
    assert {args["ProcessId"] for args in commands(stub)} == {ids["a"], ids["b"]}


@pytest.mark.parametrize("properties", [{}, {"support_ebpf_profiling": "false"}])
def test_a_process_whose_first_report_said_no_stays_refused(backend, known, properties):
    known(host("shop", 7, properties))
    known(host("shop", 7, YES))
    with pytest.raises(ConfigError, match="no process that supports profiling"):
        backend.profiling.create_task("ON_CPU", 60, service="s")


def test_tasks_of_one_service_and_target_do_not_overlap_unless_that_is_asked_for(backend, known):
    known(host("shop", 7, YES))
    backend.profiling.create_task("ON_CPU", 60, service="s")
    with pytest.raises(ConfigError, match="overlaps"):
        backend.profiling.create_task("ON_CPU", 60, service="s")
    backend.profiling.create_task("OFF_CPU", 60, service="s")
    backend.profiling.create_task("ON_CPU", 60, service="s", start=time.time() + 61)
    backend.profiling.create_task("ON_CPU", 60, service="s", overlapping=True)
    assert len(backend.profiling.tasks) == 4


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("NETWORK", 60, {"service": "s"}), "target is one of"),
        (("ON_CPU", 0, {"service": "s"}), "seconds are from 1"),
        (("ON_CPU", 60, {"service": "nobody"}), "no process that supports profiling"),
        (
            ("ON_CPU", 60, {"service": "s", "labels": ["none"]}),
            "no process that supports profiling",
        ),
        (("ON_CPU", 60, {"process_id": "00"}), "no process has the id"),
    ],
)
def test_a_task_that_cannot_be_is_refused(backend, known, asked, told):
    target, seconds, where = asked
    known(host("shop", 7, YES))
    with pytest.raises(ConfigError, match=told):
        backend.profiling.create_task(target, seconds, **where)


def test_stacks_of_several_flushes_add_up_to_one_tree(backend, stub, known):
    ids = known(host("shop", 7, YES))
    task = backend.profiling.create_task("ON_CPU", 60, service="s")
    for at, count in ((2_000, 5), (3_000, 7)):
        send(
            stub,
            on_cpu(count, user(1, "hot", "main"), task=task_of(task, ids["shop"], at)),
            on_cpu(1, user(2, "cold", "main"), kernel(3, "vfs_read")),
        )
    profile = backend.profiling.profile(task.id)
    assert (profile.count, profile.flushes, len(profile.schedules)) == (14, 2, 1)
    assert (profile.schedules[0].start, profile.schedules[0].end) == (1_000, 3_000)
    (main,) = profile.roots
    assert main.frame == Frame("main", kernel=False)
    assert [(node.frame.symbol, node.count) for node in main.children] == [("hot", 12), ("cold", 2)]
    assert main.children[1].children[0].frame == Frame("vfs_read", kernel=True)
    assert (profile.of("hot"), profile.of("vfs_read")) == ((12, 0), (2, 0))


def test_one_stream_carries_several_tasks(backend, stub, known):
    ids = known(host("shop", 7, YES))
    on = backend.profiling.create_task("ON_CPU", 60, service="s")
    off = backend.profiling.create_task("OFF_CPU", 60, service="s")
    send(
        stub,
        on_cpu(5, user(1, "main"), task=task_of(on, ids["shop"])),
        off_cpu(2, 1_500, user(1, "main"), task=task_of(off, ids["shop"])),
        off_cpu(3, 500, user(2, "other")),
    )
    assert backend.profiling.profile(on.id).count == 5
    assert (backend.profiling.profile(off.id).count, backend.profiling.profile(off.id).ns) == (
        5,
        2_000,
    )
    assert backend.violations == ()


def test_of_two_stacks_with_the_same_ids_in_a_flush_the_first_stays(backend, stub, known):
    ids = known(host("shop", 7, YES))
    task = backend.profiling.create_task("ON_CPU", 60, service="s")
    send(
        stub,
        on_cpu(5, user(1, "main"), task=task_of(task, ids["shop"])),
        on_cpu(7, user(1, "other")),
    )
    assert backend.profiling.profile(task.id).count == 5
    assert [violation.rule for violation in backend.violations] == [Rule.STACK_TWICE]


def test_a_flush_that_comes_a_second_time_is_stored_once(backend, stub, known):
    ids = known(host("shop", 7, YES))
    task = backend.profiling.create_task("ON_CPU", 60, service="s")
    for _ in range(2):
        send(stub, on_cpu(5, user(1, "main"), task=task_of(task, ids["shop"])))
    assert backend.profiling.profile(task.id).count == 5
    assert backend.violations == ()


def test_stacks_for_a_task_that_nobody_gave_are_a_violation(backend, stub, known):
    known(host("shop", 7, YES))
    task = pb.EBPFProfilingTaskMetadata(taskId="t", processId="p")
    send(stub, on_cpu(5, user(1, "main"), task=task))
    assert [violation.rule for violation in backend.violations] == [Rule.NO_PROFILING_TASK]


def test_a_message_without_stacks_fails_the_stream_and_what_came_before_is_stored(
    backend, stub, known
):
    ids = known(host("shop", 7, YES))
    task = backend.profiling.create_task("ON_CPU", 60, service="s")
    messages = [
        on_cpu(5, user(1, "main"), task=task_of(task, ids["shop"])),
        pb.EBPFProfilingData(),
        on_cpu(5, user(2, "main")),
    ]
    error = failure(stub.collectProfilingData, iter(messages))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert backend.profiling.profile(task.id).count == 5
    assert [violation.rule for violation in backend.violations] == [Rule.EMPTY_PROFILING]


def test_faults_strike_the_profiling_calls_too(backend, stub, known):
    ids = known(host("shop", 7, YES))
    task = backend.profiling.create_task("ON_CPU", 60, service="s")
    backend.faults.error(method="queryTasks", count=1)
    assert failure(stub.queryTasks, pb.EBPFProfilingTaskQuery()).code().name == "UNAVAILABLE"
    backend.faults.error("ABORTED", stored=True, method="collectProfilingData", count=1)
    message = on_cpu(5, user(1, "main"), task=task_of(task, ids["shop"]))
    assert failure(stub.collectProfilingData, iter([message])).code().name == "ABORTED"
    assert backend.profiling.profile(task.id).count == 5
    assert [call.code for call in backend.state.snapshot().calls[-2:]] == ["UNAVAILABLE", "ABORTED"]


def test_a_restart_without_memory_loses_tasks_and_stacks(backend, known):
    known(host("shop", 7, YES))
    task = backend.profiling.create_task("ON_CPU", 60, service="s")
    backend.restart()
    assert backend.profiling.tasks == (task,)
    backend.restart(keep_memory=False)
    assert backend.profiling.tasks == ()
    with pytest.raises(ConfigError, match="no profiling task"):
        backend.profiling.profile(task.id)


def test_waiting_for_a_profile_says_what_is_there_instead(backend, known):
    known(host("shop", 7, YES))
    task = backend.profiling.create_task("ON_CPU", 60, service="s")
    with pytest.raises(TimeoutError, match="0 samples in 0 flushes"):
        backend.profiling.wait_for(task.id, lambda profile: profile.count, timeout=0.05)


@pytest.fixture
def ask(backend):
    def asking(method, path, question=None):
        host_name, _, port = backend.control_address.partition(":")
        connection = http.client.HTTPConnection(host_name, int(port), timeout=10)
        connection.request(method, path, body=json.dumps(question or {}))
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return answer.status, told

    return asking


@pytest.mark.parametrize(
    "which", [{"service": "s"}, {"process": "shop"}, {"pid": 7}], ids=["service", "name", "pid"]
)
def test_a_task_is_created_by_a_control_call_and_its_profile_read(backend, stub, known, ask, which):
    ids = known(host("shop", 7, YES))
    status, told = ask("POST", "/profiling/tasks", {"target": "ON_CPU", "seconds": 30, **which})
    assert status == 200
    (args,) = commands(stub)
    assert (args["TaskId"], args["ProcessId"]) == (told["task"]["id"], ids["shop"])
    (task,) = backend.profiling.tasks
    send(stub, on_cpu(5, user(1, "hot", "main"), task=task_of(task, ids["shop"])))
    status, profile = ask("POST", "/profiling/profile", {"task_id": task.id})
    assert (status, profile["count"], profile["roots"][0]["symbol"]) == (200, 5, "main")
    assert ask("GET", "/profiling/tasks")[1] == {"tasks": [told["task"]]}


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ({}, "name a service"),
        ({"process": "nobody"}, "no processes here are process 'nobody'"),
        ({"service": "s", "target": "NETWORK"}, "target is one of"),
        ({"service": "s", "seconds": -1}, "seconds is a number"),
        ({"service": "s", "labels": "web"}, "labels is a list"),
        ({"service": "s", "more": 1}, "unknown: more"),
        ({"service": 1}, "service is a text"),
    ],
)
def test_a_control_call_that_makes_no_sense_is_told_why(known, ask, question, told):
    known(host("shop", 7, YES))
    status, answer = ask("POST", "/profiling/tasks", question)
    assert (status, told in answer["error"]) == (400, True)

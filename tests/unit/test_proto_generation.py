from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rover._proto.ebpf.profiling import Process_pb2

ROOT = Path(__file__).resolve().parents[2]
HAND_WRITTEN = {"__init__.py", "_pool.py", "service.py"}


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_modules_are_what_the_tools_make_now(generator):
    committed = {
        str(path.relative_to(generator.TARGET)): path.read_text(encoding="utf-8")
        for path in generator.TARGET.rglob("*.py*")
        if path.suffix in {".py", ".pyi"}
    }
    assert generator.generate(generator.SOURCE) == {
        name: text for name, text in committed.items() if name not in HAND_WRITTEN
    }


def test_a_proto_that_does_not_parse_is_refused_by_name(generator, tmp_path, capfd):
    tmp_path.joinpath("broken.proto").write_text("message {", encoding="utf-8")
    with pytest.raises(generator.CompilerError, match=r"broken\.proto"):
        generator.generate(tmp_path)
    assert "broken.proto" in capfd.readouterr().err


@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_another_skywalking_package_in_the_interpreter_does_not_clash(ours_first, implementation):
    foreign = """
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

        file = descriptor_pb2.FileDescriptorProto(
            name="{name}", package="skywalking.v3", syntax="proto3"
        )
        message = file.message_type.add(name="{message}")
        message.field.add(name="theirs", number=7, type=3, label=1)
        pool = descriptor_pool.Default()
        pool.AddSerializedFile(file.SerializeToString())
        made = message_factory.GetMessageClass(pool.FindMessageTypeByName(
            "skywalking.v3.{message}"))
        assert made(theirs=5).SerializeToString() == bytes([0x38, 5])
    """
    theirs = "".join(
        textwrap.dedent(foreign.format(name=name, message=message))
        for name, message in [
            ("common/Common.proto", "KeyStringValuePair"),
            ("common/Command.proto", "Commands"),
            ("ebpf/profiling/Process.proto", "EBPFProcessReportList"),
        ]
    )
    ours = textwrap.dedent("""
        from rover._proto.ebpf.profiling import Process_pb2
        from rover._proto.service import EBPFProcessServiceStub

        report = Process_pb2.EBPFProcessReportList(ebpfAgentID="a")
        assert report.SerializeToString() == bytes([0x12, 1, 0x61])
    """)
    script = ours + theirs + ours if ours_first else theirs + ours
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_messages_name_the_module_they_are_imported_from():
    assert Process_pb2.EBPFProcessPingPkg.__module__ == Process_pb2.__name__

# ruff: noqa: INP001  a script, not part of a package
"""Make rover/_proto from the .proto files beside this script: ``make protos``.

The modules are not protoc's own Python output. That registers every file and message in the
interpreter's default descriptor pool, where a second SkyWalking package registers the same names,
and it refuses every protobuf runtime older than the compiler. Here each module adds its serialized
file descriptor to a pool of the package's own, through protobuf's documented interface. The stubs
are protoc's, with their imports moved under rover._proto.
"""

from __future__ import annotations

import re
import sys
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import EnumDescriptorProto

SOURCE: Final = Path(__file__).resolve().parent
TARGET: Final = SOURCE.parent / "rover" / "_proto"
IMPORT_ROOT: Final = "rover._proto"
HEADER: Final = "# Made by protos/generate.py from {name}; edit that and run `make protos`.\n"
LITERAL_BYTES: Final = 20
"""Bytes of a descriptor on one line: at most 80 columns when all are escaped."""


class CompilerError(RuntimeError):
    """protoc refused a file; what it said is on standard error."""


def main() -> int:
    """Write every module in place; exit code 1 where protoc refuses a file."""
    try:
        files = generate(SOURCE)
    except CompilerError as error:
        print(error, file=sys.stderr)  # noqa: T201  a script's own output
        return 1
    for path, text in files.items():
        target = TARGET / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return 0


def generate(source: Path) -> dict[str, str]:
    """Map each generated file's path under rover/_proto to its text.

    Raises:
        CompilerError: protoc refused one of the files under ``source``.
    """
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch, "descriptors.bin")
        code = protoc.main(
            [
                "protoc",
                f"--proto_path={source}",
                f"--pyi_out={scratch}",
                f"--descriptor_set_out={descriptors}",
                *names,
            ]
        )
        if code:
            raise CompilerError(f"protoc refused {', '.join(names)} in {source}: exit code {code}")
        files = {}
        for file in FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            module = file.name.removesuffix(".proto") + "_pb2"
            files[f"{module}.py"] = module_text(file)
            stub = Path(scratch, f"{module}.pyi").read_text(encoding="utf-8")
            files[f"{module}.pyi"] = HEADER.format(name=file.name) + with_import_root(stub)
    for folder in {str(parent) for path in files for parent in Path(path).parents} - {"."}:
        files[f"{folder}/__init__.py"] = ""
    return files


def module_text(file: FileDescriptorProto) -> str:
    """Write the module that adds one file to the pool and names its messages."""
    serialized = file.SerializeToString(deterministic=True)
    literals = (
        repr(serialized[at : at + LITERAL_BYTES]) for at in range(0, len(serialized), LITERAL_BYTES)
    )
    lines = [
        HEADER.format(name=file.name),
        f"from {IMPORT_ROOT} import _pool",
        # a file can be added only after those it imports
        *map(import_line, file.dependency),
        "",
        "DESCRIPTOR = _pool.add(",
        *(f"    {literal}" for literal in literals),
        ")",
        *(
            f'{message.name} = _pool.message(DESCRIPTOR, "{message.name}", __name__)'
            for message in file.message_type
        ),
        *chain.from_iterable(map(enum_lines, file.enum_type)),
    ]
    return "\n".join(lines) + "\n"


def enum_lines(enum: EnumDescriptorProto) -> Iterator[str]:
    """Name an enum and, as protoc does, each of its values."""
    yield f'{enum.name} = _pool.enum(DESCRIPTOR, "{enum.name}")'
    for value in enum.value:
        yield f'{value.name} = {enum.name}.Value("{value.name}")'


def import_line(proto: str) -> str:
    """``common/Common.proto`` is imported as ``_Common_pb2`` from rover._proto.common."""
    folder, _, name = proto.removesuffix(".proto").replace("/", ".").rpartition(".")
    return f"from {IMPORT_ROOT}.{folder} import {name}_pb2 as _{name}_pb2"


def with_import_root(stub: str) -> str:
    """Move a stub's imports of other generated modules under rover._proto."""
    imports = re.compile(r"^from ([\w.]+) import (\w+_pb2) as", re.MULTILINE)
    return imports.sub(rf"from {IMPORT_ROOT}.\1 import \2 as", stub)


if __name__ == "__main__":
    raise SystemExit(main())

"""A descriptor pool of the package's own.

Another SkyWalking package in the interpreter registers the same file and message names in the
default pool; two definitions of one name in one pool are an error at import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.message import Message

_POOL: Final = DescriptorPool()


def add(serialized: bytes) -> FileDescriptor:
    """Register one file; those it imports must be there already."""
    return _POOL.AddSerializedFile(serialized)


def message(file: FileDescriptor, name: str, module: str) -> type[Message]:
    """Give the class of one top-level message of a file, as if ``module`` had defined it."""
    made = GetMessageClass(file.message_types_by_name[name])
    made.__module__ = module
    return made


def enum(file: FileDescriptor, name: str) -> EnumTypeWrapper:
    """Give one top-level enum of a file, as protoc's own modules do."""
    return EnumTypeWrapper(file.enum_types_by_name[name])

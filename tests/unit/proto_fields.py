"""What a message's generated code says of its fields."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor


def fields_of(descriptor: Descriptor) -> dict[int, tuple[str, str | int, bool]]:
    """Return name, type (a message by its name) and whether it is repeated, by number."""
    return {
        field.number: (
            field.name,
            field.message_type.name if field.message_type else field.type,
            field.is_repeated,
        )
        for field in descriptor.fields
    }

# Made by protos/generate.py from common/Common.proto; edit that and run `make protos`.

from rover._proto import _pool

DESCRIPTOR = _pool.add(
    b'\n\x13common/Common.prot'
    b'o\x12\rskywalking.v3"<\n\x12'
    b'KeyStringValuePair\x12\x10'
    b'\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05'
    b'value\x18\x02 \x01(\tR\x05valueb\x06'
    b'proto3'
)
KeyStringValuePair = _pool.message(DESCRIPTOR, "KeyStringValuePair", __name__)

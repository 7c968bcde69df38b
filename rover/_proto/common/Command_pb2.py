# Made by protos/generate.py from common/Command.proto; edit that and run `make protos`.

from rover._proto import _pool
from rover._proto.common import Common_pb2 as _Common_pb2

DESCRIPTOR = _pool.add(
    b'\n\x14common/Command.pro'
    b'to\x12\rskywalking.v3\x1a\x13c'
    b'ommon/Common.proto"Z'
    b'\n\x07Command\x12\x18\n\x07command'
    b'\x18\x01 \x01(\tR\x07command\x125\n\x04a'
    b'rgs\x18\x02 \x03(\x0b2!.skywalki'
    b'ng.v3.KeyStringValue'
    b'PairR\x04args">\n\x08Comman'
    b'ds\x122\n\x08commands\x18\x01 \x03(\x0b'
    b'2\x16.skywalking.v3.Com'
    b'mandR\x08commandsb\x06prot'
    b'o3'
)
Command = _pool.message(DESCRIPTOR, "Command", __name__)
Commands = _pool.message(DESCRIPTOR, "Commands", __name__)

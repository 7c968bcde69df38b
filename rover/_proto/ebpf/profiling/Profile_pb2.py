# Made by protos/generate.py from ebpf/profiling/Profile.proto; edit that and run `make protos`.

from rover._proto import _pool
from rover._proto.common import Command_pb2 as _Command_pb2

DESCRIPTOR = _pool.add(
    b'\n\x1cebpf/profiling/Pro'
    b'file.proto\x12\rskywalki'
    b'ng.v3\x1a\x14common/Comman'
    b'd.proto"n\n\x16EBPFProfi'
    b'lingTaskQuery\x12(\n\x0frov'
    b'erInstanceId\x18\x01 \x01(\tR\x0f'
    b'roverInstanceId\x12*\n\x10l'
    b'atestUpdateTime\x18\x02 \x01('
    b'\x03R\x10latestUpdateTime"'
    b'\xd7\x01\n\x11EBPFProfilingDat'
    b'a\x12<\n\x04task\x18\x01 \x01(\x0b2(.sk'
    b'ywalking.v3.EBPFProf'
    b'ilingTaskMetadataR\x04t'
    b'ask\x129\n\x05onCPU\x18\x02 \x01(\x0b2!'
    b'.skywalking.v3.EBPFO'
    b'nCPUProfilingH\x00R\x05onC'
    b'PU\x12<\n\x06offCPU\x18\x03 \x01(\x0b2"'
    b'.skywalking.v3.EBPFO'
    b'ffCPUProfilingH\x00R\x06of'
    b'fCPUB\x0b\n\tprofiling"\xa3\x01'
    b'\n\x19EBPFProfilingTaskM'
    b'etadata\x12\x16\n\x06taskId\x18\x01 '
    b'\x01(\tR\x06taskId\x12\x1c\n\tproce'
    b'ssId\x18\x02 \x01(\tR\tprocessI'
    b'd\x12.\n\x12profilingStartT'
    b'ime\x18\x03 \x01(\x03R\x12profiling'
    b'StartTime\x12 \n\x0bcurrent'
    b'Time\x18\x04 \x01(\x03R\x0bcurrentT'
    b'ime"\x9f\x01\n\x1aEBPFProfilin'
    b'gStackMetadata\x12C\n\tst'
    b'ackType\x18\x01 \x01(\x0e2%.skyw'
    b'alking.v3.EBPFProfil'
    b'ingStackTypeR\tstackT'
    b'ype\x12\x18\n\x07stackId\x18\x02 \x01(\x05'
    b'R\x07stackId\x12"\n\x0cstackSy'
    b'mbols\x18\x03 \x03(\tR\x0cstackSy'
    b'mbols"u\n\x12EBPFOnCPUPr'
    b'ofiling\x12A\n\x06stacks\x18\x01 '
    b'\x03(\x0b2).skywalking.v3.'
    b'EBPFProfilingStackMe'
    b'tadataR\x06stacks\x12\x1c\n\tdu'
    b'mpCount\x18\x02 \x01(\x05R\tdumpC'
    b'ount"\x96\x01\n\x13EBPFOffCPUP'
    b'rofiling\x12A\n\x06stacks\x18\x01'
    b' \x03(\x0b2).skywalking.v3'
    b'.EBPFProfilingStackM'
    b'etadataR\x06stacks\x12 \n\x0bs'
    b'witchCount\x18\x02 \x01(\x05R\x0bsw'
    b'itchCount\x12\x1a\n\x08duratio'
    b'n\x18\x03 \x01(\x03R\x08duration*J\n'
    b'\x16EBPFProfilingStackT'
    b'ype\x12\x18\n\x14PROCESS_KERNE'
    b'L_SPACE\x10\x00\x12\x16\n\x12PROCESS'
    b'_USER_SPACE\x10\x012\xbd\x01\n\x14EB'
    b'PFProfilingService\x12N'
    b'\n\nqueryTasks\x12%.skywa'
    b'lking.v3.EBPFProfili'
    b'ngTaskQuery\x1a\x17.skywal'
    b'king.v3.Commands"\x00\x12U'
    b'\n\x14collectProfilingDa'
    b'ta\x12 .skywalking.v3.E'
    b'BPFProfilingData\x1a\x17.s'
    b'kywalking.v3.Command'
    b's"\x00(\x01b\x06proto3'
)
EBPFProfilingTaskQuery = _pool.message(DESCRIPTOR, "EBPFProfilingTaskQuery", __name__)
EBPFProfilingData = _pool.message(DESCRIPTOR, "EBPFProfilingData", __name__)
EBPFProfilingTaskMetadata = _pool.message(DESCRIPTOR, "EBPFProfilingTaskMetadata", __name__)
EBPFProfilingStackMetadata = _pool.message(DESCRIPTOR, "EBPFProfilingStackMetadata", __name__)
EBPFOnCPUProfiling = _pool.message(DESCRIPTOR, "EBPFOnCPUProfiling", __name__)
EBPFOffCPUProfiling = _pool.message(DESCRIPTOR, "EBPFOffCPUProfiling", __name__)
EBPFProfilingStackType = _pool.enum(DESCRIPTOR, "EBPFProfilingStackType")
PROCESS_KERNEL_SPACE = EBPFProfilingStackType.Value("PROCESS_KERNEL_SPACE")
PROCESS_USER_SPACE = EBPFProfilingStackType.Value("PROCESS_USER_SPACE")

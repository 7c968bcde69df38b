# Made by protos/generate.py from ebpf/profiling/Continuous.proto; edit that and run `make protos`.

from rover._proto import _pool
from rover._proto.common import Command_pb2 as _Command_pb2

DESCRIPTOR = _pool.add(
    b'\n\x1febpf/profiling/Con'
    b'tinuous.proto\x12\rskywa'
    b'lking.v3\x1a\x14common/Com'
    b'mand.proto"r\n\x1eContin'
    b'uousProfilingPolicyQ'
    b'uery\x12P\n\x08policies\x18\x01 \x03'
    b'(\x0b24.skywalking.v3.C'
    b'ontinuousProfilingSe'
    b'rvicePolicyQueryR\x08po'
    b'licies"]\n%Continuous'
    b'ProfilingServicePoli'
    b'cyQuery\x12 \n\x0bserviceNa'
    b'me\x18\x01 \x01(\tR\x0bserviceNam'
    b'e\x12\x12\n\x04uuid\x18\x02 \x01(\tR\x04uui'
    b'd"\xdc\x03\n\x19ContinuousProf'
    b'ilingReport\x12\x14\n\x05layer'
    b'\x18\x01 \x01(\tR\x05layer\x12 \n\x0bser'
    b'viceName\x18\x02 \x01(\tR\x0bserv'
    b'iceName\x12"\n\x0cinstanceN'
    b'ame\x18\x03 \x01(\tR\x0cinstanceN'
    b'ame\x12 \n\x0bprocessName\x18\x04'
    b' \x01(\tR\x0bprocessName\x12?\n'
    b"\x06causes\x18\x05 \x03(\x0b2'.skyw"
    b'alking.v3.Continuous'
    b'ProfilingCauseR\x06caus'
    b'es\x12\x1a\n\x08duration\x18\x06 \x01(\x05'
    b'R\x08duration\x12C\n\x05onCPU\x18'
    b'\x07 \x01(\x0b2+.skywalking.v'
    b'3.ContinuousOnCPUPro'
    b'filingTaskH\x00R\x05onCPU\x12'
    b'F\n\x06offCPU\x18\x08 \x01(\x0b2,.sk'
    b'ywalking.v3.Continuo'
    b'usOffCPUProfilingTas'
    b'kH\x00R\x06offCPU\x12I\n\x07netwo'
    b'rk\x18\t \x01(\x0b2-.skywalkin'
    b'g.v3.ContinuousNetwo'
    b'rkProfilingTaskH\x00R\x07n'
    b'etworkB\x0c\n\ntargetTask'
    b'"\x87\x02\n\x18ContinuousProfi'
    b'lingCause\x12J\n\x04type\x18\x01 '
    b'\x01(\x0e26.skywalking.v3.'
    b'ContinuousProfilingT'
    b'riggeredMonitorTypeR'
    b'\x04type\x12V\n\x0bsingleValue'
    b'\x18\x02 \x01(\x0b22.skywalking.'
    b'v3.ContinuousProfili'
    b'ngSingleValueCauseH\x00'
    b'R\x0bsingleValue\x12>\n\x03uri'
    b'\x18\x03 \x01(\x0b2*.skywalking.'
    b'v3.ContinuousProfili'
    b'ngURICauseH\x00R\x03uriB\x07\n'
    b'\x05cause"]\n#Continuous'
    b'ProfilingSingleValue'
    b'Cause\x12\x1c\n\tthreshold\x18\x01'
    b' \x01(\x01R\tthreshold\x12\x18\n\x07c'
    b'urrent\x18\x02 \x01(\x01R\x07curren'
    b't"\x8a\x01\n\x1bContinuousProf'
    b'ilingURICause\x12\x16\n\x05reg'
    b'ex\x18\x01 \x01(\tH\x00R\x05regex\x12\x14\n'
    b'\x04path\x18\x02 \x01(\tH\x00R\x04path\x12'
    b'\x1c\n\tthreshold\x18\x03 \x01(\x01R\t'
    b'threshold\x12\x18\n\x07current'
    b'\x18\x04 \x01(\x01R\x07currentB\x05\n\x03u'
    b'ri"\x1e\n\x1cContinuousOnCP'
    b'UProfilingTask"\x1f\n\x1dCo'
    b'ntinuousOffCPUProfil'
    b'ingTask"P\n\x1eContinuou'
    b'sNetworkProfilingTas'
    b'k\x12.\n\x12samplingURIRege'
    b'xes\x18\x01 \x03(\tR\x12samplingU'
    b"RIRegexes*\x8d\x01\n'Contin"
    b'uousProfilingTrigger'
    b'edMonitorType\x12\x0e\n\nPro'
    b'cessCPU\x10\x00\x12\x16\n\x12Process'
    b'ThreadCount\x10\x01\x12\x0e\n\nSys'
    b'temLoad\x10\x02\x12\x11\n\rHTTPErr'
    b'orRate\x10\x03\x12\x17\n\x13HTTPAvgR'
    b'esponseTime\x10\x042\xd3\x01\n\x1aCo'
    b'ntinuousProfilingSer'
    b'vice\x12Y\n\rqueryPolicie'
    b's\x12-.skywalking.v3.Co'
    b'ntinuousProfilingPol'
    b'icyQuery\x1a\x17.skywalkin'
    b'g.v3.Commands"\x00\x12Z\n\x13r'
    b'eportProfilingTask\x12('
    b'.skywalking.v3.Conti'
    b'nuousProfilingReport'
    b'\x1a\x17.skywalking.v3.Com'
    b'mands"\x00b\x06proto3'
)
ContinuousProfilingPolicyQuery = _pool.message(DESCRIPTOR, "ContinuousProfilingPolicyQuery", __name__)
ContinuousProfilingServicePolicyQuery = _pool.message(DESCRIPTOR, "ContinuousProfilingServicePolicyQuery", __name__)
ContinuousProfilingReport = _pool.message(DESCRIPTOR, "ContinuousProfilingReport", __name__)
ContinuousProfilingCause = _pool.message(DESCRIPTOR, "ContinuousProfilingCause", __name__)
ContinuousProfilingSingleValueCause = _pool.message(DESCRIPTOR, "ContinuousProfilingSingleValueCause", __name__)
ContinuousProfilingURICause = _pool.message(DESCRIPTOR, "ContinuousProfilingURICause", __name__)
ContinuousOnCPUProfilingTask = _pool.message(DESCRIPTOR, "ContinuousOnCPUProfilingTask", __name__)
ContinuousOffCPUProfilingTask = _pool.message(DESCRIPTOR, "ContinuousOffCPUProfilingTask", __name__)
ContinuousNetworkProfilingTask = _pool.message(DESCRIPTOR, "ContinuousNetworkProfilingTask", __name__)
ContinuousProfilingTriggeredMonitorType = _pool.enum(DESCRIPTOR, "ContinuousProfilingTriggeredMonitorType")
ProcessCPU = ContinuousProfilingTriggeredMonitorType.Value("ProcessCPU")
ProcessThreadCount = ContinuousProfilingTriggeredMonitorType.Value("ProcessThreadCount")
SystemLoad = ContinuousProfilingTriggeredMonitorType.Value("SystemLoad")
HTTPErrorRate = ContinuousProfilingTriggeredMonitorType.Value("HTTPErrorRate")
HTTPAvgResponseTime = ContinuousProfilingTriggeredMonitorType.Value("HTTPAvgResponseTime")

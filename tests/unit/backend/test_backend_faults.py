from __future__ import annotations

import json

import pytest

from rover.backend.faults import (
    KINDS,
    Delay,
    Error,
    Fewer,
    MessageLimit,
    Reset,
    Slow,
    Token,
    make_fault,
    parse_fault,
)
from rover.errors import ConfigError


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("error", Error()),
        (
            "error:code=RESOURCE_EXHAUSTED,rate=0.3,count=5,method=keepAlive,stored=true",
            Error(code="RESOURCE_EXHAUSTED", rate=0.3, count=5, method="keepAlive", stored=True),
        ),
        ("delay:seconds=0.5", Delay(seconds=0.5)),
        ("reset:connections=3", Reset(connections=3)),
        ("slow:bytes-per-second=1000", Slow(bytes_per_second=1000)),
        ("fewer:items=2", Fewer(items=2)),
        ("message-limit:size=4194304", MessageLimit(size=4_194_304)),
        ("token:token=secret", Token(token="secret")),  # noqa: S106  no secret
    ],
)
def test_a_fault_is_written_as_one_line(line, fault):
    assert parse_fault(line) == fault


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("explode", r"fault 'explode' is unknown; there are: refuse, reset"),
        ("delay", r"fault 'delay' needs seconds"),
        ("delay:seconds", r"'seconds' is not name=value"),
        ("delay:seconds=soon", r"seconds is float, not 'soon'"),
        ("delay:seconds=-1", r"seconds is 0 or more, not -1\.0"),
        ("delay:seconds=nan", r"seconds is 0 or more, not nan"),
        ("error:code=BAD", r"code is one of CANCELLED, .*, not 'BAD'"),
        ("error:code=OK", r"not 'OK'"),
        ("error:rate=0", r"rate is above 0 and at most 1, not 0\.0"),
        ("error:rate=nan", r"rate is above 0 and at most 1, not nan"),
        ("error:count=0", r"count is at least 1, not 0"),
        ("error:method=report", r"method is one of reportProcesses, keepAlive"),
        ("error:colour=red", r"no parameter 'colour'; there are: method, rate"),
        ("error:stored=perhaps", r"stored is bool, not 'perhaps'"),
        ("refuse:now=1", r"no parameter 'now'; there are: none"),
        ("token:token=", r"token is not empty, not it"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_by_name(line, complaint):
    with pytest.raises(ConfigError, match=complaint):
        parse_fault(line)


def test_json_values_are_taken_as_they_are():
    fault = make_fault("error", {"code": "ABORTED", "rate": 1, "count": 2, "stored": False})
    assert fault == Error(code="ABORTED", count=2)


def test_every_kind_can_be_shown_and_made_again_from_that():
    needed = {
        "slow": {"bytes_per_second": 1},
        "delay": {"seconds": 1},
        "message-limit": {"size": 1},
        "token": {"token": "t"},
    }
    for kind in KINDS:
        shown = json.loads(json.dumps(make_fault(kind, needed.get(kind, {})).as_dict()))
        assert shown.pop("kind") == kind
        again = {name: value for name, value in shown.items() if value is not None}
        make_fault(kind, again | needed.get(kind, {}))

"""Which of several failures is the cause of the others, and what each fact comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.doctor import host, kernel, rights
from rover.doctor.checks import Check, Outcome, explained, fail, first_cause, ok, warn, worst
from rover.doctor.kernel import Offers
from rover.doctor.rights import Pids, Rights
from rover.probes import refusals
from rover.probes.loader import TRACEPOINTS

ALL = (1 << 41) - 1
ROOT = Rights(
    uid=0, effective=ALL, missing=(), ids_mapped=4_294_967_295, pids=Pids.HOST,
    lockdown="[none] integrity confidentiality", paranoid=2, modules="capability,yama",
    confined="unconfined", forbidden=(), policy="", locked_memory=65_536, kernel=0x060100,
)  # fmt: skip
MODERN = Offers(
    release="6.1.0", version=0x060100, mounts=True, btf="", tracefs="/sys/kernel/tracing",
    tracefs_fault="", tracepoints=tuple(TRACEPOINTS), python="/usr/bin/python3",
    bcc="/usr/lib/bcc/__init__.py|True|0.26.0",
)  # fmt: skip


def found(facts: Rights | Offers, *, raw: bool = True) -> dict[str, Check]:
    looks = rights.checks(facts, raw=raw) if isinstance(facts, Rights) else kernel.checks(facts)
    return {check.subject: check for check in explained(looks)}


def outcomes(facts: Rights | Offers, *, raw: bool = True) -> dict[str, Outcome]:
    looked = found(facts, raw=raw)
    return {name: each.outcome for name, each in looked.items() if each.outcome is not Outcome.OK}


def test_root_on_a_modern_host_has_nothing_to_mend():
    assert outcomes(ROOT) == outcomes(MODERN) == {}


@pytest.mark.parametrize(
    ("facts", "raw", "wrong"),
    [
        (replace(ROOT, ids_mapped=1), True, {"user namespace": "fail"}),
        (replace(ROOT, pids=Pids.NESTED), True, {"pid namespace": "warn"}),
        (replace(ROOT, pids=Pids.APART), True, {"pid namespace": "fail"}),
        (replace(ROOT, lockdown="none integrity [confidentiality]"), True, {"lockdown": "fail"}),
        (replace(ROOT, lockdown="none [integrity] confidentiality"), True, {}),
        (replace(ROOT, paranoid=4), False, {}),
        (replace(ROOT, paranoid=4, effective=ALL & ~(1 << 21)), True, {}),
        (
            replace(ROOT, paranoid=4, effective=ALL & ~(1 << 21)),
            False,
            {"perf_event_paranoid": "fail"},
        ),
        (replace(ROOT, confined="docker-default (enforce)"), True, {"security modules": "warn"}),
        (
            replace(ROOT, forbidden=("bpf",), policy="a seccomp profile"),
            True,
            {"system calls": "fail"},
        ),
        (
            replace(ROOT, forbidden=("perf_event_open",), policy="a seccomp profile"),
            True,
            {"system calls": "warn"},
        ),
        (
            replace(ROOT, kernel=0x050A00, effective=ALL & ~(1 << 24)),
            True,
            {"locked memory": "fail"},
        ),
        (replace(ROOT, kernel=0x050A00), True, {}),
    ],
)
def test_what_rights_and_policies_come_to(facts: Rights, raw: bool, wrong: dict):  # noqa: FBT001
    assert outcomes(facts, raw=raw) == wrong


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        (replace(MODERN, version=0x050700), {"kernel": "fail"}),
        (replace(MODERN, btf="no such file"), {"BTF": "warn"}),
        (replace(MODERN, tracefs="", tracepoints=()), {}),
        (replace(MODERN, tracefs="", tracepoints=(), btf="x"), {"BTF": "warn"}),
        (
            replace(MODERN, tracefs="", tracepoints=(), btf="x", mounts=False),
            {"BTF": "warn", "tracefs": "fail"},
        ),
        (
            replace(MODERN, tracepoints=()),
            dict.fromkeys(map("tracepoint {}".format, TRACEPOINTS), "warn"),
        ),
        (replace(MODERN, bcc="No module named 'bcc'"), {"BCC": "fail"}),
        (replace(MODERN, bcc="/x/bcc.py|False|"), {"BCC": "fail"}),
    ],
)
def test_what_the_kernel_and_bcc_come_to(facts: Offers, wrong: dict):
    assert outcomes(facts) == wrong


def test_who_is_not_root_is_told_so_before_what_follows_from_it():
    nobody = replace(ROOT, uid=1000, effective=0, missing=("PERFMON", "BPF"))
    looked = found(nobody)
    assert "not root (uid 1000)" in looked["rights"].says
    assert looked["system calls"].because == "rights"
    assert looked["looking into processes"].because == "rights"
    assert first_cause(list(looked.values())).subject == "rights"


def test_pypis_namesake_is_told_from_the_distributions_package():
    says = found(replace(MODERN, bcc="/x/bcc.py|False|"))["BCC"]
    assert "another library of that name" in says.says
    assert says.mend.startswith("pip uninstall bcc")


def test_a_cause_is_passed_on_to_what_follows_from_what_follows():
    told = explained([fail("a", "", ""), fail("b", "", "", "a"), warn("c", "", "", "b")])
    assert [each.because for each in told] == ["", "a", "a"]


def test_what_is_well_has_no_cause():
    assert explained([fail("a", "", ""), Check("b", Outcome.OK, "", needs=("a",))])[1].because == ""


names = st.sampled_from("abcde")
checks = st.lists(
    st.builds(
        Check, names, st.sampled_from(Outcome), st.just(""), st.just("mend"),
        st.lists(names, max_size=3).map(tuple),
    ),
    max_size=8,
)  # fmt: skip


@given(checks)
def test_the_first_cause_has_no_cause_of_its_own_and_is_as_bad_as_the_worst(some: list):
    told = explained(some)
    first = first_cause(told)
    if worst(told) is Outcome.FAIL:
        assert first is not None
        assert (first.because, first.outcome) == ("", Outcome.FAIL)
    if not told or all(each.outcome is Outcome.OK for each in told):
        assert first is None


def test_of_warnings_the_first_is_told_where_nothing_failed():
    told = [ok("a", ""), warn("b", "", "x"), warn("c", "", "y")]
    assert first_cause(told).subject == "b"
    assert worst(told) is Outcome.WARN


def test_the_capabilities_that_are_asked_for_are_those_of_the_loader():
    missing = refusals.missing_capabilities(0, 0x060100, -1)
    told = found(replace(ROOT, effective=0, missing=tuple(missing)))["rights"]
    assert all(f"CAP_{name}" in told.says and name in told.mend for name in missing)


@pytest.mark.parametrize(
    ("name", "command", "is_one"),
    [
        ("skywalking-rover", "/skywalking-rover start", True),
        ("rover", "/usr/bin/rover start --embedded", True),
        ("python3", "/venv/bin/python /venv/bin/rover --verbose start", True),
        ("timeout", "timeout 40 rover start", False),
        ("sh", "sh -c rover start", False),
        ("rover", "rover ps", False),
        ("kthreadd", "", False),
    ],
)
def test_another_agent_is_told_from_what_starts_one(name, command, is_one):
    assert host._is_agent(name, command.split()) is is_one

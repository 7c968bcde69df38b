"""Status codes are told apart by what the session has to do."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.reporter.failures import LONGEST_TEXT, FailureKind, advice, kind_of, plain
from rover.reporter.pacing import Backoff, TokenBucket


@pytest.mark.parametrize(
    ("code", "text", "size", "kind"),
    [
        ("UNAVAILABLE", "", 10, FailureKind.AWAY),
        ("DEADLINE_EXCEEDED", "", 10, FailureKind.TIMEOUT),
        ("UNAUTHENTICATED", "", 10, FailureKind.DENIED),
        ("PERMISSION_DENIED", "", 10, FailureKind.DENIED),
        ("UNIMPLEMENTED", "", 10, FailureKind.WRONG_SERVER),
        ("UNKNOWN", "Application error processing RPC", 10, FailureKind.ITEM),
        ("INVALID_ARGUMENT", "", 10, FailureKind.ITEM),
        ("INTERNAL", "", 10, FailureKind.ITEM),
        ("RESOURCE_EXHAUSTED", "", 10**6, FailureKind.BUSY),
        ("RESOURCE_EXHAUSTED", "memory usage is over 85%", 10**6, FailureKind.BUSY),
        (
            "RESOURCE_EXHAUSTED",
            "CLIENT: Received message larger than max (9 vs. 4)",
            10**6,
            FailureKind.TOO_LARGE,
        ),
        (
            "RESOURCE_EXHAUSTED",
            "gRPC message exceeds maximum size 4194304: 5000000",
            10**6,
            FailureKind.TOO_LARGE,
        ),
        ("CANCELLED", "", 10**6, FailureKind.TOO_LARGE),
        ("CANCELLED", "", 100, FailureKind.AWAY),
    ],
)
def test_a_status_code_means(code, text, size, kind):
    assert kind_of(code, text, size) is kind


@given(st.sampled_from([code.name for code in grpc.StatusCode]), st.text(), st.integers(0, 10**8))
def test_every_status_code_means_something(code, text, size):
    assert isinstance(kind_of(code, text, size), FailureKind)


def test_a_certificate_that_does_not_fit_comes_with_what_to_check():
    detail = "UNAVAILABLE: ... CERTIFICATE_VERIFY_FAILED: self signed certificate"
    assert "ca_pem_path" in advice(FailureKind.AWAY, detail)


@given(st.text(max_size=3000))
def test_a_foreign_text_becomes_one_bounded_printable_line(text):
    line = plain(text)
    assert len(line) <= LONGEST_TEXT
    assert line.isprintable()


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_stay_between_floor_and_cap(attempts, chance):
    full = Backoff(0.25, 5).pause(attempts, lambda: chance)
    half = Backoff(1, 20, floor=0.5).pause(attempts, lambda: chance)
    assert 0 <= full <= 5
    assert 0.5 <= half <= 20


def test_pauses_double_up_to_the_cap():
    bounds = [Backoff(0.25, 5, floor=1).pause(attempt, lambda: 0) for attempt in range(7)]
    assert bounds == [0.25, 0.5, 1, 2, 4, 5, 5]


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=80))
def test_a_bucket_never_lets_more_through_than_its_rate_and_burst(gaps):
    bucket, now, sent = TokenBucket(10, 5), 100.0, []
    free = 0.0
    for gap in gaps:
        now = max(now + gap, free)
        sent.append(now)
        free = bucket.take(now)
    for first, at in enumerate(sent):
        for count, later in enumerate(sent[first:], 1):
            assert count <= 10 * (later - at) + 5 + 1e-6


def test_a_bucket_fills_up_again():
    bucket = TokenBucket(10, 5)
    assert [bucket.take(100.0) <= 100.0 for _ in range(5)] == [True] * 4 + [False]
    assert bucket.take(101.0) <= 101.0

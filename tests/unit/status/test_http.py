"""What is read of a request; h11, which reads all of HTTP, is the judge."""

from __future__ import annotations

import time
from http import HTTPStatus

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rover.status.http import HEAD_BYTES, Answer, Request, read, say

KUBELET = (
    b"GET /healthz HTTP/1.1\r\nHost: 10.1.2.3:9464\r\nUser-Agent: kube-probe/1.36\r\n"
    b"Accept: */*\r\nConnection: close\r\n\r\n"
)


def refused(received: bytes) -> HTTPStatus:
    answer = read(received)
    assert isinstance(answer, Answer)
    return answer.status


def test_a_probe_is_understood():
    assert read(KUBELET) == Request(
        "/healthz", "", ("10.1.2.3:9464",), head_only=False, accept="*/*"
    )


def test_what_a_client_accepts_may_stand_in_several_headers():
    asked = read(b"GET / HTTP/1.1\r\nHost: a\r\nACCEPT: a/b\r\nAccept:c/d;q=0.1\r\n\r\n")
    assert asked == Request("/", "", ("a",), head_only=False, accept="a/b,c/d;q=0.1")


def test_a_request_is_waited_for_until_its_head_ends():
    assert [read(KUBELET[:end]) for end in range(len(KUBELET))] == [None] * len(KUBELET)


def test_what_follows_the_head_is_not_read():
    assert read(KUBELET + b"\0garbage") == read(KUBELET)


def test_a_name_in_the_target_counts_beside_the_header():
    asked = read(b"HEAD http://evil.example/why?pid=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert asked == Request("/why", "pid=1", ("localhost", "evil.example"), head_only=True)


def test_a_wish_to_change_something_is_told_from_a_question():
    asked = read(b"POST /log-level?level=DEBUG HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
    assert asked == Request("/log-level", "level=DEBUG", ("a",), head_only=False, changes=True)


def test_one_who_types_need_not_send_carriage_returns():
    assert read(b"GET / HTTP/1.0\n\n") == Request("/", "", (), head_only=False)


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"\x16\x03\x01\x00\xc8", 400),
        (b"\0", 400),
        (b"get / HTTP/1.1\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
        (b"GET //[ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"a" * 2_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"PUT /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES, 431),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
def test_what_is_no_request_is_told_why(received: bytes, status: int):
    assert refused(received) == status


PIECES = st.sampled_from(
    [b"GET ", b"HEAD ", b"/", b"/why?pid=1", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r",
     b"Host: a", b"Host:", b"X: y", b":", b" ", b"\t", b"\0", b"\xff", b"http://b/", b"[", b"%41"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map(b"".join) | st.binary(max_size=80))
@example(KUBELET)
def test_all_that_is_answered_is_a_request_to_others_too(received: bytes):
    asked = read(received)
    if not isinstance(asked, Request):
        return
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(received.lstrip(b"\r\n"))
    event = judge.next_event()
    assert isinstance(event, h11.Request)
    assert event.target.decode().partition("?")[0].endswith(asked.path)
    named = [value.decode("latin-1") for name, value in event.headers if name == b"host"]
    assert list(asked.hosts[: len(named)]) == named


@pytest.mark.parametrize("filling", [b" ", b"\t", b":", b"\r", b"\n", b"a ", b"\r\n ", b"a:b\r\n"])
def test_no_request_takes_long_to_read(filling: bytes):
    received = b"GET / HTTP/1.1\r\nX:" + filling * (HEAD_BYTES // len(filling)) + b"\0\r\n\r\n"
    began = time.thread_time()
    read(received)
    assert time.thread_time() - began < 0.1


def test_an_answer_is_as_others_understand_it():
    answer = say(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "no"}, ("Allow", "GET, HEAD"))
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer.sent(head_only=False))
    head, body, end = client.next_event(), client.next_event(), client.next_event()
    assert head.status_code == 405
    assert (b"allow", b"GET, HEAD") in list(head.headers)
    assert bytes(body.data) == answer.body
    assert isinstance(end, h11.EndOfMessage)


def test_the_answer_to_head_tells_the_length_alone():
    answer = say(HTTPStatus.OK, {"a": 1})
    assert answer.sent(head_only=True) + answer.body == answer.sent(head_only=False)

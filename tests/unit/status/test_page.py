"""The status page: what it shows, and that nothing foreign becomes part of it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rover.model import Reason
from rover.status.page import MOST_ROWS, STYLE, Shown, facts, page

ENTITY = {"layer": "OS_LINUX", "service": "shop", "instance": "i", "process": "java"}


def process(pid: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "pid": pid, "name": "java", "command_line": "java -jar shop.jar", "reason": "reported",
        "detail": "", "entities": [ENTITY], **more,
    }  # fmt: skip


def text_of(processes: list[dict[str, Any]] | None = None, **more: Any) -> str:
    shown = Shown(well=True, facts={}, courses=(), processes=processes, **more)
    return page(shown).body.decode()


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_its_style_is_the_only_one_that_a_browser_may_use():
    headers = dict(page(Shown(well=True, facts={}, courses=(), processes=None)).headers)
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert f"<style>{STYLE}</style>" in text_of()


def test_nothing_in_it_is_from_elsewhere_and_nothing_is_a_program():
    for tag, attributes in Tags(text_of([process()])).found:
        assert tag not in {"script", "link", "img", "iframe", "object", "base"}
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith("/")


FOREIGN = st.text() | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</style><b>",
        "&amp;",
        "\ud800",
    ]
)


@given(FOREIGN, FOREIGN)
def test_what_processes_choose_stays_text(foreign: str, search: str):
    given_ = process(
        name=foreign, command_line=foreign, detail=foreign,
        entities=[dict.fromkeys(ENTITY, foreign)],
    )  # fmt: skip
    plain = {tag for tag, _ in Tags(text_of([process()], search="x")).found}
    plain |= {tag for tag, _ in Tags(text_of([process()])).found}
    shown = text_of([given_], search=search) + text_of([given_])
    assert {tag for tag, _ in Tags(shown).found} <= plain


def test_what_processes_choose_turns_no_direction_and_is_seen():
    text = text_of([process(command_line="a\u202eb\u200bc\x9b2J", name="\u2066")])
    assert "a\ufffdb\ufffdc\ufffd2J" in text
    assert text.replace("\n", "").isprintable()


def test_a_search_finds_by_all_its_words_whatever_their_case():
    processes = [process(1), process(2, command_line="nginx", entities=[])]
    assert "nginx" in text_of(processes, search="NGINX report")
    assert "shop.jar" not in text_of(processes, search="NGINX report")
    assert "0 processes" in text_of(processes, search="nginx shop")


def test_kernel_threads_come_when_they_are_called():
    threads = [process(2, reason=Reason.KERNEL_THREAD.value, entities=[], command_line="[k]")]
    assert "0 processes" in text_of(threads)
    assert "1 processes" in text_of(threads, search="kernel thread")


def test_so_many_are_shown_at_most_and_the_rest_is_told():
    many = [process(pid) for pid in range(MOST_ROWS + 5)]
    text = text_of(many)
    assert text.count('<td class="pid">') == MOST_ROWS
    assert f"{MOST_ROWS} of {MOST_ROWS + 5} processes" in text


def test_where_processes_are_not_told_it_says_where_they_are():
    text = text_of(None, instead="on the <socket>")
    assert "on the &lt;socket&gt;" in text
    assert "<table>" not in text
    assert "<form>" not in text


def test_it_says_whether_the_agent_is_well():
    well, ill = (
        page(Shown(well=state, facts={}, courses=(), processes=None)).body.decode()
        for state in (True, False)
    )
    assert re.search(r">works</span></h1>", well)
    assert re.search(r">is ill</span></h1>", ill)


def test_facts_are_told_by_plain_names_and_what_is_empty_is_left_out():
    assert facts({"first_scan": "done", "last_error": "", "kubernetes": {"pods": "listed"}}) == {
        "first scan": "done",
        "kubernetes: pods": "listed",
    }

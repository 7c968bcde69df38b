"""Label selectors agree with Kubernetes' own parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.k8s.selectors import SelectorError, parse_selector

LABELS = {"app": "web", "tier": "front", "empty": "", "size": "10", "k8s.io/name": "shop"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("  ", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web", True),
        ("app=api", False),
        ("app!=api", True),
        ("app!=web", False),
        ("nosuch!=web", True),
        ("nosuch=", False),
        ("empty=", True),
        ("empty", True),
        ("app", True),
        ("nosuch", False),
        ("!nosuch", True),
        ("! nosuch", True),
        ("!app", False),
        ("app in (web, api)", True),
        ("app in (api)", False),
        ("app in(web)", True),
        ("app notin (api)", True),
        ("app notin (web,api)", False),
        ("nosuch notin (web)", True),
        ("nosuch in (,web)", False),
        ("empty in (,web)", True),
        ("empty in (a,,b)", True),
        ("empty in (a,)", True),
        ("empty in (a,b)", False),
        ("app=web,tier=front", True),
        ("app=web,tier=back", False),
        ("app=web, tier in (front, back), !canary", True),
        ("app=,tier=front", False),
        ("k8s.io/name=shop", True),
        ("size>9", True),
        ("size>10", False),
        ("size<11", True),
        ("size < 10", False),
        ("app>1", False),
        ("nosuch>1", False),
        ("in=1", False),
        ("in in (in)", False),
        ("!in,!notin", True),
        ("app\t=\nweb", True),
        ("app=in", False),
    ],
)
def test_a_selector_matches_as_kubernetes_has_it(selector, matches):
    assert parse_selector(selector).matches(LABELS) is matches


@pytest.mark.parametrize(
    "selector",
    [
        ",", "app,", ",app", "app=web,", "app,,tier", "=web", "!", "!!app", "!app=web", "app=web=x",
        "app===web", "app web", "app in", "app in web", "app in ()", "app notin ()", "app in (web",
        "app in web)", "app in (web api)", "app in (web))", "(app)", "app=(web)", "app>=1", "app>",
        "app>x", "app>1.5", "app>-5", "app<99999999999999999999", "-app", "app-", "a/b/c", "/app",
        "app/", "UPPER/app", "a..b/app", "a b=c", "app=-x", "app=x-", "app=a/b", "ä=b", "a=ä",
        "x" * 64, "a=" + "x" * 64, "x" * 254 + "/a", "app;tier", "app='web'", "{app}",
    ],
)  # fmt: skip
def test_what_kubernetes_refuses_is_refused(selector):
    with pytest.raises(SelectorError):
        parse_selector(selector)


@pytest.mark.parametrize("selector", ["x" * 63, "a=" + "x" * 63, "a.b-c/e.f_g-h=i.j_k-l", "A=B"])
def test_names_and_values_have_kubernetes_limits(selector):
    parse_selector(selector)


@given(st.text(alphabet="ab=!<>(), in-./\t", max_size=20), st.dictionaries(st.text(), st.text()))
def test_no_text_does_worse_than_be_refused(text, labels):
    try:
        selector = parse_selector(text)
    except SelectorError:
        return
    assert selector.matches(labels) in {True, False}


def test_an_error_says_what_was_found_and_what_was_expected():
    with pytest.raises(SelectorError, match=r"'app in web'.*found 'web', expected '\('"):
        parse_selector("app in web")

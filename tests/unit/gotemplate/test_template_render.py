"""What can be told of an evaluation that fails, and what bounds it."""

import pytest
from go_contexts import CONTEXTS, EVERYTHING
from hypothesis import given
from hypothesis import strategies as st

from rover.config.contexts import POD_FILTERS, POD_NAMES
from rover.config.filters import Filter
from rover.gotemplate import Template, TemplateError
from rover.gotemplate.formatting import quote
from rover.gotemplate.state import MAX_OUTPUT

ANY = CONTEXTS["any"]
POD = CONTEXTS["names"][1]


def render(source, schema=EVERYTHING, context=ANY[1]):
    return Template.compile(source, schema).render(context)


def error_of(source, schema=EVERYTHING, context=ANY[1]):
    with pytest.raises(TemplateError) as caught:
        render(source, schema, context)
    return caught.value


def test_an_error_of_the_context_is_told_with_name_and_column():
    error = error_of('on {{.Rover.HostIPV4 "eth9"}}', POD_NAMES, POD)
    assert (str(error), error.column) == ("HostIPV4: nothing found", 6)


def test_an_error_of_a_property_is_told_with_name_and_column():
    error = error_of("{{.Process.WorkDir}}", POD_NAMES, POD)
    assert (str(error), error.column) == ("WorkDir: nothing found", 3)


def test_other_errors_of_a_context_are_not_hidden():
    class Broken:
        @property
        def pod(self):
            raise KeyError("a defect")

    with pytest.raises(KeyError):
        Template.compile("{{.Pod.Name}}", POD_NAMES).render(Broken())


def test_a_missing_object_is_a_nil_pointer():
    class Empty:
        pod = None

    assert "nil" in str(error_of("{{.Pod.Name}}", POD_NAMES, Empty()))


def test_only_declared_names_are_reached():
    class Leaky:
        class pod:  # noqa: N801 - stands for an object
            hidden = "x"

    for name in ("hidden", "Hidden", "__class__", "__dict__"):
        with pytest.raises(TemplateError):
            render(f"{{{{.Pod.{name}}}}}", POD_NAMES, Leaky())


def test_a_property_that_no_template_names_is_not_read():
    class Costly:
        class pod:  # noqa: N801 - stands for an object
            name = "a"

            @property
            def namespace(self):
                raise AssertionError

    assert render("{{.Pod.Name}}", POD_NAMES, Costly()) == "a"


def test_an_object_is_not_printed_as_an_address():
    assert "name one of its fields" in str(error_of("{{.Pod}}", POD_NAMES, POD))


@pytest.mark.parametrize(
    "source",
    [
        '{{printf "%999999d" 1}}',
        '{{range 100000}}{{printf "%1000d" 1}}{{end}}',
        "{{$x := .S}}{{range 20}}{{$x = print $x $x}}{{end}}{{$x}}",
        "{{range 1000000000}}{{end}}",
        "{{range 1000}}{{range 1000}}{{end}}{{end}}",
    ],
)
def test_an_evaluation_that_runs_away_is_stopped(source):
    assert "more than" in (text := str(error_of(source))) or "exceeds" in text


def test_text_up_to_the_bound_passes():
    assert len(render('{{printf "%' + str(MAX_OUTPUT) + 'd" 1}}')) == MAX_OUTPUT


def test_bytes_that_are_no_text_are_replaced():
    assert render(r'{{"a\xffb"}}') == "a\ufffdb"
    assert render('{{slice "é" 0 1}}') == "\ufffd"


def test_bytes_that_make_a_character_together_become_it():
    assert render('{{print (slice "é" 0 1) (slice "é" 1)}}') == "é"


def test_a_filter_that_gives_no_boolean_fails_with_what_it_gave():
    with pytest.raises(TemplateError, match="not 'productpage-v1-abc'"):
        Filter.compile(".Pod.Name", POD_FILTERS).matches(POD)


WORDS = """
    {{ }} {{- -}} ( ) | . $ $x := = , if else end with range break define template nil true and or
    not eq lt print printf len index slice call html .Pod .Pod.Name .Process.Pid .S .I .L .M.k
    .NP.Name .P.Next .Fail .Echo "a" `b` 'c' 1 -2 0x3 4.5 1e400 "%d" "%[5]*.*q" "%9999999d" /*
    */ \\ é
"""
FRAGMENTS = st.sampled_from([*WORDS.split(), " ", "\n"])


def fails_in_order(kind, source, schema, context):
    try:
        template = kind.compile(source, schema)
        template.render(context) if kind is Template else template.matches(context)
    except TemplateError as error:
        return error.column is None or 1 <= error.column <= len(source) + 1
    return True


@given(st.one_of(st.text(), st.lists(FRAGMENTS).map(" ".join), st.lists(FRAGMENTS).map("".join)))
def test_no_source_raises_anything_but_a_template_error(source):
    for schema, context in CONTEXTS.values():
        assert fails_in_order(Template, source, schema, context)
        assert fails_in_order(Filter, source, schema, context)


@given(st.lists(FRAGMENTS, max_size=12).map(" ".join))
def test_no_action_raises_anything_but_a_template_error(inside):
    assert fails_in_order(Template, f"{{{{{inside}}}}}", *ANY)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])).filter(lambda t: "{{" not in t))
def test_text_without_actions_is_itself(text):
    assert render(text) == text


@given(st.text())
def test_quoted_text_comes_back(text):
    assert render("{{" + quote(text) + "}}") == text
    assert render("{{" + quote(text, ascii_only=True) + "}}") == text

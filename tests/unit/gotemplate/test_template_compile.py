"""What is found when a template is compiled, and what is told about it."""

import pytest
from go_contexts import CONTEXTS

from rover.config.contexts import HOST_NAMES, POD_FILTERS, POD_NAMES
from rover.config.filters import Filter
from rover.gotemplate import Template, TemplateError
from rover.gotemplate.parser import MAX_DEPTH, MAX_SOURCE


def error_of(source, schema=POD_NAMES, kind=Template):
    with pytest.raises(TemplateError) as caught:
        kind.compile(source, schema)
    return caught.value


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("{{.Pod.Nam}}", 3),
        ("{{ .Pod.Name }}-{{ .Pods.Name }}", 20),
        ("{{if .Pod.Name}}{{.Pod.Nope}}{{end}}", 19),
        ("{{if false}}{{.Pod.Nope}}{{end}}", 15),
        ("{{with .Pod}}{{.Nope}}{{end}}", 16),
        ('{{with .Pod.FindContainer "a"}}{{.Nope}}{{end}}', 34),
        ("{{$p := .Pod}}{{$p.Nope}}", 17),
        ('{{(.Pod.FindContainer "a").Nope}}', 4),
        ("{{print .Pod.Nope}}", 9),
        ("{{.Pod.Name | print .Pod.Nope}}", 21),
        ("{{or .Pod.Name .Pod.Nope}}", 16),
        ("{{.Pod.LabelValue .Pod.Nope 1}}", 19),
        ("{{.Pod.Name.Nope}}", 3),
        ('{{.Pod.HasContainer "x"}}', 3),
        ("{{.Finder.Layer}}", 3),
        ("{{else}}", 3),
        ("{{if .Pod}}", 3),
        ("ab{{", 5),
        ("{{nope}}", 3),
        ("{{$x}}", 3),
        ('{{"a}}', 3),
        ("{{1i}}", 3),
        ("{{.Pod.Name}", 12),
        ("{{define `a`}}{{end}}", 3),
        ("{{if .Pod}}{{template `a`}}{{end}}", 14),
    ],
)
def test_the_column_is_where_the_trouble_stands(source, column):
    assert error_of(source).column == column


@pytest.mark.parametrize(
    "source",
    [
        "{{.Pod.LabelValue}}",
        '{{.Pod.LabelValue "a" "b" "c"}}',
        '{{.Pod.Name "x"}}',
        "{{.Pod.LabelValue 1}}",
        '{{.Process.Pid | .Pod.LabelValue "a"}}',
        '{{.Rover "x"}}',
        "{{printf}}",
        "{{len}}",
        "{{eq .Process.Pid `1`}}",
        "{{if eq .Pod.Name 1}}{{end}}",
        "{{lt .Pod .Pod}}",
        "{{.Pod.Name | eq 1}}",
    ],
)
def test_what_fails_on_every_process_is_found_at_start(source):
    error_of(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{if false}}{{eq 1 `a`}}{{end}}",
        "{{or .Pod.Name (eq 1 `a`)}}",
        "{{and .Pod.ServiceName (index nil 0)}}",
        "{{$x := 1}}{{$x = `a`}}{{eq $x `a`}}",
        "{{range .Pod.Name}}{{end}}",
    ],
)
def test_what_may_never_be_reached_or_depends_on_values_is_left_to_evaluation(source):
    Template.compile(source, POD_NAMES)


def test_an_unknown_name_is_answered_with_the_nearest_one():
    assert "did you mean Namespace?" in str(error_of("{{.Pod.Namspace}}"))


def test_an_unknown_name_like_no_other_is_answered_with_all():
    assert "Container, Pod, Process, Rover" in str(error_of("{{.Xyz}}"))


def test_early_versions_of_rover_give_label_value_no_default():
    Template.compile('{{.Pod.LabelValue "app" }}', POD_NAMES)


def test_the_names_a_template_uses_are_known():
    template = Template.compile('{{if .Pod}}{{(.Pod.OwnerName "Job") | len}}{{end}}', POD_NAMES)
    assert template.uses == {"Pod", "OwnerName"}


def test_the_names_a_filter_uses_are_known():
    compiled = Filter.compile('not (.Pod.HasOwnerName "Job")', POD_FILTERS)
    assert compiled.uses == {"Pod", "HasOwnerName"}


def test_templates_of_one_source_and_schema_are_equal():
    assert Template.compile("{{.Rover.HostName}}", HOST_NAMES) == Template.compile(
        "{{.Rover.HostName}}", HOST_NAMES
    )
    assert Template.compile("a", HOST_NAMES) != Template.compile("a", POD_NAMES)


@pytest.mark.parametrize(
    ("source", "column"),
    [(".Pod.Nope", 1), ("eq .Pod.Nope 1", 4), ("", 1), ("true}}{{nope", 9)],
)
def test_columns_of_a_filter_count_from_its_own_first_character(source, column):
    assert error_of(source, POD_FILTERS, Filter).column == column


@pytest.mark.parametrize("source", [".Pod", ".Container", '.Pod.FindContainer "a"'])
def test_a_filter_that_gives_an_object_is_refused(source):
    assert "must give a boolean" in str(error_of(source, POD_FILTERS, Filter))


@pytest.mark.parametrize(
    ("source", "doubt"),
    [
        (".Pod.Name", "string"),
        (".Process.Pid", "int32"),
        ("len .Pod.Name", "int"),
        ("eq .Pod.Name `a`", ""),
        (".Pod.HasServiceName", ""),
        ("and .Pod.HasServiceName (eq .Pod.Name `a`)", ""),
        ("or .Pod.HasServiceName .Pod.Name", ""),
        ("if true}}true{{end", ""),
    ],
)
def test_a_filter_tells_when_it_gives_no_boolean(source, doubt):
    assert Filter.compile(source, POD_FILTERS).doubt == doubt


@pytest.mark.parametrize(
    "source",
    [
        "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
        "{{if 1}}" * 5000 + "{{end}}" * 5000,
        "{{range 1}}" * (MAX_DEPTH + 1) + "{{end}}" * (MAX_DEPTH + 1),
        "x" * (MAX_SOURCE + 1),
        "{{print " + "(print " * 200,
        "lone surrogate \ud800",
    ],
)
def test_a_source_beyond_bounds_is_refused(source):
    error_of(source)


def test_nesting_up_to_the_bound_is_evaluated():
    schema, context = CONTEXTS["any"]
    deep = "{{" + "(" * MAX_DEPTH + ".S" + ")" * MAX_DEPTH + "}}"
    assert Template.compile(deep, schema).render(context) == "text"


def test_a_long_chain_of_else_if_is_not_deep():
    schema, context = CONTEXTS["any"]
    chain = "{{if false}}" + "{{else if false}}" * 200 + "{{else}}{{.S}}{{end}}"
    assert Template.compile(chain, schema).render(context) == "text"

"""docs/configuration.md says what the code does."""

import re
from dataclasses import MISSING
from enum import Enum
from pathlib import Path

import pytest

from rover.config import analyzers
from rover.config.contexts import HOST_NAMES, POD_FILTERS, POD_NAMES
from rover.config.filters import Filter
from rover.config.keys import all_keys
from rover.config.layers import LAYERS_10_1, LAYERS_LATER
from rover.config.load import load
from rover.config.scalars import format_duration
from rover.config.settings import Kind
from rover.gotemplate import Object, Template

DOCUMENT = (Path(__file__).parents[3] / "docs/configuration.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCUMENT.splitlines()
    if line.startswith("| `")
]


def code(text):
    return f"`{text}`" if text else ""


def default_of(setting):
    default, otherwise = setting.default, setting.key.otherwise
    if otherwise is not None:
        return code(otherwise)
    if default is MISSING:
        return "must be given"
    if setting.key.kind is Kind.SECONDS:
        return code(format_duration(default))
    if isinstance(default, bool):
        return code(str(default).lower())
    if isinstance(default, Enum):
        return code(default.value)
    return code(str(default)) if default not in (None, ()) else ""


def test_the_tables_hold_every_key_with_its_default_variable_and_kind():
    documented = {tuple(row[:4]) for row in ROWS if len(row) == 5}
    actual = {
        (code(each.path), default_of(each), code(each.key.env), each.key.kind.value)
        for each in all_keys()
    }
    assert documented == actual


def test_every_key_of_ours_that_stands_alone_has_a_meaning():
    assert all(row[4] for row in ROWS if len(row) == 5 and "[]" not in row[0])


def names_of(schema):
    return {
        f"{root}.{name}"
        for root, member in schema.members.items()
        if isinstance(member.result, Object)
        for name in member.result.members
    }


NAMES = [(row[0].strip("`"), row[1]) for row in ROWS if row[0].startswith("`.")]


def test_the_table_of_names_holds_every_name_where_it_can_be_used():
    documented = {where: set() for where in ("all", "regex finders", "analyzers", "filters")}
    for example, where in NAMES:
        documented[where].add(example.split()[0].lstrip("."))
    assert documented["all"] | documented["regex finders"] == names_of(HOST_NAMES)
    assert documented["all"] | documented["analyzers"] == names_of(POD_NAMES)
    assert names_of(POD_NAMES) | documented["filters"] == names_of(POD_FILTERS)


@pytest.mark.parametrize(("example", "where"), NAMES)
def test_the_examples_compile(example, where):
    if where in ("all", "regex finders"):
        Template.compile(f"{{{{{example}}}}}", HOST_NAMES)
    if where in ("all", "analyzers") and "FindContainer" not in example:
        Template.compile(f"{{{{{example}}}}}", POD_NAMES)
    if where == "filters":
        Filter.compile(example, POD_FILTERS)


def test_the_example_file_loads(tmp_path):
    example = re.search(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)[1]
    (tmp_path / "rover.yaml").write_text(example)
    loaded = load(tmp_path / "rover.yaml", {})
    assert loaded.settings.core.cluster_name == "east"
    assert loaded.warnings == ()


def test_every_layer_is_named():
    section = DOCUMENT.partition("## Layers")[2]
    assert set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", section)) - {"OAP"} == LAYERS_10_1 | LAYERS_LATER


def test_every_variable_of_the_analyzers_is_named():
    section = DOCUMENT.partition("### Analyzers of pods")[2]
    for variable in analyzers.variables():
        suffix = variable.removeprefix(analyzers.PREFIX)
        analyzer = next(
            name for name in ("ISTIO_ENVOY", "ISTIO_APPLICATION", "K8S_SERVICE") if name in suffix
        )
        assert f"`{suffix.removeprefix(f'{analyzer}_')}`" in section

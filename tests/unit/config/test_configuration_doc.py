"""docs/configuration.md says what the code does."""

import importlib.util
import re
from pathlib import Path

import pytest

from rover.config import analyzers
from rover.config.contexts import HOST_NAMES, POD_FILTERS, POD_NAMES
from rover.config.filters import Filter
from rover.config.keys import all_keys
from rover.config.layers import LAYERS_10_1, LAYERS_LATER
from rover.config.load import load
from rover.gotemplate import Object, Template

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT = (DOCS / "configuration.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCUMENT.splitlines()
    if line.startswith("| `")
]


def script():
    """docs/keys.py, which writes the tables of keys."""
    spec = importlib.util.spec_from_file_location("keys", DOCS / "keys.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_tables_of_keys_are_those_that_the_settings_make():
    assert script().written(DOCUMENT) == DOCUMENT, "python docs/keys.py writes them anew"


def test_the_tables_hold_every_key_once_and_say_of_each_what_it_means():
    keys = [row for row in ROWS if len(row) == 5]
    assert sorted(row[0].strip("`") for row in keys) == sorted(each.path for each in all_keys())
    assert [row[0] for row in keys if not row[4]] == []


@pytest.mark.parametrize(
    ("key", "cells"),
    [
        ("core.backend.addr", ("`localhost:11800`", "`ROVER_BACKEND_ADDR`", "addresses")),
        ("logger.format", ("`console`", "`ROVER_LOGGER_FORMAT`", "`console` or `json`")),
        (
            "profiling.flush_interval",
            ("`5s`", "`ROVER_PROFILING_FLUSH_INTERVAL`", "duration, at least 100ms, at most 1m"),
        ),
        ("process_discovery.kubernetes.analyzers[].layer", ("must be given", "", "text")),
        ("process_discovery.kubernetes.analyzers[].active", ("`true`", "", "boolean")),
    ],
)
def test_a_key_has_its_default_its_variable_and_its_bounds(key, cells):
    (row,) = [row for row in ROWS if row[0] == f"`{key}`"]
    assert tuple(row[1:4]) == cells


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

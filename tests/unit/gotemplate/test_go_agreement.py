"""The evaluator is held against what Go's own text/template made of the same cases.

go/vectors.jsonl is what `go run .` prints there; no Go is needed to replay it.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from go_contexts import CONTEXTS

from rover.config.filters import Filter
from rover.gotemplate import Template, TemplateError
from rover.gotemplate.evaluator import compile_body
from rover.gotemplate.functions import NAMES
from rover.gotemplate.parser import parse
from rover.gotemplate.values import Pointer

GO_PROGRAM = Path(__file__).parent / "go"
MADE_WITH = "go1.26"
VECTORS = [json.loads(line) for line in (GO_PROGRAM / "vectors.jsonl").read_text().splitlines()]

# What checks at start may refuse although Go never comes to the place.
STEPS_AROUND = ("{{if", "{{- if", "{{with", "{{- with", "{{range", "{{- range", "and ", "or ")


def of_context(context):
    return [vector for vector in VECTORS if vector["context"] == context]


def evaluated(vector):
    """Evaluate as Go does: no look at the types beforehand. None stands for an error."""
    schema, context = CONTEXTS[vector["context"]]
    source = vector["source"]
    is_filter = vector["context"] == "filters"
    try:
        body = parse(f"{{{{{source}}}}}" if is_filter else source, NAMES)
        text = compile_body(body)(Pointer(schema, context))
    except TemplateError:
        return None
    if is_filter:
        truths = {"1": "true", "t": "true", "T": "true", "True": "true", "true": "true"}
        truths |= {"0": "false", "f": "false", "F": "false", "False": "false", "false": "false"}
        return truths.get(text)
    return text.encode(errors="surrogateescape").decode(errors="replace")


def compiled(vector):
    """Compile and evaluate as the agent does."""
    schema, context = CONTEXTS[vector["context"]]
    try:
        if vector["context"] == "filters":
            return str(Filter.compile(vector["source"], schema).matches(context)).lower()
        return Template.compile(vector["source"], schema).render(context)
    except TemplateError:
        return None


@pytest.mark.parametrize("context", CONTEXTS)
def test_it_prints_what_go_prints_and_fails_where_go_fails(context):
    differences = [
        (vector["source"], vector.get("output"), result, vector.get("error"))
        for vector in of_context(context)
        if (result := evaluated(vector)) != vector.get("output")
    ]
    assert not differences


@pytest.mark.parametrize("context", CONTEXTS)
def test_checks_at_start_refuse_nothing_that_go_evaluates(context):
    refused = [
        (vector["source"], vector.get("output"), result)
        for vector in of_context(context)
        if (result := compiled(vector)) != vector.get("output")
        and not (result is None and any(word in vector["source"] for word in STEPS_AROUND))
    ]
    assert not refused


def test_the_cases_hold_enough_of_both_outcomes():
    failed = sum("error" in vector for vector in VECTORS)
    assert failed > 500
    assert len(VECTORS) - failed > 500


def test_the_vectors_are_what_go_prints_now():
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no go here to make the vectors anew")
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    version = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()
    if not version.startswith(f"{MADE_WITH}."):
        pytest.skip(f"the vectors are {MADE_WITH}'s, and this is {version}")
    printed = subprocess.run(
        [go, "run", "."], cwd=GO_PROGRAM, capture_output=True, check=True, env=environment
    ).stdout
    assert printed == (GO_PROGRAM / "vectors.jsonl").read_bytes()

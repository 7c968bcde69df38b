"""Alerts and dashboard ask for figures that a running agent exports, by labels that these have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from agent_rig import BY_PID, running
from prometheus_client.parser import text_string_to_metric_families

from bench.rig.manifest import manifest
from rover import metrics
from rover.backend import EmbeddedBackend
from rover.status.client import ask

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD = DEPLOY / "grafana" / "rover.json"
OF_PROMETHEUS = {"up", "ALERTS"}
OF_EACH_TARGET = {"job", "instance"}
SELECTOR = re.compile(r"\b(up|(?:rover|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r"(\w+)(=~|=)\"([^\"]*)\"")
GRAFANAS = {"$__rate_interval": "5m", "$job": "rover", "$instance": ".*"}

promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian's package prometheus)"
)


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def dashboards_expressions() -> list[str]:
    targets = [each["expr"] for panel in panels() for each in panel.get("targets", ())]
    for variable, value in GRAFANAS.items():
        targets = [expression.replace(variable, value) for expression in targets]
    return targets


EXPRESSIONS = [rule["expr"] for rule in alerts()] + dashboards_expressions()

Exported = Mapping[str, Mapping[str, set[str]]]
"""The values of each label of each figure; none where it has had no sample yet."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What /metrics of a running agent tells."""
    folder = tmp_path_factory.mktemp("agent")
    with EmbeddedBackend() as backend, running(backend, folder, config=BY_PID) as agent:
        agent.wait_for(1, 30)
        return ask(agent.state, "/metrics").body.decode()


@pytest.fixture(scope="module")
def exported(figures: str) -> Exported:
    told: dict[str, dict[str, set[str]]] = {}
    for collector in vars(metrics).values():
        if labels := getattr(collector, "_labelnames", ()):
            told[f"{collector._name}_total"] = {label: set() for label in labels}
    for family in text_string_to_metric_families(figures):
        for sample in family.samples:
            known = told.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                known.setdefault(label, set()).add(value)
    return told


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_figure_that_is_asked_for_is_exported(expression: str, exported: Exported):
    asked = SELECTOR.findall(expression)
    assert asked
    for name, matchers in asked:
        assert name in exported or name in OF_PROMETHEUS, name
        for label, how, value in MATCHER.findall(matchers):
            assert label in exported.get(name, {}) or label in OF_EACH_TARGET, (name, label)
            known = exported.get(name, {}).get(label)
            if known and how == "=":
                assert value in known, (name, label, value)


@promtool
def test_prometheus_takes_the_rules():
    said = subprocess.run(
        ["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


@promtool
def test_alerts_are_raised_where_they_should_be_and_nowhere_else():
    test = RULES.with_name("rules_test.yaml")
    said = subprocess.run(
        ["promtool", "test", "rules", test], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_each_alert_has_such_a_test():
    tests = RULES.with_name("rules_test.yaml").read_text()
    assert [rule["alert"] for rule in alerts() if rule["alert"] not in tests] == []


@promtool
def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path: Path):
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(dashboards_expressions())
    ]
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    said = subprocess.run(
        ["promtool", "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


@promtool
def test_prometheus_has_nothing_to_say_against_the_figures(figures: str):
    said = subprocess.run(
        ["promtool", "check", "metrics"],
        input=figures, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.stdout + said.stderr == ""


def test_panels_have_a_place_and_a_number_of_their_own():
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_monitor_scrapes_the_port_of_the_agents_pods_as_the_job_that_the_rules_know():
    monitor = yaml.safe_load((DEPLOY / "prometheus" / "podmonitor.yaml").read_text())
    template = manifest("DaemonSet")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    labels = template["metadata"]["labels"]
    assert monitor["metadata"]["namespace"] == manifest("DaemonSet")["metadata"]["namespace"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in container["ports"]}
    assert labels[monitor["spec"]["jobLabel"]] == "rover"
    assert any('job="rover"' in rule["expr"] for rule in alerts())

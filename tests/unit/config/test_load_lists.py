"""Finders and analyzers: from a file, from variables, by default."""

from pathlib import Path

import pytest

from rover.config.load import load
from rover.config.settings import ScanMode
from rover.errors import ConfigError

FILES = Path(__file__).parent / "files"
SCANNER = "ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_"
ANALYZER = "ROVER_PROCESS_DISCOVERY_KUBERNETES_ANALYZER_"
MESH_NAME = (
    '{{.Pod.LabelValue "service.istio.io/canonical-name,app.kubernetes.io/name,app" ""}}'
    ".{{.Pod.Namespace}}"
)


@pytest.fixture
def loaded(tmp_path):
    def from_text(text, environment=None):
        (tmp_path / "rover.yaml").write_text(text)
        return load(tmp_path / "rover.yaml", environment or {})

    return from_text


@pytest.fixture
def error_of(loaded):
    def told(text):
        with pytest.raises(ConfigError) as caught:
            loaded(text)
        return str(caught.value)

    return told


def finders(result):
    return result.settings.process_discovery.scanner.regex


def analyzers(result):
    return result.settings.process_discovery.kubernetes.analyzers


def analyzer_file(*lines):
    return "\n".join(
        ["process_discovery:", "  kubernetes:", "    analyzers:"]
        + [f"      {'- ' if number == 0 else '  '}{line}" for number, line in enumerate(lines)]
    )


def finder_file(*lines, mode="AUTO"):
    return "\n".join(
        ["process_discovery:", "  scanner:", f"    mode: {mode}", "    regex:"]
        + [f"      {'- ' if number == 0 else '  '}{line}" for number, line in enumerate(lines)]
    )


def texts(analyzer):
    return (
        analyzer.active,
        [each.source for each in analyzer.filters],
        analyzer.layer,
        analyzer.service_name.source,
        analyzer.instance_name.source,
        analyzer.process_name.source,
        analyzer.labels.source,
    )


DEFAULTS = [
    (
        True,
        ['.Pod.HasContainer "istio-proxy"', 'eq .Container.Name "istio-proxy"'],
        "MESH_DP",
        MESH_NAME,
        "{{.Pod.Name}}",
        "{{.Process.ExeName}}",
        "mesh-envoy",
    ),
    (
        True,
        ['.Pod.HasContainer "istio-proxy"', 'ne .Container.Name "istio-proxy"'],
        "MESH",
        MESH_NAME,
        "{{.Pod.Name}}",
        "{{.Process.ExeName}}",
        "mesh-application",
    ),
    (
        True,
        [".Pod.HasServiceName"],
        "K8S_SERVICE",
        "{{.Pod.ServiceName}}.{{.Pod.Namespace}}",
        "{{.Pod.Name}}",
        "{{.Process.ExeName}}",
        "k8s-service",
    ),
]


def test_the_three_default_analyzers_stand_where_no_file_names_any():
    assert [texts(analyzer) for analyzer in analyzers(load(None, {}))] == DEFAULTS


def test_rovers_latest_file_means_the_same_three():
    result = load(FILES / "rover-0.7.yaml", {})
    assert [texts(analyzer) for analyzer in analyzers(result)] == DEFAULTS
    assert result.settings.process_discovery.kubernetes.active is True
    assert result.ignored == (
        "access_log",
        "pprof",
        "profiling.task.network",
        "profiling.continuous.meter_prefix",
    )
    assert result.warnings == ()


def test_rovers_early_file_with_its_scanner_is_read():
    result = load(FILES / "rover-0.3.yaml", {})
    scanner = result.settings.process_discovery.scanner
    assert (scanner.mode, scanner.period, scanner.agent_stale_after) == (
        ScanMode.AGENT_SENSOR,
        3,
        60,
    )
    assert scanner.regex == ()
    assert analyzers(result)[0].service_name.source == (
        "{{.Pod.Namespace}}::"
        '{{.Pod.LabelValue "service.istio.io/canonical-name,app.kubernetes.io/name,app" }}'
    )
    assert result.ignored == ("profiling.task.network",)
    assert result.settings.profiling.task.on_cpu.dump_period == 0.009
    assert result.warnings == ()


@pytest.mark.parametrize("file", [FILES / "rover-0.3.yaml", FILES / "rover-0.7.yaml", None])
@pytest.mark.parametrize(
    ("variable", "value", "number", "read"),
    [
        ("ISTIO_ENVOY_ACTIVE", "false", 0, lambda a: str(a.active).lower()),
        ("ISTIO_ENVOY_HAS_ENVOY", "true", 0, lambda a: a.filters[0].source),
        ("ISTIO_ENVOY_CONTAINER_IS_ENVOY", "false", 0, lambda a: a.filters[1].source),
        ("ISTIO_ENVOY_LAYER", "GENERAL", 0, lambda a: a.layer),
        ("ISTIO_ENVOY_SERVICE_NAME", "{{.Pod.Name}}", 0, lambda a: a.service_name.source),
        ("ISTIO_ENVOY_INSTANCE_NAME", "i", 0, lambda a: a.instance_name.source),
        ("ISTIO_ENVOY_PROCESS_NAME", "p", 0, lambda a: a.process_name.source),
        ("ISTIO_ENVOY_LABELS", "a,b", 0, lambda a: a.labels.source),
        ("K8S_SERVICE_ACTIVE", "0", -1, lambda a: str(int(a.active))),
        ("K8S_SERVICE_HAS_SERVICE", "true", -1, lambda a: a.filters[0].source),
        ("K8S_SERVICE_NAME", "{{.Pod.Name}}", -1, lambda a: a.service_name.source),
        ("K8S_SERVICE_LABLES", "x", -1, lambda a: a.labels.source),
    ],
)
def test_rovers_variables_reach_the_analyzers(variable, value, number, read, file):
    result = load(file, {ANALYZER + variable: value})
    assert read(analyzers(result)[number]) == value


@pytest.mark.parametrize("suffix", ["HAS_ENVOY", "CONTAINER_NOT_ENVOY"])
def test_the_second_analyzers_filters_have_variables_of_their_own(suffix):
    result = load(None, {f"{ANALYZER}ISTIO_APPLICATION_{suffix}": "false"})
    assert [each.source for each in analyzers(result)[1].filters].count("false") == 1


def test_the_right_spelling_of_labels_is_taken_as_well():
    result = load(None, {f"{ANALYZER}K8S_SERVICE_LABELS": "mine"})
    assert analyzers(result)[2].labels.source == "mine"


def test_an_analyzer_of_ones_own_has_defaults_for_what_it_leaves_out(loaded):
    result = loaded(analyzer_file("layer: GENERAL", "service_name: x"))
    (analyzer,) = analyzers(result)
    assert (analyzer.active, analyzer.filters, analyzer.labels) == (True, (), None)
    assert analyzer.instance_name.source == "{{.Pod.Name}}"
    assert analyzer.process_name.source == "{{.Process.ExeName}}"


def test_an_empty_list_of_analyzers_means_none(loaded):
    assert analyzers(loaded("process_discovery: {kubernetes: {analyzers: []}}")) == ()


def test_a_single_filter_need_not_be_a_list(loaded):
    text = analyzer_file("layer: GENERAL", "service_name: x", "filters: .Pod.HasServiceName")
    assert [each.source for each in analyzers(loaded(text))[0].filters] == [".Pod.HasServiceName"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["layer: GENERAL"], "analyzers[0].service_name: is missing; give it"),
        (["service_name: x"], "rover.yaml:4: process_discovery.kubernetes.analyzers[0].layer: is"),
        (["layer: GENERAL", "service_name: ''"], "rover.yaml:5: process_discovery.kubernetes.ana"),
        (
            ["layer: GENERAL", "service_name: '{{.Pod.Nam}}'"],
            "service_name: column 3: there is no Nam here; did you mean Name?; in '{{.Pod.Nam}}'",
        ),
        (
            ["layer: GENERAL", "service_name: x", "filters: [true, .Pod.Nope]"],
            "analyzers[0].filters[1]: column 1: there is no Nope here",
        ),
        (["layer: GENERAL", "service_name: x", "filters: ['']"], "filters[0]: is empty; remove it"),
        (["layer: GENERAL", "service_name: [x]"], "must be one value, not a list"),
        (["layer: GENERAL", "service_name: '{{.Finder.Layer}}'"], "there is no Finder here"),
        (["layer: GENERAL", "service_name: x", "active: perhaps"], "'perhaps': write true or"),
        (["layer: GENERAL", "service_name: x", "label: x"], "analyzers[0].label: there is no such"),
    ],
)
def test_what_is_wrong_with_an_analyzer_is_told_with_its_place(lines, told, error_of):
    assert told in error_of(analyzer_file(*lines))


@pytest.mark.parametrize(
    ("layer", "warned"),
    [
        ("GENERAL", ""),
        ("KONG", ""),
        ("general", "did you mean GENERAL?"),
        ("MESHDP", "did you mean MESH_DP?"),
        ("ZZZ", "see the layers"),
    ],
)
def test_a_layer_no_server_knows_is_warned_of(layer, warned, loaded):
    result = loaded(analyzer_file(f"layer: {layer}", "service_name: x"))
    assert analyzers(result)[0].layer == layer
    assert (warned in result.warnings[0]) if warned else result.warnings == ()


def test_a_filter_that_gives_text_is_warned_of(loaded):
    text = analyzer_file("layer: GENERAL", "service_name: x", "filters: [.Pod.Name]")
    assert "gives a string and no boolean" in loaded(text).warnings[0]


def test_variables_make_one_finder_where_no_file_names_any():
    environment = {
        f"{SCANNER}MATCH_CMD": "^java",
        f"{SCANNER}SERVICE_NAME": "{{.Finder.RegexMatchGroup 0}}",
        f"{SCANNER}INSTANCE_NAME": "{{.Rover.HostName}}",
        f"{SCANNER}PROCESS_NAME": "{{.Process.SystemdUnit}}",
        f"{SCANNER}LAYER": "GENERAL",
        f"{SCANNER}LABELS": "a,b",
    }
    for file in (None, FILES / "rover-0.3.yaml"):
        result = load(file, {**environment, "ROVER_PROCESS_DISCOVERY_SCAN_MODE": "REGEX"})
        (finder,) = finders(result)
        assert finder.match_cmd.pattern == "^java"
        assert (finder.layer, finder.labels.source) == ("GENERAL", "a,b")
        assert finder.service_name.source == "{{.Finder.RegexMatchGroup 0}}"
        assert finder.instance_name.source == "{{.Rover.HostName}}"
        assert finder.process_name.source == "{{.Process.SystemdUnit}}"
        assert result.warnings == ()


def test_a_finder_has_rovers_defaults_for_what_it_leaves_out(loaded):
    (finder,) = finders(loaded(finder_file("match_cmd: ^a", "service_name: x")))
    assert (finder.layer, finder.labels) == ("OS_LINUX", None)
    assert finder.instance_name.source == '{{.Rover.HostIPV4 "en0"}}'
    assert finder.process_name.source == "{{.Process.ExeName}}"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["match_cmd: ^a"], "regex[0].service_name: is missing"),
        (["service_name: a"], "regex[0].match_cmd: is missing"),
        (["match_cmd: '('", "service_name: a"], "regex[0].match_cmd: '(': not a regular"),
        (["match_cmd: a", "service_name: '{{.Pod.Name}}'"], "there is no Pod here"),
        (["match_cmd: a", "service_name: a", "layer: ''"], "regex[0].layer: is empty"),
    ],
)
def test_what_is_wrong_with_a_finder_is_told_with_its_place(lines, told, error_of):
    assert told in error_of(finder_file(*lines))


def test_a_finder_to_be_filled_in_by_variables_is_none_until_then(loaded):
    assert finders(loaded(finder_file("match_cmd: ${X:}", "service_name: ${Y:}"))) == ()


def test_a_finder_without_what_it_looks_for_is_warned_of(loaded):
    result = loaded("process_discovery: {scanner: {regex: [{layer: MYSQL}]}}")
    assert result.settings.process_discovery.scanner.regex == ()
    assert "regex[0]: names nothing without match_cmd and service_name" in result.warnings[0]


def test_finders_that_the_mode_does_not_ask_are_warned_of(loaded):
    finder = "{match_cmd: a, service_name: b}"
    result = loaded(f"process_discovery: {{scanner: {{mode: AGENT_SENSOR, regex: [{finder}]}}}}")
    assert "AGENT_SENSOR takes no notice of process_discovery.scanner.regex" in result.warnings[0]


def test_mode_regex_without_a_finder_is_no_error_where_pods_are_named(loaded):
    text = "process_discovery: {scanner: {mode: REGEX}, kubernetes: {active: true}}"
    assert "pods are named without it" in loaded(text).warnings[0]


def test_mode_regex_needs_a_finder(error_of):
    assert "REGEX needs at least one item" in error_of(
        finder_file("match_cmd: ''", "service_name: ''", mode="REGEX")
    )


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        (finder_file("match_cmd: ^a", "service_name: x"), f"{SCANNER}MATCH_CMD"),
        (analyzer_file("layer: GENERAL", "service_name: x"), f"{ANALYZER}K8S_SERVICE_ACTIVE"),
    ],
)
def test_a_variable_that_the_files_list_does_not_take_is_warned_of(text, variable, loaded):
    (warning,) = loaded(text, {variable: "false"}).warnings
    assert warning.startswith(f"{variable}: ")
    assert f"write ${{{variable}:default}} there" in warning

"""Flags, variables, the file and defaults become settings."""

import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from rover.config.keys import all_keys
from rover.config.load import DEFAULT_FILE, find_file, load
from rover.config.settings import FOREIGN_BELOW, FOREIGN_SECTIONS, Kind, ScanMode, Settings
from rover.errors import ConfigError

SINGLE = [setting for setting in all_keys() if "[]" not in setting.path]


@pytest.fixture
def loaded(tmp_path):
    def from_text(text="", environment=None, flags=None):
        file = tmp_path / "rover.yaml"
        file.write_text(text)
        return load(file, environment or {}, flags or {})

    return from_text


@pytest.fixture
def error_of(loaded, tmp_path):
    def told(*arguments):
        with pytest.raises(ConfigError) as caught:
            loaded(*arguments)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return told


def file_of(path, value):
    """Write a file that sets one key."""
    *sections, name = path.split(".")
    lines = [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections)]
    return "\n".join([*lines, f"{'  ' * len(sections)}{name}: {value}", ""])


def value_at(settings, path):
    """Find a value by the key's name in the file."""
    node = settings
    names = path.split(".")
    while names:
        for field in fields(node):
            name = (field.metadata.get("key") and field.metadata["key"].name) or field.name
            if ".".join([*names, ""]).startswith(f"{name}."):
                node = getattr(node, field.name)
                names = names[name.count(".") + 1 :]
                break
        else:
            raise AssertionError(path)
    return node


SAMPLES = {
    Kind.TEXT: ("some/text", "some/text"),
    Kind.FLAG: ("true", True),
    Kind.COUNT: ("7", 7),
    Kind.SECONDS: ("0m30s", 30.0),
    Kind.ENDPOINTS: ("oap-0:1, oap-1", "oap-0:1, oap-1"),
    Kind.LISTENER: ("localhost:9090", "localhost:9090"),
    Kind.WORDS: ("a, b,,c", ("a", "b", "c")),
}


def sample(setting):
    if setting.path == "logger.level":
        return "warning", "WARN"
    if setting.path.endswith("mode"):
        return "REGEX", ScanMode.REGEX
    return SAMPLES[setting.key.kind]


PLAIN = [s for s in SINGLE if s.key.kind in SAMPLES or s.path == "logger.level"]


def test_with_nothing_at_all_the_defaults_are_in_effect():
    result = load(None, {})
    expected = Settings()
    for setting in SINGLE:
        assert value_at(result.settings, setting.path) == value_at(expected, setting.path)
    assert {str(origin) for origin in result.origins.values()} == {"default"}
    assert (result.ignored, result.warnings, result.file) == ((), (), None)


@pytest.mark.parametrize("setting", PLAIN, ids=lambda setting: setting.path)
def test_each_key_is_set_by_file_variable_and_flag(setting, loaded):
    text, value = sample(setting)
    for result, origin in (
        (loaded(file_of(setting.path, text)), "rover.yaml"),
        (load(None, {setting.key.env: text}), f"env {setting.key.env}"),
        (load(None, {}, {setting.path: text}), "flag"),
    ):
        assert value_at(result.settings, setting.path) == value
        assert origin in str(result.origins[setting.path])


def test_every_key_has_a_variable_of_its_own():
    names = [setting.key.env for setting in SINGLE]
    assert all(names)
    assert len(set(names)) == len(names)


def test_a_flag_counts_before_a_variable_and_that_before_the_file(loaded):
    key, name = "core.cluster_name", "ROVER_CORE_CLUSTER_NAME"
    text = file_of(key, "file")
    assert loaded(text).settings.core.cluster_name == "file"
    assert loaded(text, {name: "env"}).settings.core.cluster_name == "env"
    assert loaded(text, {name: "env"}, {key: "flag"}).settings.core.cluster_name == "flag"


def test_an_empty_variable_counts_as_unset(loaded):
    result = loaded(file_of("core.cluster_name", "file"), {"ROVER_CORE_CLUSTER_NAME": ""})
    assert result.settings.core.cluster_name == "file"


def test_a_key_without_a_value_has_its_default(loaded):
    result = loaded("core:\n  backend:\n    addr:\n    check_period: ~\nlogger:\n")
    assert result.settings.core.backend.addr == "localhost:11800"
    assert result.settings.core.backend.check_period == 5


def test_the_origin_tells_file_line_and_the_variables_taken(loaded, tmp_path):
    result = loaded("core:\n  cluster_name: ${NAME:x}-${OTHER:y}\n", {"NAME": "east"})
    assert result.settings.core.cluster_name == "east-y"
    assert str(result.origins["core.cluster_name"]) == f"{tmp_path}/rover.yaml:2 with NAME"


def test_quotes_in_a_default_are_quotes(loaded):
    text = 'core:\n  cluster_name: ${UNSET:"a b"}\n  backend:\n    authentication: ${UNSET:""}\n'
    core = loaded(text).settings.core
    assert (core.cluster_name, core.backend.authentication) == ("a b", "")


def test_rovers_placeholders_for_certificates_stand_for_none(loaded):
    text = "core: {backend: {client_pem_path: '${ROVER_BACKEND_PEM_PATH:\"client.pem\"}'}}"
    assert loaded(text).settings.core.backend.client_pem_path == ""
    text = "core: {backend: {client_pem_path: client.pem}}"
    assert loaded(text).settings.core.backend.client_pem_path == "client.pem"


def test_keys_are_read_without_regard_to_case(loaded):
    text = "Core:\n  backend:\n    enable_tls: true\n    ADDR: oap:1\n"
    backend = loaded(text).settings.core.backend
    assert (backend.enable_tls, backend.addr) == (True, "oap:1")


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ('"7"', 7), ("7s", 7), ("0.5", 0.5), ("1m", 60)]
)
def test_a_bare_number_is_in_the_keys_unit(text, seconds, loaded):
    result = loaded(file_of("core.backend.check_period", text))
    assert result.settings.core.backend.check_period == seconds


@pytest.mark.parametrize(
    ("text", "value"), [("yes", True), ("off", False), ("1", True), ('"T"', True), ('""', False)]
)
def test_booleans_are_viper_s(text, value, loaded):
    result = loaded(file_of("process_discovery.kubernetes.active", text))
    assert result.settings.process_discovery.kubernetes.active is value


@pytest.mark.parametrize("text", ["a,b", "[a, b]", '"a , b"', '["a", " b", ""]'])
def test_a_list_of_words_is_written_with_commas_or_as_a_list(text, loaded):
    result = loaded(file_of("process_discovery.kubernetes.namespaces", text))
    assert result.settings.process_discovery.kubernetes.namespaces == ("a", "b")


def test_ignore_rules_are_a_list_or_one_a_line(loaded):
    listed = loaded(file_of("process_discovery.ignore", "['^a{1,2}', b]"))
    lines = load(None, {"ROVER_PROCESS_DISCOVERY_IGNORE": "^a{1,2}\nb\n"})
    for result in (listed, lines):
        patterns = result.settings.process_discovery.ignore
        assert [pattern.pattern for pattern in patterns] == ["^a{1,2}", "b"]


@pytest.mark.parametrize("section", FOREIGN_SECTIONS)
def test_other_modules_keys_are_ignored_and_said(section, loaded):
    result = loaded(f"{section}:\n  active: ${{X:true}}\n  anything: [1, {{}}]\n")
    assert result.ignored == (section,)


@pytest.mark.parametrize("section", FOREIGN_BELOW)
def test_other_modules_keys_below_ours_are_ignored_and_said(section, loaded):
    result = loaded(file_of(f"{section}.anything", "[1, {}]"))
    assert result.ignored == (section,)
    assert result.unknown == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cor: {}", "rover.yaml:1: cor: there is no such key; did you mean core?"),
        (
            "core:\n  backend:\n    adr: x",
            "rover.yaml:3: core.backend.adr: there is no such key; did you mean core.backend.addr?",
        ),
        ("heartbeat_period: 1s", "did you mean process_discovery.heartbeat_period?"),
        ("core:\n  addr: x", "did you mean core.backend.addr?"),
        ("profilng: {}", "did you mean profiling?"),
        ("scanner:\n  mode: AUTO", "did you mean process_discovery.scanner?"),
        (
            "core:\n  backend:\n    enableTLS: true",
            "enableTLS: there is no such key; did you mean core.backend.enable_TLS?",
        ),
        (
            "core:\n  backend:\n    addr: oap:²",
            "rover.yaml:3: core.backend.addr: 'oap:²': the port is '²'",
        ),
        ("status:\n  addr: here", "rover.yaml:2: status.addr: 'here': is no address"),
        ('core:\n  state_dir: ""', "rover.yaml:2: core.state_dir: is empty; give it"),
        (
            "process_discovery:\n  settle_time: 100000h",
            "rover.yaml:2: process_discovery.settle_time: '100000h': it must be at most 1m",
        ),
        ("process_discovery:\n  reconcile_period: 1000h", "it must be at most 168h"),
        (
            "rover:\n  core:\n    cluster_name: x\n  logger: {}",
            "rover.yaml:1: rover: there is no such key; core, logger must stand at the top",
        ),
        ("zzz: 1", "rover.yaml:1: zzz: there is no such key; see docs/configuration.md"),
        ("core: x", "rover.yaml:1: core: there must be keys below it"),
        ("core: [x]", "there must be keys below it"),
        ("core:\n  backend:\n    addr: [a]", "core.backend.addr: there must be one value"),
        ("core:\n  backend:\n    addr: {a: b}", "core.backend.addr: there must be a value"),
        ("core: {backend: {check_period: soon}}", "'soon': write a duration like 20s"),
        ("process_discovery: {heartbeat_period: 10ms}", "'10ms': it must be at least 1s"),
        ("process_discovery: {properties_report_period: 0}", "'0': it must be at least 1"),
        ("process_discovery: {properties_report_period: ten}", "'ten': write a whole number"),
        ("process_discovery: {require_ebpf: maybe}", "'maybe': write true or false"),
        ("logger: {level: LOUD}", "write one of DEBUG, INFO, WARN, ERROR"),
        ("process_discovery: {ignore: ['(']}", "process_discovery.ignore: '(': not a regular"),
        ("process_discovery: {scanner: {mode: REGEX}}", "REGEX needs at least one item"),
        ("process_discovery: {scanner: {regex: {}}}", "there must be a list"),
        ("process_discovery: {scanner: {regex: [x]}}", "regex[0]: there must be keys"),
        ("process_discovery: {scanner: {regex: [{layr: X}]}}", "did you mean process_discovery.sc"),
        ('core: {cluster_name: "a\\nb"}', "control characters"),
        (f"core: {{cluster_name: {'x' * 5000}}}", "longer than 4096"),
        ("profiling: {actve: true}", "did you mean profiling.active?"),
        ("profiling: {task: {on_cpu: {dump_period: 900us}}}", "'900us': it must be at least 1ms"),
        ("a: [", "rover.yaml:1: column 5: not valid YAML"),
    ],
)
def test_an_error_is_told_with_file_line_key_and_advice(text, told, error_of):
    message = error_of(text)
    assert told in message
    assert message.startswith("rover.yaml:1:") or "rover.yaml:2" in message or "3" in message


def test_a_variable_without_braces_is_told(loaded):
    (told,) = loaded("core: {state_dir: $HOME/rover}\n").warnings
    assert "core.state_dir: $HOME stays as it is; write ${HOME:}" in told
    assert loaded("core: {state_dir: /srv/$1/a$b}\n").warnings == ()


def test_a_section_of_a_module_that_nobody_here_knows_is_ignored_and_said(loaded):
    assert loaded("continuous_profiling:\n  period: 5s\n").ignored == ("continuous_profiling",)


def test_a_flag_is_read_without_regard_to_case():
    flags = {"core.backend.enable_tls": "true"}
    assert load(None, {}, flags).settings.core.backend.enable_tls is True


def test_an_error_in_a_variable_or_flag_is_told_with_its_name():
    for environment, flags, told in (
        ({"ROVER_BACKEND_TIMEOUT": "x"}, {}, "ROVER_BACKEND_TIMEOUT: core.backend.timeout: 'x'"),
        ({}, {"core.backend.timeout": "x"}, "flag: core.backend.timeout: 'x'"),
        ({}, {"core.nope": "x"}, "flag: core.nope: there is no such key"),
    ):
        with pytest.raises(ConfigError, match=told):
            load(None, environment, flags)


def test_an_error_in_a_value_taken_from_a_variable_tells_both(error_of):
    told = error_of("core: {backend: {timeout: '${SOME:1s}'}}", {"SOME": "x"})
    assert told.startswith("rover.yaml:1 with SOME: core.backend.timeout: 'x'")


def test_several_errors_are_told_together_in_the_order_of_the_file(error_of):
    message = error_of("logger:\n  level: X\ncor: 1\nprocess_discovery:\n  heartbeat_period: x\n")
    assert message.splitlines()[0] == "3 settings are wrong:"
    assert [line.split(":")[1] for line in message.splitlines()[1:]] == ["2", "3", "5"]


def test_a_secret_is_never_told(error_of):
    assert "s3cret" not in error_of('core: {backend: {authentication: "s3cret\\u0007"}}')


def test_a_name_without_a_default_is_left_and_warned_of(loaded):
    result = loaded("core:\n  cluster_name: ${NAME}\n", {"NAME": "x"})
    assert result.settings.core.cluster_name == "${NAME}"
    assert "write ${NAME:} to have it replaced" in result.warnings[0]


def test_settings_are_frozen_all_the_way_down():
    def check(node):
        for field in fields(node):
            with pytest.raises(AttributeError):
                setattr(node, field.name, None)
            if is_dataclass(value := getattr(node, field.name)):
                check(value)

    check(load(None, {}).settings)


def test_the_file_is_the_given_one_else_the_variables_else_the_usual(tmp_path, monkeypatch):
    named = {"ROVER_CONFIG": "/named.yaml"}
    assert find_file(Path("/given.yaml"), named) == Path("/given.yaml")
    assert find_file(None, named) == Path("/named.yaml")
    usual = tmp_path / "rover.yaml"
    monkeypatch.setattr("rover.config.load.DEFAULT_FILE", usual)
    assert find_file(None, {}) is None
    usual.touch()
    assert find_file(None, {}) == usual
    assert Path("/etc/rover/rover.yaml") == DEFAULT_FILE


def test_without_a_file_no_yaml_parser_is_loaded():
    code = (
        "import sys; from rover.config.load import load; load(None, {});"
        " print('yaml' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"

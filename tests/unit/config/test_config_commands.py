"""``rover config check`` and ``rover config show``."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from rover.cli import main

FILES = Path(__file__).parent / "files"


@pytest.fixture
def rover(monkeypatch):
    def run(*arguments, **environment):
        monkeypatch.delenv("ROVER_CONFIG", raising=False)
        return CliRunner().invoke(main, [str(a) for a in arguments], env=environment)

    return run


def test_a_good_file_is_called_good(rover):
    result = rover("config", "check", FILES / "rover-0.7.yaml")
    assert (result.exit_code, "is good" in result.stdout) == (0, True)
    told = "access_log, pprof, profiling.task.network, profiling.continuous.meter_prefix"
    assert f"ignored: {told} configure" in result.stderr


def test_a_bad_file_ends_with_two_and_all_errors(rover, tmp_path):
    file = tmp_path / "rover.yaml"
    file.write_text("cor: 1\nlogger: {level: LOUD}\n")
    result = rover("config", "check", file)
    assert result.exit_code == 2
    assert f"{file}:1: cor: there is no such key" in result.stderr
    assert f"{file}:2: logger.level: 'LOUD'" in result.stderr
    assert "Traceback" not in result.stderr


def test_warnings_do_not_make_a_file_bad(rover, tmp_path):
    file = tmp_path / "rover.yaml"
    file.write_text("core: {cluster_name: '${NAME}'}")
    result = rover("config", "check", file)
    assert (result.exit_code, "warning: " in result.stderr) == (0, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "sets nothing"),
        ("# core:\n#   cluster_name: x\n", "sets nothing"),
        ("core:\n  backend:\n", "sets nothing"),
        ("profiling: {task: {network: {report_interval: 2s}}}\n", "sets nothing"),
        ("profiling: {active: true}\n", "is good"),
        ("process_discovery: {scanner: {regex: []}}\n", "is good"),
        ("core: {cluster_name: x}\n", "is good"),
        ("core: {cluster_name: '${NAME:x}'}\n", "is good"),
        ("skywalking: {cluster: x}\ncore: {cluster_name: x}\n", "skywalking: neither this agent"),
        ("rover: {core: {cluster_name: x}}\n", "core must stand at the top"),
        ("core: {backend: {addr: '$OAP_HOST:11800'}}\n", "write ${OAP_HOST:default}"),
        ("core: {backend: {addr: 10.0.0.300}}\n", "no IPv4 address"),
        ("status: {addr: '$HOST:9090'}\n", "no name of a host"),
        ("status: {addr: '10.0.0.300:9090'}\n", "no IPv4 address"),
    ],
)
def test_a_file_of_which_no_notice_would_be_taken_is_not_called_good(rover, tmp_path, text, told):
    file = tmp_path / "rover.yaml"
    file.write_text(text)
    result = rover("config", "check", file)
    assert told in result.stdout + result.stderr
    assert result.exit_code == (0 if told == "is good" else 2)


def test_a_file_that_is_not_there_ends_with_two(rover, tmp_path):
    result = rover("config", "check", tmp_path / "none.yaml")
    assert (result.exit_code, "cannot be read" in result.stderr) == (2, True)


def test_effective_values_are_shown_with_their_origins(rover):
    file = FILES / "rover-0.7.yaml"
    result = rover("config", "show", "--config", file, ROVER_CORE_CLUSTER_NAME="east")
    lines = dict(line.split("  # ") for line in result.stdout.splitlines())
    by_key = {key.split(":")[0]: (key.strip(), origin) for key, origin in lines.items()}
    assert by_key["core.cluster_name"] == (
        "core.cluster_name: east",
        "env ROVER_CORE_CLUSTER_NAME",
    )
    assert by_key["core.state_dir"] == ("core.state_dir: /var/lib/rover", "default")
    assert by_key["logger.level"] == ("logger.level: INFO", f"{file}:3")


def test_effective_values_are_shown_as_json(rover):
    result = rover("config", "show", "-o", "json", ROVER_CONFIG=str(FILES / "rover-0.3.yaml"))
    shown = json.loads(result.stdout)
    assert shown["file"] == str(FILES / "rover-0.3.yaml")
    assert shown["ignored"] == ["profiling.task.network"]
    assert shown["settings"]["process_discovery.heartbeat_period"]["value"] == "20s"
    filters = shown["settings"]["process_discovery.kubernetes.analyzers[1].filters"]["value"]
    assert filters == [".Pod.HasServiceName"]


@pytest.mark.parametrize("output", ["text", "json"])
def test_secrets_are_masked(output, rover):
    result = rover("config", "show", "-o", output, ROVER_BACKEND_AUTHENTICATION="s3cret")
    assert result.exit_code == 0
    assert "s3cret" not in result.output
    assert "********" in result.output


def test_ctrl_c_before_a_command_hears_of_it_ends_with_130(rover, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rover.cli.options.load", interrupted)
    result = rover("config", "show")
    assert (result.exit_code, result.output) == (130, "")


def test_what_flags_set_is_shown_with_its_origin(rover):
    result = rover("config", "show", "--set", "core.Cluster_Name=east", "--state-dir", "/srv/rover")
    assert re.search(r"^core\.cluster_name: east +# flag$", result.output, re.MULTILINE)
    assert re.search(r"^core\.state_dir: /srv/rover +# flag$", result.output, re.MULTILINE)


def test_standard_input_is_checked_where_the_file_is_a_minus(monkeypatch):
    monkeypatch.delenv("ROVER_CONFIG", raising=False)

    def check(text):
        return CliRunner().invoke(main, ["config", "check", "-"], input=text)

    assert check("core: {cluster_name: east}").stdout.startswith("standard input is good: 1 value ")
    wrong = check("core: {cluster_nam: east}")
    assert wrong.exit_code == 2
    assert "standard input:1: core.cluster_nam: there is no such key" in wrong.stderr
    assert "standard input: sets nothing" in check("").stderr
    assert "larger than 256 KiB" in check("#" * 300_000).stderr

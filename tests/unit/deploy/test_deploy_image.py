"""The image stands in for SkyWalking Rover's; `python -m bench.image` builds and runs it."""

from __future__ import annotations

import json
from pathlib import Path

from bench.image import ROVERS_FILE
from bench.rig.dockerfile import DOCKERFILE, instructions
from rover import __version__
from rover.cli.start import start
from rover.config.load import load

ROOT = Path(__file__).parents[3]
STEPS = list(instructions(DOCKERFILE.read_text()))


def of(name: str) -> list[str]:
    return [rest for step, rest in STEPS if step == name]


def test_the_command_is_at_the_same_path_and_nothing_comes_before_it():
    assert json.loads(of("CMD")[0]) == ["/skywalking-rover", "start"]
    assert not of("ENTRYPOINT")
    assert any("ln -s /opt/rover/bin/rover /skywalking-rover" in run for run in of("RUN"))


def test_the_configuration_is_at_the_same_path_and_is_the_one_that_is_read():
    assert f"deploy/{ROVERS_FILE.name} {ROVERS_FILE}" in of("COPY")
    assert any(f"ln -s {ROVERS_FILE} /etc/rover/rover.yaml" in run for run in of("RUN"))


def test_the_option_has_the_same_letters():
    (config,) = [option for option in start.params if option.name == "config"]
    assert config.opts == ["-c", "--config"]


def test_the_configuration_in_the_image_sets_nothing():
    empty, plain = load(ROOT / "deploy" / ROVERS_FILE.name, {}), load(None, {})
    assert empty.settings == plain.settings
    assert empty.warnings == ()


def test_the_image_holds_bcc_and_no_compiler():
    (last,) = [run for run in of("RUN") if "python3-bpfcc" in run]
    packages = last.partition("--no-install-recommends")[2].partition("&&")[0].split()
    assert packages == ["python3-bpfcc", "ca-certificates"]


def test_what_is_copied_is_there():
    for copied in of("COPY"):
        if not copied.startswith("--from="):
            assert (ROOT / copied.split()[0]).exists()


def test_the_tag_is_the_version():
    assert f"-t rover:{__version__} " in DOCKERFILE.read_text().splitlines()[0]

"""The image stands in for SkyWalking Rover's; `python -m bench.image` builds and runs it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

from bench.engine import words_of_the_doc
from bench.image import ROVERS_FILE
from bench.rig.container import Container
from bench.rig.dockerfile import DOCKERFILE, instructions
from rover import __version__
from rover.cli.start import start
from rover.config.load import load

ROOT = Path(__file__).parents[3]
PRUNE = ROOT / "deploy" / "prune.sh"
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


def test_the_configuration_in_the_image_says_defaults_and_is_not_complained_of():
    said, plain = load(ROOT / "deploy" / ROVERS_FILE.name, {}), load(None, {})
    assert said.settings == plain.settings
    assert not said.sets_nothing
    assert said.warnings == ()


def test_the_image_holds_bcc_and_no_compiler():
    (last,) = [run for run in of("RUN") if "python3-bpfcc" in run]
    packages = last.partition("--no-install-recommends")[2].partition("&&")[0].split()
    assert packages == ["python3-bpfcc", "ca-certificates"]


LOAD_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # an import of it fails
import rover
for module in pkgutil.walk_packages(rover.__path__, "rover."):
    if not module.name.endswith(("pytest_plugin", "__main__", "probes.loader")):
        importlib.import_module(module.name)
import kubernetes.config.kube_config, rich.console, rich.live, rich.table
print(*(name for name, module in sys.modules.items() if module))
"""


def test_what_is_pruned_of_the_libraries_is_there_and_never_loaded():
    listed = re.search(r"for name in ((?:[a-z_]+|\\\s|\s)+); do", PRUNE.read_text())
    assert listed
    packages = listed[1].replace("\\", "").split()
    assert [name for name in packages if importlib.util.find_spec(name) is None] == []
    said = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, "kubernetes.aio", *packages],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    pruned = ("kubernetes.client.models.", "kubernetes.client.api.")
    assert [name for name in said.stdout.split() if name.startswith(pruned)] == []


def test_the_image_says_what_it_is_made_of():
    assert any("sbom.py --debian rover" in run for run in of("RUN"))


def test_what_is_copied_is_there():
    for copied in of("COPY"):
        if not copied.startswith("--from="):
            assert (ROOT / copied.split()[0]).exists()


def test_the_documents_commands_build_and_run_this_image_with_the_manifests_rights():
    words = words_of_the_doc()
    assert f"rover:{__version__}" in words["build"]
    assert words["run"][-1] == f"rover:{__version__}"
    given = {word.removeprefix("--cap-add=") for word in words["run"] if "cap-add" in word}
    older_kernels = {"SYS_RESOURCE"}
    assert given == {*Container.of_manifest("node").capabilities} - older_kernels
    assert "seccomp=unconfined" in words["run"], "podman, and Docker before 23, forbid bpf(2)"


def test_the_tag_is_the_version():
    assert f"-t rover:{__version__} " in DOCKERFILE.read_text().splitlines()[0]

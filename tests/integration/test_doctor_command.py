"""`rover doctor` on hosts that are broken in one way each: the first cause stands first."""

from __future__ import annotations

import errno
import itertools
import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_rig import ROVER, running
from captured import WAYS, agrees, shown
from certificates import make_certificates
from node_rig import denying
from status_rig import NOBODY

from bench.cluster.api import ApiServer
from bench.cluster.objects import NODE
from bench.rig.follower import kubeconfig
from rover.backend import BackendOptions, EmbeddedBackend, Tls

SECRET = "doctors-secret-token"  # noqa: S105 - made up
OF_THE_MACHINE = {"clock", "/proc", "security modules", "other agents"}
"""Warnings that depend on the machine that tests run on, and on what else runs there."""


@pytest.fixture(scope="module")
def backend() -> Iterator[EmbeddedBackend]:
    with EmbeddedBackend() as server:
        yield server


def doctor(
    folder: Path,
    *options: object,
    wrap: tuple[str, ...] = (),
    addr: str,
    environment: dict[str, str] | None = None,
) -> tuple[dict[str, Any], int]:
    """Return the report and the exit code."""
    done = subprocess.run(
        [*wrap, ROVER, "doctor", "-o", "json", "--state-dir", folder / "state", *map(str, options)],
        capture_output=True, text=True, check=False, timeout=90,
        env={**os.environ, "ROVER_BACKEND_ADDR": addr, **(environment or {})},
    )  # fmt: skip
    try:
        return json.loads(done.stdout), done.returncode
    except ValueError:
        pytest.fail(f"{done.stdout}\n{done.stderr}")


def first(report: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in report["checks"] if each["subject"] == report["first"])


def in_mounts(script: str, *then: str) -> tuple[str, ...]:
    """Run in a mount namespace of its own, after a script has changed it."""
    return ("unshare", "--mount", "sh", "-ec", f'{script}\nexec "$@"', "sh", *then)


HIDE_BTF = "mount -t tmpfs none /sys/kernel/btf"
NO_TRACEFS = f"{HIDE_BTF}\nmount -t tmpfs none /sys/kernel/tracing\n"
NO_BCC = "mount -t tmpfs none /usr/lib/python3/dist-packages/bcc"
HIDE_PROCESSES = "mount -t proc -o hidepid=2 proc /proc"
PARANOID = (
    f"{HIDE_BTF}\nmountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing\n"
    "echo 3 >/run/paranoid-for-a-test\n"
    "mount --bind /run/paranoid-for-a-test /proc/sys/kernel/perf_event_paranoid\n"
    "rm /run/paranoid-for-a-test"
)
WITHOUT_ADMIN = ("setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin")
WITHOUT_BPF = ("setpriv", "--inh-caps=-all", "--bounding-set=-bpf,-perfmon,-sys_admin")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
TRACING = (*AS_NOBODY, "--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon")
KEEPING_BPF = (
    *AS_NOBODY,
    "--inh-caps=+bpf,+perfmon,+dac_read_search",
    "--ambient-caps=+bpf,+perfmon,+dac_read_search",
)

BROKEN = {
    "not root": (AS_NOBODY, "rights", f"not root (uid {NOBODY})"),
    "no CAP_BPF": (WITHOUT_BPF, "rights", "root, but without CAP_PERFMON, CAP_BPF"),
    "/proc of another pid namespace": (
        ("unshare", "--pid", "--fork"), "pid namespace", "/proc shows the processes of another",
    ),
    "own user namespace": (
        ("unshare", "--user", "--map-root-user"), "user namespace", "1 ids",
    ),
    "no tracefs and no BTF": (
        in_mounts(NO_TRACEFS, *WITHOUT_ADMIN), "tracefs", "without BTF it is needed",
    ),
    "paranoid 3 without BTF": (
        in_mounts(PARANOID, *WITHOUT_ADMIN), "perf_event_paranoid", "3: without raw tracepoints",
    ),
    "no BCC": (in_mounts(NO_BCC), "BCC", "has none"),
    "no /sys": (in_mounts("mount -t tmpfs none /sys"), "tracefs", "/sys is not mounted"),
    "a seccomp profile": (denying("bpf", errno.EPERM), "system calls", "bpf refused"),
    "hidden processes": (
        in_mounts(HIDE_PROCESSES, *KEEPING_BPF), "/proc", "hidepid=",
    ),
}  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("name", BROKEN)
def test_the_first_cause_of_a_broken_host_stands_first(
    name: str, backend: EmbeddedBackend, tmp_path: Path
):
    wrap, subject, says = BROKEN[name]
    if name == "hidden processes":
        tmp_path.joinpath("state").mkdir()
        os.chown(tmp_path / "state", NOBODY, NOBODY)
    report, code = doctor(tmp_path, wrap=wrap, addr=backend.address)
    assert report["first"] == subject
    assert says in first(report)["says"]
    assert first(report)["mend"]
    assert (report["outcome"], code) == ("fail", 1)
    load = next(each for each in report["checks"] if each["subject"] == "load and attach")
    assert load["outcome"] in {"ok", "warn"} or load["because"] == subject


@pytest.mark.kernel
def test_a_pid_namespace_of_its_own_is_told_and_hinders_nothing(
    backend: EmbeddedBackend, tmp_path: Path
):
    wrap = ("unshare", "--pid", "--fork", "--mount-proc")
    report, code = doctor(tmp_path, wrap=wrap, addr=backend.address)
    told = {each["subject"]: each for each in report["checks"]}
    assert "sees no process outside" in told["pid namespace"]["says"]
    assert "`hostPID: true`" in told["pid namespace"]["mend"]
    assert (told["load and attach"]["outcome"], code) == ("ok", 0)


@pytest.mark.kernel
def test_pypis_bcc_is_told_from_the_distributions(backend: EmbeddedBackend, tmp_path: Path):
    package = tmp_path / "pypi" / "bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    path = {"PYTHONPATH": str(tmp_path / "pypi")}
    report, code = doctor(tmp_path, addr=backend.address, environment=path)
    assert (report["first"], code) == ("BCC", 1)
    assert "another library of that name" in first(report)["says"]
    assert first(report)["mend"].startswith("pip uninstall bcc")


@pytest.mark.kernel
def test_a_host_where_all_is_there_has_nothing_that_fails(backend: EmbeddedBackend, tmp_path: Path):
    report, code = doctor(tmp_path, addr=backend.address)
    wrong = [each for each in report["checks"] if each["outcome"] != "ok"]
    assert {each["subject"] for each in wrong} <= OF_THE_MACHINE, wrong
    assert code == 0


def test_a_full_state_directory_is_told(backend: EmbeddedBackend, tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir()
    script = f"mount -t tmpfs -o size=16k,mode=700 none {state}\nhead -c 16384 /dev/zero >{state}/x"
    report, code = doctor(tmp_path, "--no-load", wrap=in_mounts(script), addr=backend.address)
    assert (report["first"], code) == ("state directory", 1)
    assert "is full: No space left on device" in first(report)["says"]


def test_a_backend_that_is_down_is_told_by_its_port(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        addr = f"127.0.0.1:{taken.getsockname()[1]}"
        report, code = doctor(tmp_path, "--no-load", addr=addr)
    assert (report["first"], code) == (f"backend {addr} port", 1)
    assert "Connection refused" in first(report)["says"]


def test_a_name_that_leads_nowhere_is_told_before_the_port(tmp_path: Path):
    report, code = doctor(tmp_path, "--no-load", addr="oap.invalid:11800")
    assert (report["first"], code) == ("backend oap.invalid:11800 name", 1)


@contextmanager
def web_server() -> Iterator[str]:
    """A port that accepts, and answers as a web server does."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def test_a_wrong_port_is_told_by_the_call(tmp_path: Path):
    with web_server() as addr:
        report, code = doctor(tmp_path, "--no-load", addr=addr)
    assert (report["first"], code) == (f"backend {addr} report", 1)
    assert "core.backend.enable_TLS" in first(report)["mend"]


def test_tls_on_one_side_alone_is_told_with_the_key(backend: EmbeddedBackend, tmp_path: Path):
    tls = {"ROVER_BACKEND_ENABLE_TLS": "true"}
    report, code = doctor(tmp_path, "--no-load", addr=backend.address, environment=tls)
    assert (report["first"], code) == (f"backend {backend.address} report", 1)
    assert "does not seem to speak TLS" in first(report)["mend"]


def test_a_certificate_of_another_authority_is_told(tmp_path: Path):
    folder = make_certificates(tmp_path)
    options = BackendOptions(tls=Tls(folder / "server.pem", folder / "server.key"))
    tls = {
        "ROVER_BACKEND_ENABLE_TLS": "true",
        "ROVER_BACKEND_CA_PEM_PATH": str(folder / "stranger.pem"),
    }
    with EmbeddedBackend(options) as server:
        addr = f"localhost:{server.address.rpartition(':')[2]}"
        report, _ = doctor(tmp_path, "--no-load", addr=addr, environment=tls)
        assert report["first"] == f"backend {addr} report"
        assert "core.backend.ca_pem_path" in first(report)["mend"]
        tls["ROVER_BACKEND_CA_PEM_PATH"] = str(folder / "ca.pem")
        report, code = doctor(tmp_path, "--no-load", addr=addr, environment=tls)
    assert code == 0


def test_a_token_that_is_not_taken_is_told_and_never_shown(tmp_path: Path):
    with EmbeddedBackend(BackendOptions(token="another")) as server:  # noqa: S106
        token = {"ROVER_BACKEND_AUTHENTICATION": SECRET}
        report, _ = doctor(tmp_path, "--no-load", addr=server.address, environment=token)
    assert report["first"] == f"backend {server.address} report"
    assert "core.backend.authentication" in first(report)["mend"]
    assert SECRET not in json.dumps(report)


def test_a_token_that_the_agents_user_may_not_read_is_told_before_the_calls(
    backend: EmbeddedBackend, tmp_path: Path
):
    token = private(tmp_path / "token")
    file = {"ROVER_BACKEND_AUTHENTICATION_FILE": str(token)}
    report, code = as_user(tmp_path, addr=backend.address, environment=file)
    assert (report["first"], code) == (f"backend {backend.address} credentials", 1)
    assert f"{token} cannot be read: Permission denied" in first(report)["says"]
    assert SECRET not in json.dumps(report)


def test_a_kubeconfig_that_the_agents_user_may_not_read_is_told_with_that_user(
    backend: EmbeddedBackend, tmp_path: Path
):
    file = private(tmp_path / "kubeconfig")
    prefix = "ROVER_PROCESS_DISCOVERY_KUBERNETES_"
    environment = {prefix + "ACTIVE": "true", prefix + "KUBECONFIG": str(file)}
    report, code = as_user(tmp_path, addr=backend.address, environment=environment)
    assert (report["first"], code) == ("cluster credentials", 1)
    assert first(report)["mend"].startswith(f"let uid {NOBODY} read it, name another")


def as_user(folder: Path, *, addr: str, environment: dict[str, str]) -> tuple[dict[str, Any], int]:
    """Have the doctor run as a user that may trace, and has a state directory."""
    temporary = Path(tempfile.gettempdir())
    for each in (folder, *itertools.takewhile(lambda parent: parent != temporary, folder.parents)):
        each.chmod(0o755)
    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", NOBODY, NOBODY)
    return doctor(folder, "--no-load", wrap=TRACING, addr=addr, environment=environment)


def private(file: Path) -> Path:
    file.write_text(SECRET)
    file.chmod(0o600)
    return file


def test_a_proxy_that_is_away_is_told_with_the_variables_and_without_its_password(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        proxy = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = {"https_proxy": f"http://me:{SECRET}@{proxy}", "no_proxy": "", "NO_PROXY": ""}
        addr = "oap.example.org:11800"
        report, code = doctor(tmp_path, "--no-load", addr=addr, environment=environment)
    assert (report["first"], code) == (f"backend {addr} proxy", 1)
    assert f"{proxy}, which the environment names, cannot be reached" in first(report)["says"]
    assert "https_proxy" in first(report)["mend"]
    assert SECRET not in json.dumps(report)


def test_a_state_directory_that_is_a_file_is_told_once(backend: EmbeddedBackend, tmp_path: Path):
    tmp_path.joinpath("state").write_text("")
    report, code = doctor(tmp_path, "--no-load", addr=backend.address)
    assert (report["first"], code) == ("state directory", 1)
    assert [each["subject"] for each in report["checks"] if "does not answer" in each["says"]] == []


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("list", "pods"), ("watch", "pods"), ("list", "services"), ("watch", "services")],
)
def test_a_verb_that_rbac_does_not_allow_is_told(
    backend: EmbeddedBackend, tmp_path: Path, verb: str, resource: str
):
    with ApiServer() as api:
        api.denied.add((verb, resource))
        prefix = "ROVER_PROCESS_DISCOVERY_KUBERNETES_"
        environment = {
            prefix + "ACTIVE": "true",
            prefix + "NODE_NAME": NODE,
            prefix + "KUBECONFIG": kubeconfig(tmp_path, api.url),
        }
        report, code = doctor(tmp_path, "--no-load", addr=backend.address, environment=environment)
    assert (report["first"], code) == (f"cluster: {verb} {resource}", 1)
    assert f"allow the verb {verb} on {resource}" in first(report)["says"]
    others = [each for each in report["checks"] if each["subject"].startswith("cluster: ")]
    assert [each["outcome"] for each in others].count("fail") == 1


def test_without_credentials_for_the_cluster_that_is_told(backend: EmbeddedBackend, tmp_path: Path):
    active = {"ROVER_PROCESS_DISCOVERY_KUBERNETES_ACTIVE": "true"}
    report, _ = doctor(tmp_path, "--no-load", addr=backend.address, environment=active)
    assert report["first"] == "cluster credentials"


def test_a_layer_that_no_server_knows_is_a_warning(backend: EmbeddedBackend, tmp_path: Path):
    prefix = "ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_"
    finder = {"MATCH_CMD": "x", "SERVICE_NAME": "x", "LAYER": "OS_LINUKS"}
    environment = {prefix + name: value for name, value in finder.items()}
    report, code = doctor(tmp_path, "--no-load", addr=backend.address, environment=environment)
    layers = next(each for each in report["checks"] if each["subject"] == "layers")
    assert (layers["outcome"], code) == ("warn", 0)
    assert "did you mean OS_LINUX?" in layers["says"]


@pytest.mark.kernel
def test_a_running_agent_is_asked_and_its_directory_is_held(tmp_path: Path):
    with EmbeddedBackend() as server, running(server, tmp_path) as agent:
        server.state.wait_for(lambda held: held.processes, 20)
        report, code = doctor(tmp_path, addr=server.address)
        looked = {each["subject"]: each for each in report["checks"]}
        assert looked["running agent"]["says"] == f"well, pid {agent.pid}"
        assert f"held by the agent of pid {agent.pid}" in looked["state directory"]["says"]
        assert str(agent.pid) not in looked["other agents"]["says"]
        assert code == 0


def test_a_bundle_has_all_that_support_needs_and_no_secret(tmp_path: Path, spawn):
    child = spawn("/bin/sh", "-c", "sleep 60; : --password=hunter2")
    with EmbeddedBackend(BackendOptions(token=SECRET)) as server:
        file = tmp_path / "bundle.tar.gz"
        token = {"ROVER_BACKEND_AUTHENTICATION": SECRET}
        doctor(tmp_path, "--no-load", "--bundle", file, addr=server.address, environment=token)
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as bundle:
        texts = {each.name: bundle.extractfile(each).read().decode() for each in bundle}
    names = {name.removeprefix("rover-bundle/") for name in texts}
    assert names == {
        "doctor.json", "config.json", "status.json", "metrics.txt", "host.txt", "REMOVED.txt",
    }  # fmt: skip
    whole = "".join(texts.values())
    for secret in (SECRET, "hunter2", f"pid={child.pid}", "PYTEST_CURRENT_TEST"):
        assert secret not in whole
    assert "config.json: core.backend.authentication" in texts["rover-bundle/REMOVED.txt"]
    assert json.loads(texts["rover-bundle/doctor.json"])["checks"]


def test_a_bundle_replaces_no_file(backend: EmbeddedBackend, tmp_path: Path):
    file = tmp_path / "bundle.tar.gz"
    file.write_text("mine")
    done = subprocess.run(
        [ROVER, "doctor", "--no-load", "--bundle", file, "--state-dir", tmp_path / "state"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "ROVER_BACKEND_ADDR": backend.address},
    )  # fmt: skip
    assert done.returncode == 1
    assert "name another file" in done.stderr
    assert file.read_text() == "mine"


FAKE = """
import sys
from rover.cli import doctor as command
from rover.doctor.checks import explained, fail, ok, warn, Check, Outcome

def examine(*_, **__):
    return explained([
        ok("rover", "0.2.0, Python 3.11.2"),
        fail("rights", "not root (uid 1000), and without CAP_PERFMON, CAP_BPF",
             "run it as root, or give the capabilities: AmbientCapabilities= in a systemd unit, "
             "securityContext.capabilities.add: [PERFMON, BPF] in a pod"),
        Check("system calls", Outcome.SKIPPED, "not tried", needs=("rights",)),
        ok("BTF", "/sys/kernel/btf/vmlinux"),
        ok("BCC", "0.26.0 in /usr/bin/python3"),
        fail("load and attach", "the kernel refused the eBPF programs: Operation not permitted",
             "missing CAP_BPF", "rights"),
        warn("clock", "the kernel says that it is not synchronised; the backend dates beats by "
             "its own", "chronyd, systemd-timesyncd or ntpd"),
        fail("backend oap.example.org:11800 port", "no connection: Connection refused",
             "is the OAP up?"),
    ])

command.examine = examine
command.known_id = lambda settings: "id"
command.doctor(["--state-dir", "/nowhere"])
"""


@pytest.mark.parametrize("way", WAYS)
def test_it_fits_every_terminal(way: str):
    agrees(f"doctor-{way}", shown(sys.executable, "-c", FAKE, way=way))

"""The agent as deploy/daemonset.yaml runs it (`bench.rig.container`), with an emulated cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent_rig import RunningAgent

from bench.cluster.api import ApiServer
from bench.cluster.objects import NODE, pod
from bench.rig.container import Container, volumes
from bench.rig.manifest import manifest
from rover.backend import EmbeddedBackend

TOKEN = "the-account's"  # noqa: S105 - of the emulated API alone
AGENTS_POD = "rover-x7k2p"
NAMESPACE = manifest("DaemonSet")["metadata"]["namespace"]


@dataclass
class Cluster:
    """What surrounds the pod."""

    api: ApiServer
    backend: EmbeddedBackend
    folder: Path
    account: Path

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator[Cluster]:
        account = folder / "account"
        account.mkdir()
        key = folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=kubernetes",
             "-addext", "subjectAltName=IP:127.0.0.1", "-out", account / "ca.crt", "-keyout", key],
            check=True,
            capture_output=True,
        )  # fmt: skip
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(account / "ca.crt", key)
        (account / "token").write_text(TOKEN)
        (account / "namespace").write_text(NAMESPACE)
        with ApiServer(token=TOKEN, tls=tls) as api, EmbeddedBackend() as backend:
            api.put("pods", pod(AGENTS_POD, NAMESPACE))
            yield cls(api, backend, folder, account)

    @contextlib.contextmanager
    def pod(
        self,
        container: Container | None = None,
        *options: str,
        env: Mapping[str, str] | None = None,
        config: str | None = None,
        wrap: tuple[str, ...] = (),
    ) -> Iterator[RunningAgent]:
        """Run the DaemonSet's container until the end of the block.

        Args:
            container: The manifest's, or a variation of it.
            options: Added to its command.
            env: Added to its variables; an empty value takes one away.
            config: The configuration file, in place of the ConfigMap's.
            wrap: Started with the container's rights, to start the command.
        """
        container = container or Container.of_manifest(NODE)
        host, _, port = self.api.url.partition("://")[2].partition(":")
        variables = {
            **container.env,
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",  # the image's
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "HOSTNAME": AGENTS_POD,
            "ROVER_BACKEND_ADDR": self.backend.address,
            "ROVER_STATUS_ADDR": "127.0.0.1:0",  # this network is not the container's own
            **(env or {}),
        }
        container = replace(
            container,
            command=(*container.command, *options),
            env={name: value for name, value in variables.items() if value},
        )
        files = {"rover.yaml": config or manifest("ConfigMap")["data"]["rover.yaml"]}
        command = container.started_by(
            self.folder / "mounts",
            volumes(self.folder, files),
            account=self.account,
            wrap=wrap,
        )
        log = self.folder / "log"
        with log.open("wb") as sink:
            process = subprocess.Popen(command, stdout=sink, stderr=sink)
        try:
            yield RunningAgent(process, self.backend, log, self.folder / "state")
        finally:
            _end(process)
            if sys.exc_info()[0]:
                sys.stderr.write(log.read_text())


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        # the first process of a pid namespace is not the one that was started
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        is_parent = b"unshare" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        os.kill(int(children[0]) if is_parent and children else process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def without(container: Container, capability: str) -> Container:
    """Leave out a capability."""
    assert capability in container.capabilities
    rest = tuple(name for name in container.capabilities if name != capability)
    return replace(container, capabilities=rest)


SYSTEM_CALLS = {
    "bpf": {"x86_64": 321, "aarch64": 280},
    "perf_event_open": {"x86_64": 298, "aarch64": 241},
}


DENY = """
import ctypes, os, struct, sys
number, errno = int(sys.argv[1]), int(sys.argv[2])
steps = [
    (0x20, 0, 0, 0),  # load the number of the call
    (0x15, 0, 1, number),  # skip one step where it is another
    (0x06, 0, 0, 0x00050000 | errno),  # SECCOMP_RET_ERRNO
    (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
# PR_SET_SECCOMP with SECCOMP_MODE_FILTER
assert not libc.prctl(22, 2, ctypes.create_string_buffer(program)), ctypes.get_errno()
os.execvp(sys.argv[3], sys.argv[3:])
"""


def denying(call: str, errno: int) -> tuple[str, ...]:
    """Return what starts a command under a seccomp profile without a system call."""
    number = SYSTEM_CALLS[call][os.uname().machine]
    return (sys.executable, "-c", DENY, str(number), str(errno))

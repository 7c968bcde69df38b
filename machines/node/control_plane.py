"""The control plane of one node: etcd, API server, controller manager and scheduler."""

from __future__ import annotations

import json
import secrets
import ssl
import urllib.request
from pathlib import Path
from typing import Final

from machines.attaching import eventually
from machines.node.daemon import Daemon
from machines.node.place import ADDRESS, API_SERVICE, NODE, SERVICES, Place, run

ETCD: Final = "http://127.0.0.1:2379"
SERVER: Final = f"https://{ADDRESS}"
READY: Final = f"https://{ADDRESS}/readyz"
SUBJECTS: Final = (
    f"subjectAltName=IP:{ADDRESS},IP:{API_SERVICE},IP:127.0.0.1,DNS:kubernetes,"
    "DNS:kubernetes.default,DNS:kubernetes.default.svc"
)
USERS: Final = {
    "admin": ("admin", "system:masters"),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
}
"""By the program: whom the API server takes it for, and of which group."""


class ControlPlane:
    """Started once; its API server may be stopped and started again meanwhile."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._make_keys()
        self._make_accounts()
        self.etcd = self._daemon(
            "etcd",
            f"--data-dir={place.scratch}/etcd",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
        )
        self.api = self._daemon(
            "kube-apiserver",
            f"--etcd-servers={ETCD}",
            "--bind-address=0.0.0.0",
            "--secure-port=443",
            f"--advertise-address={ADDRESS}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--tls-cert-file={self._file('server.pem')}",
            f"--tls-private-key-file={self._file('server.key')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._file('accounts.key')}",
            f"--service-account-signing-key-file={self._file('accounts.key')}",
            f"--token-auth-file={self._file('tokens.csv')}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
        )
        self.controllers = self._daemon(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('kube-controller-manager')}",
            f"--root-ca-file={self._file('ca.pem')}",
            f"--service-account-private-key-file={self._file('accounts.key')}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
        )
        self.scheduler = self._daemon(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig('kube-scheduler')}",
            "--leader-elect=false",
        )

    def start(self) -> None:
        """Start all; return when the API server says that it is ready."""
        self.etcd.start()
        self.etcd.answers(f"{ETCD}/health")
        self.start_api()
        self.controllers.start()
        self.scheduler.start()

    def start_api(self) -> None:
        """Start the API server; return when it is ready."""
        self.api.start()
        trusted = ssl.create_default_context(cafile=self._file("ca.pem"))

        def ready() -> bool:
            try:
                urllib.request.urlopen(READY, timeout=5, context=trusted).close()
            except OSError:
                return False
            return True

        try:
            eventually(ready, "the API server ready")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.api.tail()}") from error

    def stop(self) -> None:
        """End all, the last started first."""
        for daemon in (self.scheduler, self.controllers, self.api, self.etcd):
            daemon.stop()

    def new_account_keys(self) -> None:
        """Take another key for the tokens of accounts: every token so far is refused from now on.

        The API server and the controllers count with it from their next start.
        """
        run("openssl", "genrsa", "-out", self._file("accounts.key"), "2048")

    def kubeconfig(self, program: str) -> Path:
        """Return the file by which a program finds the API server."""
        return self.place.file(f"{program}.kubeconfig")

    def _daemon(self, program: str, *arguments: str) -> Daemon:
        command = [str(self.place.components / program), *arguments]
        return Daemon(program, command, self.place.logs)

    def _file(self, name: str) -> str:
        return str(self.place.file(name))

    def _make_keys(self) -> None:
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        run(
            *("openssl", "req", "-x509", *new, "-days", "2", "-subj", "/CN=node's authority"),
            *("-keyout", self._file("ca.key"), "-out", self._file("ca.pem")),
        )
        run(
            *("openssl", "req", *new, "-subj", "/CN=kube-apiserver"),
            *("-keyout", self._file("server.key"), "-out", self._file("server.csr")),
        )
        self.place.file("names").write_text(SUBJECTS)
        run(
            *("openssl", "x509", "-req", "-in", self._file("server.csr"), "-days", "2"),
            *("-CA", self._file("ca.pem"), "-CAkey", self._file("ca.key"), "-CAcreateserial"),
            *("-extfile", self._file("names"), "-out", self._file("server.pem")),
        )
        self.new_account_keys()

    def _make_accounts(self) -> None:
        lines = []
        for number, (program, (user, group)) in enumerate(USERS.items()):
            token = secrets.token_hex(16)
            lines.append(f'{token},{user},{number},"{group}"')
            described = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "it",
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
                "clusters": [
                    {
                        "name": "it",
                        "cluster": {
                            "server": SERVER,
                            "certificate-authority": self._file("ca.pem"),
                        },
                    }
                ],
                "users": [{"name": "it", "user": {"token": token}}],
            }
            self.kubeconfig(program).write_text(json.dumps(described))
        self.place.file("tokens.csv").write_text("\n".join(lines) + "\n")

"""The embedded backend behind TLS and mutual TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc
import pytest
from backend_wire import QUICK_RECONNECT, beat, failure, speaking_to

from rover._proto.service import EBPFProcessServiceStub
from rover.backend import BackendOptions, EmbeddedBackend, Tls
from rover.errors import BackendError


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA, a server certificate for localhost and a client certificate, as PEM files."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "stranger"):
        openssl(
            "req", "-x509", *new, "-days", "2", "-subj", f"/CN={authority}",
            "-keyout", f"{authority}.key", "-out", f"{authority}.pem",
        )  # fmt: skip
    for name, authority in (("server", "ca"), ("client", "ca"), ("foreign", "stranger")):
        openssl(
            "req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"
        )
        Path(folder, "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
            f"{authority}.key", "-CAcreateserial", "-days", "2", "-extfile", "names",
            "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


def secure(backend, certificates, *, authority="ca", client=""):
    def read(name):
        return Path(certificates, name).read_bytes()

    pair = (read(f"{client}.key"), read(f"{client}.pem")) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(read(f"{authority}.pem"), *pair)
    return grpc.secure_channel(backend.address, credentials, options=QUICK_RECONNECT)


def test_tls_serves_those_who_trust_its_certificate(certificates):
    tls = Tls(certificates / "server.pem", certificates / "server.key")
    with EmbeddedBackend(BackendOptions(tls=tls)) as backend:
        with secure(backend, certificates) as channel:
            EBPFProcessServiceStub(channel).keepAlive(beat(), timeout=10)
        with secure(backend, certificates, authority="stranger") as channel:
            error = failure(EBPFProcessServiceStub(channel).keepAlive, beat())
            assert error.code() is grpc.StatusCode.UNAVAILABLE
        with speaking_to(backend) as stub:
            assert failure(stub.keepAlive, beat()).code() is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_serves_those_with_a_certificate_of_its_authority(certificates):
    tls = Tls(certificates / "server.pem", certificates / "server.key", certificates / "ca.pem")
    with EmbeddedBackend(BackendOptions(tls=tls)) as backend:
        with secure(backend, certificates, client="client") as channel:
            EBPFProcessServiceStub(channel).keepAlive(beat(), timeout=10)
        for client in ("", "foreign"):
            with secure(backend, certificates, client=client) as channel:
                error = failure(EBPFProcessServiceStub(channel).keepAlive, beat())
                assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_restart_may_bring_new_certificates(certificates):
    with EmbeddedBackend() as backend:
        backend.restart(tls=Tls(certificates / "server.pem", certificates / "server.key"))
        with secure(backend, certificates) as channel:
            EBPFProcessServiceStub(channel).keepAlive(beat(), timeout=10)


@pytest.mark.parametrize(
    ("certificate", "key", "client_ca"),
    [
        ("missing.pem", "server.key", None),
        ("server.pem", "client.key", None),
        ("names", "server.key", None),
        ("server.pem", "server.key", "names"),
    ],
)
def test_certificates_that_cannot_be_used_are_named(certificates, certificate, key, client_ca):
    tls = Tls(
        certificates / certificate,
        certificates / key,
        certificates / client_ca if client_ca else None,
    )
    with pytest.raises(BackendError, match=f"{certificate}.*; give readable PEM files"):
        EmbeddedBackend(BackendOptions(tls=tls)).start()

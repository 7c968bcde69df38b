"""The embedded backend behind TLS and mutual TLS."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from backend_wire import QUICK_RECONNECT, beat, failure, speaking_to
from certificates import make_certificates

from rover._proto.service import EBPFProcessServiceStub
from rover.backend import BackendOptions, EmbeddedBackend, Tls
from rover.errors import BackendError


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


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

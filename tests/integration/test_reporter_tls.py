"""The link under TLS: who is trusted, under which name, and what happens when files change."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import replace

import pytest
from reporter_rig import announced, eventually, report, reporting, shown

from rover.backend import BackendOptions, EmbeddedBackend, Tls
from rover.config.address import Endpoint
from rover.config.settings import BackendSettings, DiscoverySettings
from rover.errors import BackendError
from rover.reporter import unverified_tls
from rover.reporter.credentials import Credentials
from rover.reporter.failures import CallError
from rover.reporter.reporter import Reporter
from rover.reporter.state import Phase
from rover.reporter.unverified_tls import Fetching, ServerCertificate

CREW = [report(number) for number in range(3)]
EVERYBODY = shown(*range(3))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities; servers and clients of theirs, under several names and dates."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)

    def key(name):
        openssl(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-out", f"{name}.key",
        )  # fmt: skip

    def authority(name):
        key(name)
        openssl(
            "req", "-x509", "-key", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"
        )

    def signed(name, by, alternative="", days="30"):
        key(name)
        extension = ("-addext", f"subjectAltName={alternative}") if alternative else ()
        openssl(
            "req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
            *extension,
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key",
            "-CAcreateserial", "-copy_extensions", "copy", "-days", days, "-out", f"{name}.pem",
        )  # fmt: skip

    authority("ca")
    authority("other-ca")
    signed("server", "ca", "DNS:localhost,IP:127.0.0.1")
    signed("elsewhere", "ca", "DNS:oap.example.org")
    signed("wildcard", "other-ca", "DNS:*.example.org")
    signed("nameless", "other-ca")
    signed("expired", "other-ca", "DNS:localhost", days="-1")
    signed("successor", "other-ca", "DNS:localhost,IP:127.0.0.1")
    signed("client", "ca")
    signed("stranger", "other-ca")
    return folder


def serving(certificates, name="server", client_ca=None):
    tls = Tls(
        certificates / f"{name}.pem",
        certificates / f"{name}.key",
        client_ca and certificates / f"{client_ca}.pem",
    )
    return EmbeddedBackend(BackendOptions(tls=tls))


def trusting(certificates, ca="ca", client=None, **more):
    settings = {"enable_tls": True, **more}
    if ca:
        settings["ca_pem_path"] = str(certificates / f"{ca}.pem")
    if client:
        settings["client_pem_path"] = str(certificates / f"{client}.pem")
        settings["client_key_path"] = str(certificates / f"{client}.key")
    return settings


def accepted(backend, settings):
    with reporting(backend.address, **settings) as reporter:
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)


def refused(backend, settings):
    """Give the reason for which the session does not come about."""
    with reporting(backend.address, **settings) as reporter:
        calls = backend.state.snapshot().calls_total
        reporter.publish(announced(*CREW))
        eventually(lambda: reporter.session.phase is Phase.BACKING_OFF)
        assert backend.state.snapshot().calls_total == calls
        return reporter.session.reason


def test_a_server_of_the_given_authority_is_trusted(certificates):
    with serving(certificates) as backend:
        accepted(backend, trusting(certificates))


def test_a_server_of_another_authority_is_refused_with_what_to_check(certificates):
    with serving(certificates) as backend:
        reason = refused(backend, trusting(certificates, "other-ca"))
    assert "CERTIFICATE_VERIFY_FAILED" in reason
    assert "core.backend.ca_pem_path" in reason


def test_without_an_authority_the_systems_own_count(certificates, monkeypatch):
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    with serving(certificates) as backend:
        assert "CERTIFICATE_VERIFY_FAILED" in refused(backend, trusting(certificates, None))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
        accepted(backend, trusting(certificates, None))


def test_a_server_under_another_name_is_refused_unless_that_name_is_given(certificates):
    with serving(certificates, "elsewhere") as backend:
        assert "core.backend.server_name" in refused(backend, trusting(certificates))
        accepted(backend, trusting(certificates, server_name="oap.example.org"))


def test_a_plain_link_to_an_encrypted_port_does_not_come_about(certificates):
    with serving(certificates) as backend:
        assert refused(backend, {})


def test_an_encrypted_link_to_a_plain_port_does_not_come_about(certificates):
    with EmbeddedBackend() as backend:
        assert refused(backend, trusting(certificates))


def test_a_client_certificate_is_shown_where_one_is_asked_for(certificates):
    with serving(certificates, client_ca="ca") as backend:
        accepted(backend, trusting(certificates, client="client"))
        assert refused(backend, trusting(certificates))
        assert refused(backend, trusting(certificates, client="stranger"))


@pytest.mark.parametrize("name", ["server", "elsewhere", "wildcard", "nameless"])
def test_skip_verify_takes_a_certificate_of_any_issuer_and_name_and_says_so(
    certificates, name, caplog
):
    with serving(certificates, name) as backend, caplog.at_level(logging.WARNING):
        accepted(backend, trusting(certificates, None, insecure_skip_verify=True))
    assert caplog.text.count("certificate taken unverified") == 1


def test_skip_verify_works_with_a_client_certificate(certificates):
    with serving(certificates, "wildcard", client_ca="ca") as backend:
        accepted(backend, trusting(certificates, None, client="client", insecure_skip_verify=True))


def test_skip_verify_still_refuses_an_expired_certificate_and_says_why(certificates):
    with serving(certificates, "expired") as backend:
        reason = refused(backend, trusting(certificates, None, insecure_skip_verify=True))
    assert "expired" in reason
    assert "renew" in reason


def test_a_stop_while_a_server_shows_no_certificate_ends_in_time_and_tells_the_loss(caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = BackendSettings(
            addr=f"127.0.0.1:{silent.getsockname()[1]}", enable_tls=True, insecure_skip_verify=True
        )
        reporter = Reporter(settings, DiscoverySettings(), "an agent")
        reporter.start()
        link, _ = silent.accept()
        with link:
            began = time.monotonic()
            assert not reporter.stop(1.5)
            assert time.monotonic() - began < 2.0
    assert "last report not delivered: the session, connecting, did not end" in caplog.text


def test_a_certificate_that_does_not_come_in_time_is_taken_when_it_has_and_holds_no_other_up(
    monkeypatch,
):
    slow, other = Endpoint("slow", 1), Endpoint("other", 2)
    comes, asked = threading.Event(), []
    shown = ServerCertificate(b"PEM", "name", "fingerprint")

    def fetch(endpoint, _settings, _timeout):
        asked.append(endpoint)
        if endpoint == slow:
            comes.wait(60)
        return shown

    monkeypatch.setattr(unverified_tls, "fetch", fetch)
    settings = BackendSettings(enable_tls=True, insecure_skip_verify=True, timeout=0.2)
    fetching = Fetching()
    try:
        for _ in range(2):
            with pytest.raises(CallError, match=r"no TLS certificate from slow:1 within 0.2 s"):
                fetching.fetch(slow, settings)
        assert fetching.fetch(other, replace(settings, timeout=20.0)) is shown
    finally:
        comes.set()
    assert fetching.fetch(slow, replace(settings, timeout=20.0)) is shown
    assert asked == [slow, other]
    assert fetching.fetch(slow, replace(settings, timeout=20.0)) is shown
    assert asked == [slow, other, slow]


def test_skip_verify_says_what_is_no_tls(certificates):
    with EmbeddedBackend() as backend:
        reason = refused(backend, trusting(certificates, None, insecure_skip_verify=True))
    assert "no TLS certificate from" in reason


def test_skip_verify_follows_a_server_that_renews_its_certificate(certificates):
    settings = trusting(certificates, None, insecure_skip_verify=True)
    with serving(certificates) as backend, reporting(backend.address, **settings) as reporter:
        reporter.publish(announced(CREW[0]))
        backend.state.wait_for(shown(0))
        new = Tls(certificates / "successor.pem", certificates / "successor.key")
        backend.restart(keep_memory=False, tls=new)
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)


def test_an_authority_that_is_replaced_on_disk_is_taken_over(certificates, tmp_path):
    shutil.copy(certificates / "ca.pem", tmp_path / "ca.pem")
    settings = trusting(tmp_path)
    with serving(certificates) as backend, reporting(backend.address, **settings) as reporter:
        reporter.publish(announced(CREW[0]))
        backend.state.wait_for(shown(0))
        new = Tls(certificates / "successor.pem", certificates / "successor.key")
        backend.restart(keep_memory=False, tls=new)
        eventually(lambda: reporter.session.phase is Phase.BACKING_OFF)
        shutil.copy(certificates / "other-ca.pem", tmp_path / "new.pem")
        (tmp_path / "new.pem").replace(tmp_path / "ca.pem")
        reporter.publish(announced(*CREW))
        backend.state.wait_for(EVERYBODY)


def test_a_client_pair_that_is_replaced_half_way_leaves_the_old_one_in_force(
    certificates, tmp_path, caplog
):
    for name in ("client.pem", "client.key"):
        shutil.copy(certificates / name, tmp_path / name)
    settings = BackendSettings(
        enable_tls=True,
        ca_pem_path=str(certificates / "ca.pem"),
        client_pem_path=str(tmp_path / "client.pem"),
        client_key_path=str(tmp_path / "client.key"),
    )
    credentials = Credentials(settings)
    old = credentials.certificates
    shutil.copy(certificates / "stranger.pem", tmp_path / "client.pem")
    assert not credentials.refresh()
    assert not credentials.refresh()
    assert credentials.certificates == old
    assert caplog.text.count("not renewed") == 1
    shutil.copy(certificates / "stranger.key", tmp_path / "client.key")
    assert credentials.refresh()
    assert credentials.certificates.chain == (certificates / "stranger.pem").read_bytes()
    assert not credentials.refresh()


def test_a_file_that_vanishes_leaves_its_content_in_force(tmp_path):
    path = tmp_path / "token"
    path.write_text(" secret \n")
    credentials = Credentials(BackendSettings(authentication_file=str(path)))
    path.unlink()
    assert not credentials.refresh()
    assert credentials.token == "secret"  # noqa: S105  made up
    path.write_text("renewed")
    assert credentials.refresh()
    assert credentials.token == "renewed"  # noqa: S105  made up


def test_credentials_that_cannot_be_used_are_refused_at_start_by_name(certificates, tmp_path):
    good = trusting(certificates, client="client")
    (tmp_path / "empty").write_text("")
    (tmp_path / "text").write_text("hello")
    wrong = {
        "core.backend.ca_pem_path": [
            {**good, "ca_pem_path": "/no/such/file"},
            {**good, "ca_pem_path": str(tmp_path / "text")},
        ],
        "core.backend.client_pem_path": [
            {**good, "client_pem_path": str(certificates / "stranger.pem")},
            {**good, "client_pem_path": str(tmp_path / "text")},
            {**good, "client_key_path": ""},
        ],
        "core.backend.authentication_file": [
            {"authentication_file": "/no/such/file"},
            {"authentication_file": str(tmp_path / "empty")},
        ],
        "core.backend.authentication": [{"authentication": "naïve"}],
    }
    for key, cases in wrong.items():
        for case in cases:
            with pytest.raises(BackendError, match=key) as refusal:
                Credentials(replace(BackendSettings(), **case))
            assert "naïve" not in str(refusal.value)


def test_an_encrypted_key_is_refused_without_asking_for_its_passphrase(certificates, tmp_path):
    subprocess.run(
        ("openssl", "ec", "-in", certificates / "client.key", "-aes128", "-passout", "pass:x",
         "-out", tmp_path / "locked.key"),
        check=True, capture_output=True,
    )  # fmt: skip
    settings = trusting(certificates, client="client")
    settings["client_key_path"] = str(tmp_path / "locked.key")
    with pytest.raises(BackendError, match="unencrypted key"):
        Credentials(replace(BackendSettings(), **settings))


def test_certificates_without_tls_are_ignored_aloud(certificates, caplog):
    settings = trusting(certificates) | {"enable_tls": False}
    Credentials(replace(BackendSettings(), **settings))
    assert "not encrypted" in caplog.text
    assert "core.backend.ca_pem_path" in caplog.text


# --- TLS on one side alone ---

TO_A_PLAIN_PORT = "does not seem to speak TLS: check core.backend.enable_TLS"
TO_A_TLS_PORT = "if it speaks TLS, check core.backend.enable_TLS"
ALERT = b"\x15\x03\x01\x00\x02\x02\x0a"
"""A fatal alert, unexpected_message: what Go and OpenSSL answer to what is no TLS."""
SETTINGS = bytes.fromhex("000000040000000000")
"""An empty SETTINGS frame: what a server of HTTP/2 without TLS begins with."""
BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\n.\n"
)


@contextlib.contextmanager
def answering(answer):
    """Serve whoever connects with so many bytes, whatever it says, and close."""

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(4096)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def reason(address, **settings):
    with reporting(address, **settings) as reporter:
        eventually(lambda: reporter.session.phase is Phase.BACKING_OFF)
        return reporter.session.reason


@pytest.mark.parametrize("more", [{}, {"insecure_skip_verify": True}])
def test_tls_to_a_plain_backend_names_the_setting(certificates, more):
    with EmbeddedBackend() as backend:
        assert TO_A_PLAIN_PORT in refused(backend, trusting(certificates, **more))


@pytest.mark.parametrize("client_ca", [None, "ca"])
def test_plaintext_to_a_tls_backend_names_the_setting(certificates, client_ca):
    with serving(certificates, client_ca=client_ca) as backend:
        assert TO_A_TLS_PORT in refused(backend, {})


@pytest.mark.parametrize("answer", [ALERT, b"", BAD_REQUEST])
def test_plaintext_to_others_tls_ports_names_the_setting(answer):
    with answering(answer) as address:
        assert TO_A_TLS_PORT in reason(address)


@pytest.mark.parametrize("answer", [SETTINGS, b"", BAD_REQUEST])
@pytest.mark.parametrize("more", [{}, {"insecure_skip_verify": True}])
def test_tls_to_others_plain_ports_names_the_setting(certificates, answer, more):
    with answering(answer) as address:
        assert TO_A_PLAIN_PORT in reason(address, **trusting(certificates, **more))


def test_a_port_that_nobody_listens_on_is_no_question_of_tls():
    assert "enable_TLS" not in reason("127.0.0.1:1")

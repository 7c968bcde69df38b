"""Token and certificates: checked at start, read again when their files change, never shown."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rover.aside import Aside
from rover.errors import BackendError
from rover.reporter.failures import plain

if TYPE_CHECKING:
    from rover.config.settings import BackendSettings

log = logging.getLogger("rover.reporter")

SYSTEM_ROOTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",
)
GRPC_ROOTS_VARIABLE: Final = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"

Stamp = tuple[int, int, int]
"""What changes with a file's content: inode, size, time of modification in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM texts for one TLS connection."""

    roots: bytes | None
    """Who may vouch for the server; None leaves it to grpc's own list."""
    key: bytes | None = None
    chain: bytes | None = None

    def __repr__(self) -> str:
        return f"Certificates(roots={self.roots is not None}, client={self.chain is not None})"


class Credentials:
    """What the agent shows to the backend, and what it asks of it.

    Args:
        settings: ``core.backend``.

    Raises:
        BackendError: A file is missing, empty or no PEM, the key is not the certificate's, or the
            token cannot travel as gRPC metadata.
    """

    def __init__(self, settings: BackendSettings) -> None:
        self._settings = settings
        self._complaint = ""
        self._aside = Aside("credentials")
        self._found: tuple[str, Certificates | None] | None = None
        self._stamps = self._look()
        self.token = self._read_token()
        self.certificates = self._read_certificates()
        ignored = [name for name, path in self._tls_files() if path and not settings.enable_tls]
        if ignored:
            log.warning(
                "the link to the backend is not encrypted: enable_TLS=false ignores=%s",
                ",".join(ignored),
            )

    def refresh(self) -> bool:
        """Read again what changed on disk; tell whether anything new is in force.

        A file that is gone or half written leaves the old content in force and is looked at
        again the next time. So does one that lies where the kernel waits for a server that is
        away: a thread of its own looks, and no other waits for it.
        """
        if not self._stamps:
            return False
        if self._aside.do(self._look_again):
            log.warning(
                "credentials are not read in time, those known stay in force: files=%s; look "
                "whether what they lie on answers",
                ",".join(self._stamps),
            )
        found, self._found = self._found, None
        if found is None or found == (self.token, self.certificates):
            return False
        self.token, self.certificates = found
        log.info("credentials renewed: files=%s", ",".join(map(str, self._stamps)))
        return True

    def _look_again(self) -> None:
        """Read what changed, for `refresh` to put it in force."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        try:
            found = (self._read_token(), self._read_certificates())
        except BackendError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("credentials not renewed: %s", error)
            return
        self._stamps, self._complaint = stamps, ""
        self._found = found

    def _look(self) -> dict[str, Stamp | None]:
        settings = self._settings
        paths = [path for _, path in self._tls_files()] if settings.enable_tls else []
        return {path: _stamp(path) for path in (*paths, settings.authentication_file) if path}

    def _tls_files(self) -> tuple[tuple[str, str], ...]:
        settings = self._settings
        return (
            ("core.backend.ca_pem_path", settings.ca_pem_path),
            ("core.backend.client_pem_path", settings.client_pem_path),
            ("core.backend.client_key_path", settings.client_key_path),
        )

    def _read_token(self) -> str:
        settings = self._settings
        where, token = "core.backend.authentication", settings.authentication
        if path := settings.authentication_file:
            where = f"core.backend.authentication_file {path}"
            token = _read(where, path).decode(errors="replace")
            if not token.strip():
                raise BackendError(f"{where} is empty; put the backend's token there")
        token = token.strip()
        if not all(" " <= character <= "~" for character in token):
            raise BackendError(f"{where} holds characters that a token cannot have; use ASCII")
        return token

    def _read_certificates(self) -> Certificates | None:
        settings = self._settings
        if not settings.enable_tls:
            return None
        ca, client, key = (
            (f"{name} {path}", _read(f"{name} {path}", path) if path else None)
            for name, path in self._tls_files()
        )
        if (client[1] is None) != (key[1] is None):
            raise BackendError(
                "core.backend.client_pem_path and client_key_path only work together; set both"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if ca[1] is not None:
            try:
                context.load_verify_locations(cadata=ca[1].decode("ascii"))
            except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
                raise BackendError(
                    f"{ca[0]} holds no PEM certificate: {plain(str(error))}"
                ) from error
        if client[1] is not None:
            load_client(context, settings)
        roots = _system_roots() if ca[1] is None else ca[1]
        return Certificates(roots, key[1], client[1])


def load_client(context: ssl.SSLContext, settings: BackendSettings) -> None:
    """Load the client's certificate and key, which proves that they belong together.

    Raises:
        BackendError: They do not, or one of them is no PEM.
    """
    try:
        context.load_cert_chain(
            # the password callback keeps an encrypted key from asking on the terminal
            settings.client_pem_path,
            settings.client_key_path,
            password=lambda: "",
        )
    except (OSError, ValueError) as error:
        raise BackendError(
            f"core.backend.client_pem_path {settings.client_pem_path} and client_key_path "
            f"{settings.client_key_path} cannot be used: {plain(str(error))}; give a PEM "
            "certificate and its unencrypted key"
        ) from error


def _read(where: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BackendError(f"{where} cannot be read: {error.strerror}") from error


def _stamp(path: str) -> Stamp | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _system_roots() -> bytes | None:
    """Read the roots that the host trusts; grpc would take the list it was built with."""
    if GRPC_ROOTS_VARIABLE in os.environ:
        return None
    default = ssl.get_default_verify_paths().cafile
    for path in (default, *SYSTEM_ROOTS):
        with contextlib.suppress(OSError):
            if path and (content := Path(path).read_bytes()):
                return content
    return None

"""The only file of the reporter that speaks grpc: connections, their options, errors made ours.

grpc keeps a channel alive through any number of connections and hides the change. Here a channel
serves one connection: when it breaks it is closed and a new one is opened, since the backend at the
other end may have restarted and must be told everything again. That also means that every attempt
resolves the name anew, and that the only pauses are the session's.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Final

from rover import __version__
from rover.config.address import endpoints
from rover.errors import BackendError
from rover.reporter import unverified_tls
from rover.reporter.credentials import Credentials
from rover.reporter.failures import CallError, FailureKind, kind_of, plain
from rover.reporter.host_ip import NOWHERE, HostIp
from rover.reporter.proxy import proxy_for, way_to

# grpc prints what it thinks of broken connections on stderr, past every logger
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# the C library's resolver: /etc/hosts, nsswitch and search domains count as for other programs
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")

import grpc  # reads both variables when it is loaded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sized

    from rover.config.address import Endpoint
    from rover.config.settings import BackendSettings

log = logging.getLogger("rover.reporter")

MOST_RECEIVED: Final = 64 * 1024 * 1024
"""Bytes of an answer: as large as the question, whose limit is 50 MiB at the OAP's core port."""
KEEPALIVE: Final = 30.0
"""Seconds of silence before a ping, where beats are more frequent than that."""
KEEPALIVE_SHARE: Final = 0.6
"""Of the beat period, where that is longer: one ping between two beats. Servers close a connection
after the third ping without a call in between (grpc core and grpc-java, "too_many_pings")."""
KEEPALIVE_TIMEOUT: Final = 10.0
READY: Final = 2
"""The core's number for a channel that has a connection (GRPC_CHANNEL_READY)."""


class GrpcChannel:
    """One connection, made by the first call.

    Args:
        channel: Not used for anything else.
        metadata: Sent with every call.
        secrets: Texts that must not show up in an error.
    """

    def __init__(
        self, channel: grpc.Channel, metadata: Iterable[tuple[str, str]], secrets: Iterable[str]
    ) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)
        self._secrets = tuple(filter(None, secrets))
        self._calls: dict[str, grpc.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self._stood = False
        self._aside: dict[grpc.Future[bytes], str] = {}
        """Calls of `call_aside` that are under way, and their methods."""

    @property
    def stands(self) -> bool:
        """Whether a call was answered over it, and it has not broken since."""
        if not self._stood:
            return False
        try:
            # The public way to learn the state is a thread that wakes five times a second.
            state = self._channel._channel.check_connectivity_state(False)  # type: ignore[attr-defined]  # noqa: FBT003, SLF001
        except AttributeError:
            return True
        except ValueError:  # closed
            return False
        return bool(state == READY)

    def call(self, path: str, message: bytes, timeout: float) -> bytes:
        """Send a message and give the answer.

        Raises:
            CallError: There is no usable answer within the time, seconds.
        """
        if self._stood and not self.stands:
            raise CallError(FailureKind.AWAY, "the connection was closed")
        with self._failures_told(message):
            call = self._calls.get(path)
            if call is None:
                call = self._calls[path] = self._channel.unary_unary(path)
            answer: bytes = call(message, timeout=timeout, metadata=self._metadata)
        self._stood = True
        return answer

    def call_aside(self, path: str, messages: Iterable[bytes], timeout: float) -> bytes:
        """As `call` with a stream of messages, for threads other than the session's.

        It needs a connection that stands, makes none, and can be ended by `cancel_aside`.

        Raises:
            CallError: There is no usable answer within the time, seconds.
        """
        if not self.stands:
            raise CallError(FailureKind.AWAY, "not connected")
        sent = _Measured(messages)
        with self._failures_told(sent):
            method: grpc.StreamUnaryMultiCallable[bytes, bytes] = self._channel.stream_unary(path)
            call = method.future(iter(sent), timeout=timeout, metadata=self._metadata)
            self._aside[call] = path
            try:
                answer: bytes = call.result()
            finally:
                del self._aside[call]
        return answer

    def cancel_aside(self, paths: Collection[str]) -> None:
        """Make each `call_aside` under way to these methods fail; from any thread."""
        for call, path in self._aside.copy().items():
            if path in paths:
                call.cancel()

    def close(self) -> None:
        """End it; from any thread, a call under way fails."""
        self._channel.close()

    @contextmanager
    def _failures_told(self, sent: Sized) -> Iterator[None]:
        """Make grpc's exceptions ours."""
        try:
            yield
        except grpc.FutureCancelledError:
            raise CallError(FailureKind.AWAY, "the agent is stopping") from None
        except grpc.RpcError as error:
            code = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
            text = (error.details() or "") if isinstance(error, grpc.Call) else str(error)
            raise CallError(kind_of(code, text, len(sent)), self._told(code, text)) from None
        except ValueError:
            raise CallError(FailureKind.AWAY, "the connection was closed") from None

    def _told(self, code: str, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return plain(f"{code}: {text}" if text else code)


class _Measured:
    """Messages that are made as they are sent; as long as the largest of them so far."""

    def __init__(self, messages: Iterable[bytes]) -> None:
        self._messages = messages
        self._largest = 0

    def __len__(self) -> int:
        return self._largest

    def __iter__(self) -> Iterator[bytes]:
        for message in self._messages:
            self._largest = max(self._largest, len(message))
            yield message


class GrpcDialer:
    """Opens connections to the addresses of ``core.backend``.

    Args:
        settings: ``core.backend``.
        heartbeat: Seconds between beats; pings stand back behind them.
        host_ip: What to tell as this host's address instead of looking for it.

    Raises:
        BackendError: The address, a certificate or the token cannot be used.
    """

    def __init__(self, settings: BackendSettings, heartbeat: float, host_ip: str = "") -> None:
        try:
            self.endpoints = endpoints(settings.addr)
        except ValueError as error:
            raise BackendError(f"core.backend.addr {settings.addr!r}: {error}") from error
        self._settings = settings
        self._host_ip = host_ip
        self._lookup = HostIp()
        self._credentials = Credentials(settings)
        self._unverified = unverified_tls.Fetching()
        self._keepalive = max(KEEPALIVE, heartbeat * KEEPALIVE_SHARE)
        self._fingerprints: dict[Endpoint, str] = {}
        ignored = (way_to(endpoint, os.environ).ignored for endpoint in self.endpoints)
        for what in dict.fromkeys(chain.from_iterable(ignored)):
            log.warning("proxy variable not understood: %s", what)

    def open(self, endpoint: Endpoint) -> GrpcChannel:
        """Prepare a connection; its first call makes it.

        Raises:
            CallError: ``insecure_skip_verify`` is set and the certificate cannot be had.
        """
        token = self._credentials.token
        metadata = [("authentication", token)] if token else []
        return GrpcChannel(self._channel(endpoint), metadata, [token])

    def refresh(self) -> bool:
        """Read the credentials' files again where they changed; true where they did."""
        return self._credentials.refresh()

    def host_ip(self, endpoint: Endpoint) -> str:
        """Tell this host's address as seen from there, or towards the rest of the world."""
        if self._host_ip:
            return self._host_ip
        # the name of a backend behind a proxy need not be known here, and looking takes long
        hidden = proxy_for(endpoint, os.environ)
        return self._lookup.towards(NOWHERE if hidden else endpoint)

    def _channel(self, endpoint: Endpoint) -> grpc.Channel:
        options = [
            ("grpc.primary_user_agent", f"rover-py/{__version__}"),
            ("grpc.max_receive_message_length", MOST_RECEIVED),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", int(self._keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            # a call retried in silence may reach a backend that knows nothing of us
            ("grpc.enable_retries", 0),
            # shared connections would also share grpc's pauses after a failure
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.enable_channelz", 0),
            ("grpc.http2.bdp_probe", 0),
        ]
        proxy = proxy_for(endpoint, os.environ)
        options.append(("grpc.http_proxy", proxy) if proxy else ("grpc.enable_http_proxy", 0))
        certificates = self._credentials.certificates
        if certificates is None:
            return grpc.insecure_channel(endpoint.target, options)
        roots, name = certificates.roots, self._settings.server_name
        if self._settings.insecure_skip_verify:
            shown = self._unverified.fetch(endpoint, self._settings)
            if self._fingerprints.get(endpoint) != shown.fingerprint:
                self._fingerprints[endpoint] = shown.fingerprint
                log.warning(
                    "certificate taken unverified: insecure_skip_verify=true backend=%s sha256=%s",
                    endpoint,
                    shown.fingerprint,
                )
            roots, name = shown.pem, shown.name
        if name:
            options.append(("grpc.ssl_target_name_override", name))
        credentials = grpc.ssl_channel_credentials(roots, certificates.key, certificates.chain)
        return grpc.secure_channel(endpoint.target, credentials, options)

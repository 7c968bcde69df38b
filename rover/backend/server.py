"""The embedded backend put together: relay, gRPC server, state, faults and control."""

from __future__ import annotations

import logging
import ssl
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

import grpc

from rover.backend.commands import Script
from rover.backend.control import Control
from rover.backend.gate import Gate
from rover.backend.injection import Faults
from rover.backend.profiling import Profiling
from rover.backend.relay import Relay
from rover.backend.service import ContinuousService, ProcessService, ProfilingService
from rover.backend.state import State
from rover.config.layers import LAYERS_10_1
from rover.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from rover.backend.commands import Command
    from rover.backend.faults import Fault
    from rover.backend.records import Violation

MIB: Final = 1_048_576
MESSAGE_LIMIT: Final = 50 * MIB
"""Largest message of the server's core gRPC port."""
HEADROOM: Final = 64 * MIB
"""So far above the limit a message is read, to answer as the server does; beyond, gRPC refuses."""
WORKERS: Final = 16
CALLS_AT_ONCE: Final = 1_000
"""Beyond them gRPC answers RESOURCE_EXHAUSTED."""
GRACE: Final = 0.2
"""Seconds that calls have to end when the backend stops."""

log = logging.getLogger("rover.backend")


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates of the backend, as PEM files."""

    certificate: Path
    """With the chain, if it has one."""
    key: Path
    client_ca: Path | None = None
    """Set: clients must show a certificate signed by it (mutual TLS)."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """How an embedded backend is made."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: a free one; the server's own default is 11800."""
    tls: Tls | None = None
    token: str = field(default="", repr=False)
    """Calls must carry it in the metadata key ``authentication``; empty: none needed."""
    layers: frozenset[str] = LAYERS_10_1
    """Layers that a beat may name; add ``LAYERS_LATER`` for a newer server."""
    message_limit: int = MESSAGE_LIMIT
    """Largest request in bytes."""
    faults: tuple[Fault, ...] = ()
    """In force from the start."""
    seed: int | None = None
    """Makes rates and random choices repeat themselves."""
    control_port: int | None = None
    """Serves the control interface on 127.0.0.1, 0: on a free port; None: not at all."""


@dataclass(frozen=True, slots=True)
class _Running:
    server: grpc.Server
    pool: ThreadPoolExecutor
    stopping: threading.Event
    """Ends delays."""


class EmbeddedBackend:
    """A SkyWalking backend for one process's own use: in memory, with faults on demand.

    ::

        with EmbeddedBackend() as backend:
            agent_speaks_to(backend.address)
            backend.state.wait_for(lambda held: held.find(process="nginx"))
    """

    def __init__(self, options: BackendOptions | None = None) -> None:
        self.options = options or BackendOptions()
        self._relay = Relay(self.options.host, self.options.port)
        self.state = State(self.options.layers)
        self.faults = Faults(self._relay, self.options.seed)
        self.script = Script()
        self.profiling = Profiling(self.state)
        self._control: Control | None = None
        self._running: _Running | None = None
        self._lock = threading.RLock()
        """Held while it starts, restarts or stops."""
        self._stopped = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._relay.port

    @property
    def address(self) -> str:
        """``host:port`` as a gRPC target and as ``core.backend.addr``."""
        host = self.options.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def control_address(self) -> str:
        """``host:port`` of the control interface; empty where there is none."""
        return self._control.address if self._control else ""

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The protocol's rules that were broken, in order; the first 1,000 of them."""
        return self.state.snapshot().violations

    def start(self) -> None:
        """Listen and serve; a backend that has stopped does not start again.

        Raises:
            BackendError: The address or the certificates cannot be used.
            ConfigError: A fault cannot be used.
        """
        with self._lock:
            if self._running is not None or self._stopped.is_set():
                raise BackendError("an embedded backend starts once: make another")
            try:
                self._relay.start()
                self.faults.apply_to_transport()
                self._serve()
                for fault in self.options.faults:
                    self.faults.add(fault)
                if self.options.control_port is not None:
                    self._control = Control(self, self.options.control_port)
                    self._control.start()
            except BaseException:  # whatever stopped the start, what did start is ended
                self.stop()
                raise
        log.info("embedded backend started address=%s", self.address)

    def stop(self) -> None:
        """End all connections and give the port back; what was stored can still be read."""
        self._stopped.set()
        if self._control is not None:
            self._control.stop()
            self._control = None
        with self._lock:
            self._end_server(GRACE)
            self._relay.stop()

    def restart(
        self,
        *,
        keep_memory: bool = True,
        downtime: float = 0.0,
        tls: Tls | None = None,
    ) -> None:
        """Go down as a killed server does and come back on the same port; faults stay in force.

        Args:
            keep_memory: False loses all rows. Calls, violations and times stay in any case.
            downtime: Seconds in which connections are refused; the call takes as long.
            tls: New certificates; None keeps those it has.

        Raises:
            BackendError: The new certificates cannot be used; the backend stays down.
        """
        with self._lock:
            self._relay.down()
            self._end_server(None)
            if not keep_memory:
                self.state.forget()
                self.profiling.forget()
            if tls is not None:
                self.options = replace(self.options, tls=tls)
            if self._stopped.wait(downtime):
                return
            self._serve()
        log.info("embedded backend restarted keep_memory=%s", keep_memory)

    def command(self, *commands: Command, beats: int = 1, agent_id: str = "") -> None:
        """Answer the next beats with commands; see ``Script.add``."""
        self.script.add(*commands, beats=beats, agent_id=agent_id)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        """Start a gRPC server and forward clients to it."""
        options = self.options
        stopping = threading.Event()
        gate = Gate(
            self.state,
            self.faults,
            token=options.token,
            message_limit=options.message_limit,
            stopping=stopping,
        )
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="rover-backend")
        server = grpc.server(
            pool,
            handlers=[
                ProcessService(gate, self.state, self.faults, self.script).handlers(),
                ProfilingService(gate, self.profiling).handlers(),
                ContinuousService(gate, self.profiling).handlers(),
            ],
            options=(
                ("grpc.max_receive_message_length", options.message_limit + HEADROOM),
                # an answer is as large as its request
                ("grpc.max_send_message_length", -1),
            ),
            maximum_concurrent_rpcs=CALLS_AT_ONCE,
        )
        name = f"rover-backend-{uuid.uuid4()}"
        if options.tls is None:
            server.add_insecure_port(f"unix-abstract:{name}")
        else:
            server.add_secure_port(f"unix-abstract:{name}", credentials(options.tls))
        server.start()
        self._running = _Running(server, pool, stopping)
        self._relay.up(f"\0{name}")

    def _end_server(self, grace: float | None) -> None:
        if self._running is None:
            return
        self._running.stopping.set()
        self._running.server.stop(grace).wait()
        self._running.pool.shutdown()
        self._running = None


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """Load the backend's certificates.

    Raises:
        BackendError: A file cannot be read, is no PEM, or key and certificate do not belong
            together.
    """
    try:
        # gRPC takes any bytes and fails each handshake later: have OpenSSL look at them first
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key, password="")
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
        client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    except (OSError, ValueError) as error:
        files = ", ".join(str(path) for path in (tls.certificate, tls.key, tls.client_ca) if path)
        raise BackendError(
            f"cannot use the certificates {files}: {error}; "
            "give readable PEM files, the key without a passphrase"
        ) from error
    return grpc.ssl_server_credentials(
        [pair], root_certificates=client_ca, require_client_auth=client_ca is not None
    )

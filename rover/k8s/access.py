"""Ask the cluster's API, by the official client's credentials and connections.

The client loads the kubeconfig or the in-cluster account, refreshes tokens and holds TLS and proxy
settings; the requests themselves go through its connection pool as they are, because its models
would cost 20 MB of memory and turn every object into some hundred Python ones. This file alone
imports the client, and foreign exceptions end here. Whoever does not use Kubernetes must not
import it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.config import incluster_config

from rover import __version__
from rover.errors import KubernetesError
from rover.k8s.faults import ApiFault, Cause, status_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CONNECT_TIMEOUT: Final = 5.0
"""Seconds for a TCP connection."""
MAX_LINE: Final = 16 << 20
"""Bytes of one event of a watch; the API itself stores objects of at most 1.5 MiB."""

_CHUNK: Final = 64 << 10
_MAX_ERROR: Final = 64 << 10
_MAX_MESSAGE: Final = 300
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""A server whose machine died under an idle watch is noticed after a minute."""

_OK: Final = 200


class Access:
    """One thread's way to the API; another may call `interrupt` and `close`."""

    def __init__(self, load: Callable[[Any], None]) -> None:
        """Read the credentials.

        Args:
            load: Fills in a client configuration; called again when the credentials are refused.

        Raises:
            KubernetesError: they cannot be read.
        """
        self._load = load
        self._pool: Any = None
        self._closed = threading.Event()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._adding = threading.Lock()
        """Held for adding a connection and for walking over them: no set bears both at once."""
        self._renew()

    @property
    def server(self) -> str:
        """The API server's address, for messages."""
        return str(self._configuration.host)

    def renew(self) -> None:
        """Read the credentials again: tokens and certificates rotate on disk.

        Raises:
            ApiFault: they cannot be read.
        """
        try:
            self._renew()
        except KubernetesError as error:
            raise ApiFault(Cause.CREDENTIALS, str(error)) from error

    def get(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        read_timeout: float,
        what: str,
        status_timeout: float | None = None,
    ) -> Answer:
        """Ask, and return the answer once its status says that it is one.

        Args:
            path: Absolute path at the server.
            query: Parameters.
            read_timeout: Seconds without a byte after which the server counts as hung.
            status_timeout: The same until the status comes, where that may take less.
            what: "list pods" and the like, for messages: RBAC's verb and resource.

        Raises:
            ApiFault: no answer, or another status than 200.
        """
        if self._closed.is_set():
            raise ApiFault(Cause.UNREACHABLE, f"{what}: the agent is stopping")
        url = f"{self.server.rstrip('/')}{path}?{urlencode(query)}"
        with _faults(f"{what} at {self.server}"):
            response = self._pools.request(
                "GET",
                url,
                headers=self._headers(),
                preload_content=False,
                redirect=False,
                # Retries are the caller's: here they would multiply the timeout.
                retries=False,
                timeout=urllib3.Timeout(
                    connect=CONNECT_TIMEOUT, read=min(read_timeout, status_timeout or read_timeout)
                ),
            )
        answer = Answer(response, f"{what} at {self.server}")
        answer.patience(read_timeout)
        if response.status != _OK:
            with answer:
                raise _fault_of(response, what)
        return answer

    def interrupt(self) -> None:
        """Break what is being waited for; the waiting thread gets an ApiFault. Any thread."""
        with self._adding:
            connections = list(self._connections)
        for connection in connections:
            sock = getattr(connection, "sock", None)
            # TLS to a server through TLS to a proxy is no socket itself
            sock = getattr(sock, "socket", sock)
            if isinstance(sock, socket.socket):
                with contextlib.suppress(OSError):
                    # TLS's own shutdown would pull its state away under the reader.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Interrupt, and let no further connection come up. Any thread."""
        self._closed.set()
        self.interrupt()
        self._pool.close()

    def _renew(self) -> None:
        configuration = client.Configuration()
        try:
            self._load(configuration)
        except (OSError, config.ConfigException) as error:
            raise KubernetesError(f"cannot read the cluster's credentials: {error}") from error
        except Exception as error:  # the loader trips over a malformed file in its own many ways
            raise KubernetesError(
                f"cannot make sense of the cluster's credentials: {type(error).__name__}: {error}"
            ) from error
        configuration.socket_options = [
            *urllib3.connection.HTTPConnection.default_socket_options,
            *_KEEPALIVE,
        ]
        with _faults("set up TLS to the cluster"):
            pools = client.ApiClient(configuration).rest_client.pool_manager
            pool = pools.connection_from_url(configuration.host)
        pool.ConnectionCls = self._tracked(pool.ConnectionCls)
        if self._pool is not None:
            self._pool.close()
        self._configuration, self._pools, self._pool = configuration, pools, pool

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "User-Agent": f"rover/{__version__}",
        }
        settings: Any
        try:
            settings = self._configuration.auth_settings().values()
        except (OSError, config.ConfigException) as error:
            raise ApiFault(
                Cause.CREDENTIALS, f"cannot read the cluster's token: {error}"
            ) from error
        for setting in settings:
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers

    def _tracked(self, connection_class: Any) -> Any:  # noqa: ANN401 - urllib3 chooses the class
        """Derive a class of connections that `interrupt` finds, whatever they wait for."""
        connections, adding, closed = self._connections, self._adding, self._closed

        class Tracked(connection_class):  # type: ignore[misc]
            def connect(self) -> None:
                with adding:
                    connections.add(self)
                super().connect()
                if closed.is_set():
                    self.close()
                    raise ConnectionAbortedError("the agent is stopping")

        Tracked.__name__ = connection_class.__name__
        return Tracked


class Answer:
    """A body that is on its way; close it by leaving the `with`."""

    def __init__(self, response: Any, what: str) -> None:  # noqa: ANN401 - urllib3's
        self._response = response
        self._what = what

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Closed rather than given back: what is left of the body would meet the next answer.
        self._response.close()

    def patience(self, seconds: float) -> None:
        """Count the server as hung after so many seconds without a byte, from now on."""
        sock = getattr(self._response.connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.settimeout(seconds)

    def chunks(self, within: float) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Args:
            within: Seconds for all of it.

        Raises:
            ApiFault: it breaks off, or takes longer.
        """
        deadline = time.monotonic() + within
        while True:
            with _faults(self._what):
                chunk = self._response.read1(_CHUNK)
            if not chunk:
                return
            yield chunk
            if time.monotonic() > deadline:
                raise ApiFault(Cause.TIMEOUT, f"{self._what}: not all of it within {within:g} s")

    def lines(self) -> Iterator[bytes]:
        """Yield the body's lines as they arrive; a last one without its end is dropped.

        Raises:
            ApiFault: it breaks off, or a line has no end.
        """
        rest = b""
        while True:
            with _faults(self._what):
                chunk = self._response.read1(_CHUNK)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            if len(rest) > MAX_LINE:
                raise ApiFault(Cause.MALFORMED, f"{self._what}: a line over {MAX_LINE} bytes")


def in_cluster(
    *,
    token_file: str = incluster_config.SERVICE_TOKEN_FILENAME,
    ca_file: str = incluster_config.SERVICE_CERT_FILENAME,
) -> Access:
    """Use the ServiceAccount that Kubernetes mounts into the pod.

    Raises:
        KubernetesError: this is no pod, or the account is not mounted.
    """

    def load(configuration: Any) -> None:  # noqa: ANN401 - the client's
        loader: Any = incluster_config.InClusterConfigLoader
        loader(token_file, ca_file).load_and_set(configuration)

    return Access(load)


def by_kubeconfig(path: str) -> Access:
    """Use the current context of a kubeconfig.

    Raises:
        KubernetesError: it cannot be read.
    """

    def load(configuration: Any) -> None:  # noqa: ANN401 - the client's
        # The client would take an empty path for ~/.kube/config.
        load_file: Any = config.load_kube_config
        file = Path(path).expanduser()
        load_file(str(file), client_configuration=configuration, persist_config=False)
        shown = configuration.auth_settings() or configuration.cert_file
        if not shown and _has_plugin(file):
            # the client only logs that, and would go on as an anonymous user
            raise config.ConfigException(f"the credential plugin of {file} gave none")

    return Access(load)


def _has_plugin(kubeconfig: Path) -> bool:
    """Tell whether the current user's credentials come from a program (``exec``)."""
    content: Any = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    named = {
        part: {each["name"]: each[part.removesuffix("s")] for each in content.get(part) or ()}
        for part in ("contexts", "users")
    }
    user = named["contexts"][content["current-context"]]["user"]
    return bool((named["users"].get(user) or {}).get("exec"))


@contextlib.contextmanager
def _faults(what: str) -> Iterator[None]:
    """Turn what goes wrong on the way into an ApiFault."""
    try:
        yield
    except urllib3.exceptions.NewConnectionError as error:
        # refused or no route, though urllib3 files it under its timeouts
        raise ApiFault(Cause.UNREACHABLE, f"{what}: {_short(error)}") from error
    except urllib3.exceptions.TimeoutError as error:
        raise ApiFault(Cause.TIMEOUT, f"{what}: {_short(error)}") from error
    except urllib3.exceptions.SSLError as error:
        raise ApiFault(Cause.TLS, f"{what}: {_short(error)}") from error
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise ApiFault(Cause.UNREACHABLE, f"{what}: {_short(error)}") from error
    except ValueError as error:
        # http.client on a broken chunk or header, sockets that were shut down under it
        raise ApiFault(Cause.MALFORMED, f"{what}: {_short(error)}") from error


def _fault_of(response: Any, what: str) -> ApiFault:  # noqa: ANN401 - urllib3's
    """Read why the server answers with another status than 200."""
    body: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # the status alone is an answer, its body is a courtesy
        decoded = json.loads(response.read(_MAX_ERROR))
        body = decoded if isinstance(decoded, dict) else {}
    said = str(body.get("message") or response.reason or "")
    return status_fault(int(response.status), said, what, response.headers.get("Retry-After"))


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_MAX_MESSAGE]

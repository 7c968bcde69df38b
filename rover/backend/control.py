"""The control interface: faults, restarts and the state over HTTP and JSON, for any language.

HTTP rather than a second gRPC service, so that a shell with curl drives it without stubs, and a
port of its own, so that no fault of the backend's port reaches it. It listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Protocol

from rover.backend.commands import SCRIPT_LIMIT, Command
from rover.backend.faults import KINDS, kind_of, make_fault
from rover.backend.profiling_routes import ProfilingRoutes
from rover.backend.questions import Json, flag_of, nothing_else, number_of
from rover.backend.relay import unusable
from rover.errors import ConfigError, RoverError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.backend.injection import Faults
    from rover.backend.profiling import Profiling
    from rover.backend.state import State

HOST: Final = "127.0.0.1"
BODY_LIMIT: Final = 1_048_576
"""Bytes of one request's body."""
IDLE: Final = 10.0
"""Seconds that a client may take for its request."""
STOP_LATENCY: Final = 0.1
"""Seconds between two looks at whether it is to stop."""
LONGEST_DOWNTIME: Final = 3_600.0
"""Seconds."""

log = logging.getLogger("rover.backend")


class Backend(Protocol):
    """What is controlled; ``rover.backend.server.EmbeddedBackend`` is one."""

    @property
    def address(self) -> str:
        """``host:port`` that agents report to."""

    @property
    def state(self) -> State:
        """What it holds."""

    @property
    def faults(self) -> Faults:
        """Those in force."""

    @property
    def profiling(self) -> Profiling:
        """Its tasks and profiles."""

    def restart(self, *, keep_memory: bool, downtime: float) -> None:
        """Go down and come back on the same port; returns when it is up again."""

    def command(self, *commands: Command, beats: int, agent_id: str) -> None:
        """Answer so many beats of an agent with these commands."""


class Control:
    """Serves the control interface of one backend.

    Args:
        backend: What it controls.
        port: On 127.0.0.1; 0 for a free one.

    Raises:
        BackendError: The port cannot be listened on.
    """

    def __init__(self, backend: Backend, port: int) -> None:
        try:
            self._server = _Server((HOST, port), partial(_Request, Endpoints(backend).routes))
        except OSError as error:
            raise unusable(f"{HOST}:{port}", error) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            args=(STOP_LATENCY,),
            name="rover-backend-control",
            daemon=True,
        )

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self._server.server_address[1]}"

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Give the port back."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    """A restart that is under way does not keep the backend from stopping."""

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  the base class's own
        """Pass over what a client broke off, which the base class would show with a traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


Route = tuple[str, str]
"""Method and path."""


class Endpoints:
    """What can be asked of a backend; each method takes the JSON object of the request's body."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.routes: dict[Route, Callable[[Json], Json]] = {
            ("GET", "/"): self._overview,
            ("GET", "/state"): self._state,
            ("GET", "/violations"): self._violations,
            ("GET", "/faults"): self._faults,
            ("POST", "/faults"): self._add_fault,
            ("DELETE", "/faults"): self._clear_faults,
            ("POST", "/restart"): self._restart,
            ("POST", "/commands"): self._command,
            **ProfilingRoutes(backend).routes,
        }

    def _overview(self, _: Json) -> Json:
        return {
            "address": self._backend.address,
            "routes": [f"{method} {path}" for method, path in self.routes],
        }

    def _state(self, _: Json) -> Json:
        return self._backend.state.snapshot().as_dict()

    def _violations(self, _: Json) -> Json:
        held = self._backend.state.snapshot()
        return {
            "violations": [violation.as_dict() for violation in held.violations],
            "violations_total": held.violations_total,
        }

    def _faults(self, _: Json) -> Json:
        return {"faults": [fault.as_dict() for fault in self._backend.faults.active]}

    def _add_fault(self, body: Json) -> Json:
        kind = str(body.pop("kind", ""))
        self._backend.faults.add(make_fault(kind, body))
        return self._faults({})

    def _clear_faults(self, body: Json) -> Json:
        kind = body.pop("kind", None)
        nothing_else(body)
        if kind is None:
            self._backend.faults.clear()
            return self._faults({})
        if str(kind) not in KINDS:
            raise ConfigError(f"fault {kind!r} is unknown; there are: {', '.join(KINDS)}")
        of_kind = [fault for fault in self._backend.faults.active if kind_of(fault) == kind]
        if of_kind:
            self._backend.faults.clear(*of_kind)
        return self._faults({})

    def _restart(self, body: Json) -> Json:
        keep_memory = flag_of(body, "keep_memory", default=True)
        downtime = number_of(body, "downtime", default=0.0, most=LONGEST_DOWNTIME)
        nothing_else(body)
        self._backend.restart(keep_memory=keep_memory, downtime=downtime)
        return {"address": self._backend.address}

    def _command(self, body: Json) -> Json:
        commands = _commands(body)
        beats = int(number_of(body, "beats", default=1, most=SCRIPT_LIMIT))
        agent_id = str(body.pop("agent_id", ""))
        nothing_else(body)
        self._backend.command(*commands, beats=beats, agent_id=agent_id)
        return {"scripted": beats}


class _Request(BaseHTTPRequestHandler):
    """One request."""

    timeout = IDLE
    server_version = "rover-backend"
    sys_version = ""

    def __init__(self, table: dict[Route, Callable[[Json], Json]], *more: Any) -> None:  # noqa: ANN401  the base class's own arguments
        self._table = table
        super().__init__(*more)

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        log.debug("control " + format, *args)  # noqa: G003  the format is the base class's

    def _serve(self) -> None:
        status, answer = self._answer()
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> tuple[HTTPStatus, Json]:
        # a page in a browser may be led here by a name of its own that means 127.0.0.1
        if self.headers.get("Host", HOST).partition(":")[0] not in {HOST, "localhost"}:
            return HTTPStatus.FORBIDDEN, {"error": "ask for 127.0.0.1 or localhost"}
        path = self.path.partition("?")[0]
        endpoint = self._table.get((self.command, path))
        if endpoint is None:
            known = ", ".join(f"{method} {route}" for method, route in self._table)
            error = f"no {self.command} {path}; there are: {known}"
            return HTTPStatus.NOT_FOUND, {"error": error}
        try:
            return HTTPStatus.OK, endpoint(self._body())
        except _TooLargeError:
            error = f"a question has at most {BODY_LIMIT} bytes"
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": error}
        except ConfigError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except RoverError as error:
            return HTTPStatus.CONFLICT, {"error": str(error)}

    def _body(self) -> Json:
        length = self.headers.get("Content-Length", "0")
        if not length.isascii() or not length.isdigit():
            raise ConfigError(f"Content-Length {length!r} is no number of bytes")
        if int(length) > BODY_LIMIT:
            raise _TooLargeError
        sent = self.rfile.read(int(length))
        try:
            body = json.loads(sent) if sent else {}
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the question is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise ConfigError("the question is not a JSON object")
        return body


class _TooLargeError(Exception):
    pass


def _commands(body: Json) -> list[Command]:
    listed = body.pop("commands", [])
    if not isinstance(listed, list):
        raise ConfigError("commands is a list of objects with name and args")
    commands = []
    for one in listed:
        args = one.get("args", {}) if isinstance(one, dict) else None
        if not isinstance(args, dict) or not isinstance(one.get("name"), str):
            raise ConfigError("a command is an object with a name and an object of args")
        commands.append(Command(one["name"], {str(key): str(args[key]) for key in args}))
    return commands

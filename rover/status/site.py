"""What is answered where: states and figures on the port, all that is known on the socket."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from rover.errors import RoverError
from rover.explain.question import ask_of
from rover.metrics import REGISTRY
from rover.status.accept import wants_openmetrics
from rover.status.hosts import is_ours, own_names
from rover.status.http import Answer, Request, say, unchangeable
from rover.status.page import Shown, facts, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rover.explain.question import Question
    from rover.log_level import LevelNow, LogLevel
    from rover.status.history import History
    from rover.status.verdict import Verdict

    Query = Mapping[str, str]

PID_DIGITS: Final = 10
"""Of the largest that a pid's type holds."""
EVENT: Final = re.compile(r"[0-9]{0,18}", re.ASCII)
"""Number of an event; none to begin with."""
FRESH: Final = 1.0
"""Seconds for which figures are told again as they were gathered, however many ask."""


class Answers(Protocol):
    """What the agent tells of itself; each may be asked from any thread."""

    def health(self) -> Verdict:
        """Tell whether every part works, and each part's state; at once."""

    def readiness(self) -> Verdict:
        """Tell whether the first scan has been handed to the reporter; at once."""

    def overview(self) -> Mapping[str, Any]:
        """Tell all that fits on one screen."""

    def why(self, pid: int) -> Mapping[str, Any] | None:
        """Explain what is reported of a process; None where there is no such process."""

    def events(self, after: int | None) -> Mapping[str, Any]:
        """Tell what happened after an event, or begin to listen; at once."""

    def processes(self) -> list[dict[str, Any]]:
        """Tell of every process."""

    def explain(self, question: Question) -> Mapping[str, Any]:
        """Tell the stories of processes, or the ``error`` in the question."""


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that takes its time: it is made in a thread of its own."""

    subject: str
    """Who asks for the same while it is made gets the same."""
    make: Callable[[], Answer]


class Figures:
    """The text of /metrics, gathered once a second at most in each of its two formats."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[float, Answer]] = {}

    def answer(self, accept: str) -> Answer | Later:
        """Return the latest where it is fresh, else what gathers anew.

        Args:
            accept: says whether it is to be OpenMetrics; else it is Prometheus' older text.
        """
        name, gather = (
            ("openmetrics", _as_openmetrics) if wants_openmetrics(accept) else ("text", _as_text)
        )
        latest = self._latest.get(name)
        if latest and time.monotonic() - latest[0] < FRESH:
            return latest[1]
        return Later(f"/metrics as {name}", lambda: self._keep(name, gather()))

    def _keep(self, name: str, answer: Answer) -> Answer:
        self._latest[name] = time.monotonic(), answer
        return answer


def _as_text() -> Answer:
    return Answer(HTTPStatus.OK, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)


def _as_openmetrics() -> Answer:
    text: bytes = openmetrics.generate_latest(REGISTRY)  # type: ignore[no-untyped-call]
    return Answer(HTTPStatus.OK, text, openmetrics.CONTENT_TYPE_LATEST)


class PortSite:
    """Over TCP, for whoever reaches the port: nothing of any process, no word from elsewhere."""

    PATHS: Final = ("/", "/metrics", "/healthz", "/readyz")

    def __init__(
        self,
        answers: Answers,
        figures: Figures,
        history: History,
        hosts: Iterable[str],
        socket_path: str,
    ) -> None:
        """Answer from these.

        Args:
            answers: of the agent.
            figures: of the agent.
            history: of the last hour.
            hosts: names that it may be asked by, beside its host's own.
            socket_path: where the rest is answered; empty where that is nowhere.
        """
        self._answers = answers
        self._figures = figures
        self._history = history
        self._hosts = tuple(hosts)
        self._socket_path = socket_path
        self._page: tuple[float, Answer] | None = None

    def answer(self, request: Request) -> Answer | Later:
        """Answer a request."""
        if strange := _strange(request, self._hosts):
            return strange
        return unchangeable() if request.changes else self._tell(request)

    def _tell(self, request: Request) -> Answer | Later:
        match request.path:
            case "/":
                latest = self._page
                fresh = latest and time.monotonic() - latest[0] < FRESH
                return latest[1] if latest and fresh else Later("/", self._make_page)
            case "/metrics":
                return self._figures.answer(request.accept)
            case "/healthz":
                return _told(health := self._answers.health(), health.brief)
            case "/readyz":
                ready = self._answers.readiness()
                return _told(ready, {**ready.brief, "details": self._asked_as("/readyz")})
            case "/why":
                return say(
                    HTTPStatus.GONE,
                    {
                        "error": "what speaks of processes is told on the agent's socket alone",
                        "instead": self._asked_as("/why?pid=N"),
                    },
                )
        return _nothing_there(self.PATHS)

    def _make_page(self) -> Answer:
        health, ready = self._answers.health(), self._answers.readiness()
        told = Shown(
            well=health.fine,
            facts=facts({**health.brief, **ready.brief}),
            courses=self._history.courses(),
            processes=None,
            instead=self._processes_are_at(),
        )
        answer = page(told)
        self._page = time.monotonic(), answer
        return answer

    def _processes_are_at(self) -> str:
        if not self._socket_path:
            return f"What runs here is not told on this port; {self._asked_as('/')}."
        return (
            "What runs here is told to root on the agent's socket alone. From your own machine: "
            f"ssh -N -L 9465:{self._socket_path} root@HOST, then http://localhost:9465/"
        )

    def _asked_as(self, target: str) -> str:
        """Tell how root and the agent's own user ask for what is not told here."""
        if not self._socket_path:
            return "the log tells at the start why there is no socket to ask for it"
        return f"curl --unix-socket {self._socket_path} 'http://localhost{target}'"


class SocketSite:
    """Over the Unix socket, for root and the agent's own user: all that the agent knows."""

    PATHS: Final = (
        "/",
        "/metrics",
        "/healthz",
        "/readyz",
        "/status",
        "/processes",
        "/events",
        "/explain?pid=N",
        "/why?pid=N",
        "/log-level",
    )

    def __init__(
        self, answers: Answers, figures: Figures, history: History, log_level: LogLevel
    ) -> None:
        """Answer from these, and change how much is logged."""
        self._answers = answers
        self._history = history
        self._log_level = log_level
        self._routes: Mapping[str, Callable[[Query], Answer | Later]] = {
            "/": self._page,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status": self._overview,
            "/processes": lambda _: Later("/processes", self._processes),
            "/explain": self._story,
            "/events": self._happened,
            "/why": self._why,
            "/log-level": lambda _: _level(self._log_level.now()),
        }
        self._figures = figures

    def answer(self, request: Request) -> Answer | Later:
        """Answer a request."""
        # ssh may lead a port of somebody's own machine here, and a browser there anything
        if strange := _strange(request):
            return strange
        return self._change(request) if request.changes else self._tell(request)

    def _tell(self, request: Request) -> Answer | Later:
        if request.path == "/metrics":
            return self._figures.answer(request.accept)
        route = self._routes.get(request.path)
        if route is None:
            return _nothing_there(self.PATHS)
        return route({name: values[0] for name, values in parse_qs(request.query).items()})

    def _page(self, query: Query) -> Later:
        search = query.get("q", "")
        return Later(f"/?{search}", lambda: self._make_page(search))

    def _make_page(self, search: str) -> Answer:
        health, ready = self._answers.health(), self._answers.readiness()
        processes, instead = None, ""
        try:
            processes = self._answers.processes()
        except RoverError as error:
            instead = str(error)
        told = Shown(
            well=health.fine,
            facts=facts({**health.detail, **ready.detail}),
            courses=self._history.courses(),
            processes=processes,
            instead=instead,
            search=search,
        )
        return page(told)

    def _change(self, request: Request) -> Answer:
        if request.path != "/log-level":
            return unchangeable()
        if request.of_a_page:
            return say(HTTPStatus.FORBIDDEN, {"error": "a page in a browser changes nothing here"})
        asked = parse_qs(request.query)
        level, seconds = asked.get("level", [""])[0], asked.get("seconds", [""])[0]
        try:
            if not level:
                return _level(self._log_level.restore())
            return _level(self._log_level.change(level, float(seconds)))
        except ValueError as error:
            return say(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _health(self, _query: Query) -> Answer:
        return _told(health := self._answers.health(), health.detail)

    def _readiness(self, _query: Query) -> Answer:
        return _told(ready := self._answers.readiness(), ready.detail)

    def _overview(self, _query: Query) -> Later:
        return Later("/status", lambda: say(HTTPStatus.OK, self._answers.overview()))

    def _why(self, query: Query) -> Answer | Later:
        pid = query.get("pid", "")
        if not (pid.isascii() and pid.isdigit() and len(pid) <= PID_DIGITS):
            return say(HTTPStatus.BAD_REQUEST, {"error": "say which: /why?pid=N"})
        return Later(f"/why {int(pid)}", lambda: self._explain(int(pid)))

    def _story(self, query: Query) -> Answer | Later:
        asked = {name: query.get(name, "") for name in ("pid", "container", "pod")}
        try:
            question = ask_of(**asked)
        except RoverError as error:
            return say(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        return Later(f"/explain {question}", lambda: self._told_of(question))

    def _processes(self) -> Answer:
        try:
            told = {"processes": self._answers.processes()}
        except RoverError as error:
            return say(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)})
        # indented it would be made by Python's own encoder, which takes ten times as long
        return Answer(HTTPStatus.OK, json.dumps(told).encode())

    def _happened(self, query: Query) -> Answer:
        after = query.get("after", "")
        if not EVENT.fullmatch(after):
            return say(HTTPStatus.BAD_REQUEST, {"error": "say after which: /events?after=N"})
        told = self._answers.events(int(after) if after else None)
        return Answer(HTTPStatus.OK, json.dumps(told).encode())

    def _told_of(self, question: Question) -> Answer:
        try:
            told = self._answers.explain(question)
        except RoverError as error:
            return say(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)})
        return say(HTTPStatus.NOT_FOUND if "error" in told else HTTPStatus.OK, told)

    def _explain(self, pid: int) -> Answer:
        try:
            answer = self._answers.why(pid)
        except RoverError as error:
            return say(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)})
        if answer is None:
            return say(HTTPStatus.NOT_FOUND, {"error": f"no live process has pid {pid}"})
        return say(HTTPStatus.OK, answer)


def _strange(request: Request, hosts: Iterable[str] = ()) -> Answer | None:
    """Refuse a request that calls the agent by a name that is none of its own."""
    names = own_names(socket.gethostname(), hosts)
    strange = next((host for host in request.hosts if not is_ours(host, names)), None)
    if strange is None:
        return None
    return say(
        HTTPStatus.MISDIRECTED_REQUEST,
        {
            "error": f"{strange[:100]!r} is no name of this agent: ask by its IP address, "
            "or list the name in status.hosts"
        },
    )


def _told(verdict: Verdict, content: Mapping[str, Any]) -> Answer:
    return say(HTTPStatus.OK if verdict.fine else HTTPStatus.SERVICE_UNAVAILABLE, content)


def _level(now: LevelNow) -> Answer:
    return say(HTTPStatus.OK, asdict(now))


def _nothing_there(paths: Iterable[str]) -> Answer:
    return say(HTTPStatus.NOT_FOUND, {"error": f"there are {', '.join(paths)}"})

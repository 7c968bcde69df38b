"""When the API first said what the agent needs to name a container's processes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import Final, NamedTuple, Self

from machines.node.kubectl import Kubectl, Object

STATUSES: Final = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
WATCHED: Final = ("pods", "services")


class Named(NamedTuple):
    """A container that a service is told to have."""

    container: str
    """Its id of 64 hex digits."""
    service: str
    """Its name, a dot and its namespace."""


class Word:
    """Follows pods and services beside the agent, and keeps the moment of each `Named`.

    A context manager.
    """

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._held: dict[tuple[str, str, str], Object] = {}
        self._since: dict[Named, float] = {}
        self._lock = threading.Lock()
        self._watches: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for kind in WATCHED:
            watch = self._kubectl.begin("get", "--raw", f"/api/v1/{kind}?watch=true")
            self._watches.append(watch)
            self._threads.append(threading.Thread(target=self._follow, args=(watch,)))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        for watch in self._watches:
            watch.kill()
            watch.wait()
        for thread in self._threads:
            thread.join()

    def since(self, named: Named) -> float | None:
        """Return when the API first said so, by the monotonic clock."""
        return self._since.get(named)

    def _follow(self, watch: subprocess.Popen[str]) -> None:
        assert watch.stdout
        for line in watch.stdout:
            with self._lock:
                self._take(json.loads(line))

    def _take(self, event: Object) -> None:
        item = event["object"]
        where = item["metadata"].get("namespace", "")
        key = (item["kind"], where, item["metadata"]["name"])
        if event["type"] == "DELETED":
            self._held.pop(key, None)
        else:
            self._held[key] = item
        now = time.monotonic()
        for named in told([each for kept, each in self._held.items() if kept[1] == where]):
            self._since.setdefault(named, now)


def told(items: list[Object]) -> set[Named]:
    """Return what the pods and services of one namespace tell."""
    services = [each for each in items if each["kind"] == "Service"]
    return {
        Named(status["containerID"].partition("://")[2], _full_name(service))
        for each in items
        if each["kind"] == "Pod"
        for service in services
        if selects(service, each)
        for kind in STATUSES
        for status in each.get("status", {}).get(kind, ())
        if status.get("containerID")
    }


def selects(service: Object, pod: Object) -> bool:
    """Tell whether a service's selector holds for a pod."""
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def _full_name(service: Object) -> str:
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}"

"""The objects of the emulated cluster: their versions, what happened to them, lists in pages.

Versions grow over all resources. What has happened is kept for a while; a watch from before that
is told that its version is gone, as is a list whose continue token is too old.
"""

from __future__ import annotations

import copy
import threading
from typing import Any

Key = tuple[str, str]
"""Namespace and name."""

HISTORY = 10_000
"""Events kept at most; versions before them are too old."""
RESOURCES = ("pods", "services", "replicasets", "jobs")


class Store:
    """What the cluster holds; every change notifies `changed`, whose lock guards all of it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._objects: dict[str, dict[Key, dict[str, Any]]] = {name: {} for name in RESOURCES}
        self._version = 100
        self._oldest = 100
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []
        self._pages: dict[str, list[dict[str, Any]]] = {}
        self._page_number = 0

    @property
    def version(self) -> int:
        return self._version

    def put(self, resource: str, item: dict[str, Any]) -> None:
        """Create an object, or replace the one of its name."""
        item = copy.deepcopy(item)
        key = (item["metadata"]["namespace"], item["metadata"]["name"])
        with self.changed:
            known = self._objects[resource].get(key)
            if known and known["metadata"].get("uid") != item["metadata"].get("uid"):
                self._record("DELETED", resource, known)
                known = None
            self._objects[resource][key] = item
            self._record("MODIFIED" if known else "ADDED", resource, item)

    def delete(self, resource: str, namespace: str, name: str) -> None:
        with self.changed:
            item = self._objects[resource].pop((namespace, name))
            self._record("DELETED", resource, item)

    def objects(self, resource: str) -> dict[Key, dict[str, Any]]:
        with self.changed:
            return copy.deepcopy(self._objects.get(resource, {}))

    def keys(self, resource: str) -> set[Key]:
        with self.changed:
            return set(self._objects[resource])

    def _record(self, happened: str, resource: str, item: dict[str, Any]) -> None:
        self._version += 1
        item = copy.deepcopy(item)
        item["metadata"]["resourceVersion"] = str(self._version)
        key = (item["metadata"]["namespace"], item["metadata"]["name"])
        if happened != "DELETED":
            self._objects[resource][key] = item
        self._history.append((self._version, happened, resource, item))
        if len(self._history) > HISTORY:
            del self._history[: HISTORY // 2]
            self._oldest = self._history[0][0]
        self.changed.notify_all()

    def expire(self) -> None:
        """Forget history: every version so far is too old, also for open watches."""
        with self.changed:
            self._version += 1
            self._oldest = self._version
            self._history.clear()
            self._pages.clear()
            self.changed.notify_all()

    def restore_backup(self) -> None:
        """Go on from an older version."""
        with self.changed:
            self._version = self._oldest = 10
            self._history.clear()

    def page(
        self, resource: str, query: dict[str, str]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
        """Return a page of a list with its metadata; None where its continue token is too old."""
        with self.changed:
            token = query.get("continue")
            if token:
                rest = self._pages.pop(token, None)
                if rest is None:
                    return None
            else:
                wanted = node_of(query)
                rest = [i for i in self._objects[resource].values() if on_node(i, wanted)]
            # The server's cache, which version "0" asks for, does not page.
            limit = int(query.get("limit") or 0)
            limit = limit if query.get("resourceVersion") != "0" else 0
            page, rest = (rest[:limit], rest[limit:]) if limit else (rest, [])
            metadata: dict[str, Any] = {"resourceVersion": str(self._version)}
            if rest:
                self._page_number += 1
                metadata["continue"] = f"page{self._page_number}"
                self._pages[metadata["continue"]] = rest
            return page, metadata

    def events_after(self, version: int, resource: str, node: str) -> list[tuple[str, Any]] | None:
        """Return what has happened since; None where that is no longer known. Called locked."""
        if version < self._oldest:
            return None
        return [
            (happened, item)
            for number, happened, of, item in self._history
            if number > version and of == resource and on_node(item, node)
        ]


def node_of(query: dict[str, str]) -> str:
    """Return the node that a field selector asks for; "" for all."""
    selector = query.get("fieldSelector", "")
    return selector.partition("=")[2] if selector.startswith("spec.nodeName=") else ""


def on_node(item: dict[str, Any], node: str) -> bool:
    return not node or item.get("spec", {}).get("nodeName") == node

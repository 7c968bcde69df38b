"""Which service selects which pod, without ever comparing all pods with all services.

Each service is filed under one pair of its selector, the one with the fewest others so far; a pod
meets the services filed under its own labels, and no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rover.k8s.records import PodRecord, ServiceRecord

Key: TypeAlias = tuple[str, str]
"""Namespace and name."""
Pair: TypeAlias = tuple[str, str, str]
"""Namespace, label's name, label's value."""


class Services:
    """All services of the cluster, found by the labels they select."""

    def __init__(self) -> None:
        self._services: dict[Key, ServiceRecord] = {}
        self._filed: dict[Pair, set[str]] = {}
        self._pair_of: dict[Key, Pair] = {}

    def __len__(self) -> int:
        return len(self._services)

    def put(self, service: ServiceRecord) -> tuple[Pair, ...]:
        """Add or replace a service.

        Returns:
            Pairs of which a pod must bear one for its services to be others now.
        """
        if self._services.get(service.key) == service:
            return ()
        before = self.remove(service.key)
        self._services[service.key] = service
        if not service.selector:
            return before
        pairs = [(service.namespace, name, value) for name, value in service.selector]
        pair = min(pairs, key=lambda each: len(self._filed.get(each, ())))
        self._pair_of[service.key] = pair
        self._filed.setdefault(pair, set()).add(service.name)
        return (*before, pair)

    def put_all(self, services: Iterable[ServiceRecord]) -> list[Pair]:
        """Replace all services; return as `put` does."""
        services = tuple(services)
        gone = self._services.keys() - {service.key for service in services}
        pairs = [pair for key in gone for pair in self.remove(key)]
        return pairs + [pair for service in services for pair in self.put(service)]

    def remove(self, key: Key) -> tuple[Pair, ...]:
        """Remove a service, if there is such a one; return as `put` does."""
        self._services.pop(key, None)
        pair = self._pair_of.pop(key, None)
        if pair is None:
            return ()
        names = self._filed[pair]
        names.discard(key[1])
        if not names:
            del self._filed[pair]
        return (pair,)

    def of(self, pod: PodRecord) -> str:
        """Name the service whose selector matches the pod, "" where none does.

        Of several the shortest name counts, and of those the first in ASCII order, as in
        SkyWalking Rover.
        """
        names = (
            name
            for pair in pairs_of(pod)
            for name in self._filed.get(pair, ())
            if self._matches(name, pod)
        )
        return min(names, key=lambda name: (len(name), name), default="")

    def _matches(self, name: str, pod: PodRecord) -> bool:
        selector = self._services[pod.namespace, name].selector
        return all(pod.labels.get(label) == value for label, value in selector)


def pairs_of(pod: PodRecord) -> Iterable[Pair]:
    """List what a pod's labels could be filed under."""
    return ((pod.namespace, name, value) for name, value in pod.labels.items())

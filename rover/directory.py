"""Who is reported, for the profiler: the reporter knows the ids, the table the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover.profiling.watching import Watched

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rover.discovery.loop import Discovery
    from rover.model import EntityKey, ProcessKey
    from rover.reporter.reporter import Reporter


class Directory:
    """Answers for the profiler's thread; each answer takes one question to discovery's."""

    def __init__(self, reporter: Reporter, discovery: Discovery) -> None:
        self._reporter = reporter
        self._discovery = discovery

    def members(self, process_ids: Collection[str]) -> Mapping[str, Sequence[ProcessKey]]:
        """Find the live processes of entities by the backend's ids.

        Raises:
            RoverError: the discovery thread gives no answer.
        """
        entities = self._reporter.entities_of(process_ids)
        claimants = self._claimants(entities.values())
        return {process_id: claimants[key] for process_id, key in entities.items()}

    def services(self) -> Collection[str]:
        """Name the services of all entities."""
        return self._reporter.services()

    def entities(self, services: Collection[str]) -> Sequence[Watched]:
        """Give the entities of some services that the backend knows, with their live processes.

        Raises:
            RoverError: the discovery thread gives no answer.
        """
        known = self._reporter.entities_in(services)
        claimants = self._claimants([entity.key for entity in known.values()])
        return [
            Watched(process_id, entity, claimants[entity.key])
            for process_id, entity in known.items()
        ]

    def _claimants(self, keys: Collection[EntityKey]) -> Mapping[EntityKey, tuple[ProcessKey, ...]]:
        if not keys:
            return {}
        return self._discovery.inspect(
            lambda census: {key: census.table.claimants(key) for key in keys},
            about="who is profiled",
        )

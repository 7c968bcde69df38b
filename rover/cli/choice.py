"""Options by which processes and events are chosen: service, namespace, container."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class Where:
    """Of which service, namespace and container; those of one kind add up, an empty one is all."""

    services: tuple[str, ...] = ()
    """With ``*`` and ``?`` for what may stand there."""
    namespaces: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    """Names, or beginnings of ids."""

    def holds(
        self, services: Iterable[str], namespace: str, container: str, container_id: str
    ) -> bool:
        """Tell whether something is chosen.

        Args:
            services: that it is of.
            namespace: of its pod; empty outside any.
            container: its name; empty where it has none.
            container_id: or the beginning of it, as much as is known.
        """
        return (
            (not self.namespaces or namespace in self.namespaces)
            and (not self.containers or _is_one(self.containers, container, container_id))
            and (not self.services or any(map(self._names, services)))
        )

    def _names(self, service: str) -> bool:
        return any(fnmatchcase(service, each) for each in self.services)


EVERYWHERE: Final = Where()


def _is_one(containers: Iterable[str], name: str, begins: str) -> bool:
    for each in containers:
        if each == name or (begins and (begins.startswith(each) or each.startswith(begins))):
            return True
    return False


def chosen(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it is called with ``where``."""

    @click.option("--service", multiple=True, metavar="PATTERN", help="Of such a service; * and ?.")
    @click.option("--namespace", multiple=True, metavar="NAME", help="Of pods in a namespace.")
    @click.option("--container", multiple=True, metavar="NAME|ID", help="Of such a container.")
    @functools.wraps(command)
    def with_choice(
        service: tuple[str, ...],
        namespace: tuple[str, ...],
        container: tuple[str, ...],
        **options: Any,  # noqa: ANN401 - the command's own
    ) -> None:
        command(where=Where(service, namespace, container), **options)

    return with_choice

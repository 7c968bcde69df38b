"""Processes as `rover ps` shows them: chosen, and one line an entity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rover.cli.choice import EVERYWHERE, Where
from rover.cli.columns import Column, laid_out
from rover.model import Reason
from rover.printable import printable
from rover.reporter.state import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

WIDE: Final = (
    Column("PID"),
    Column("LAYER", fair=11, least=6, turn=3, goes=2),
    Column("SERVICE", fair=20, least=10, turn=4),
    Column("INSTANCE", fair=18, least=8, turn=3, goes=3),
    Column("PROCESS", fair=12, least=8, turn=4, goes=4),
    Column("STATUS", fair=20, least=8, turn=2, goes=5),
    Column("COMMAND", fair=16, least=12, turn=1, goes=1),
)
NARROW: Final = tuple(each for each in WIDE if each.title not in {"LAYER", "INSTANCE"})
FULL_WIDTH: Final = 110
"""Columns of a terminal from which on all are shown."""
COMMAND_SHOWN: Final = 1_000
"""Characters."""
NOT_THERE: Final = "-"
STATUSES: Final = {
    Standing.REPORTED.value: "reported",
    Standing.WAITING.value: "waiting to be reported",
    Standing.UNANSWERED.value: "reported, no id given",
}
REASONS: Final = {each.name.lower().replace("_", "-"): each.value for each in Reason}
"""The sentence of each reason by a word that can be typed."""
WORDS: Final = {sentence: word for word, sentence in REASONS.items()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which processes are shown; an empty choice is all."""

    pids: tuple[int, ...] = ()
    where: Where = EVERYWHERE
    reasons: tuple[str, ...] = ()

    def holds(self, process: Mapping[str, Any]) -> bool:
        """Tell whether a process is wanted."""
        return (
            (not self.pids or process["pid"] in self.pids)
            and (not self.reasons or process["reason"] in {REASONS[each] for each in self.reasons})
            and self.where.holds(
                (each["service"] for each in process["entities"]),
                process["namespace"],
                process["container"],
                process["container_id"],
            )
        )


def table(processes: Iterable[Mapping[str, Any]], width: int, *, wide: bool) -> list[str]:
    """Write a head and one line an entity, or a process that has none.

    Args:
        processes: as the agent tells of them.
        width: cells that a line may have, 0 for any.
        wide: all columns, in full.
    """
    columns: Sequence[Column] = WIDE if wide or not width or width >= FULL_WIDTH else NARROW
    rows = _rows(processes, short=columns is NARROW)
    shown = [[cells[each.title] for each in columns] for cells in rows]
    return laid_out(columns, shown, 0 if wide else width)


def names(processes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Write the names of each entity once."""
    keys = ("layer", "service", "instance", "process")
    named = ["/".join(each[key] for key in keys) for one in processes for each in one["entities"]]
    return [printable(name) for name in dict.fromkeys(named)]


def _rows(processes: Iterable[Mapping[str, Any]], *, short: bool) -> Iterator[Mapping[str, str]]:
    for process in processes:
        command = process["command_line"][:COMMAND_SHOWN] or f"[{process['name']}]"
        own = {"PID": str(process["pid"]), "COMMAND": printable(command)}
        for entity in process["entities"]:
            yield own | {
                "LAYER": printable(entity["layer"]),
                "SERVICE": printable(entity["service"]),
                "INSTANCE": printable(entity["instance"]),
                "PROCESS": printable(entity["process"]),
                "STATUS": printable(_status(process, entity)),
            }
        if not process["entities"]:
            detail = f": {process['detail']}" if process["detail"] else ""
            reason = process["reason"]
            status = f"{WORDS.get(reason, reason) if short else f'not reported: {reason}'}{detail}"
            none = dict.fromkeys(("LAYER", "SERVICE", "INSTANCE", "PROCESS"), NOT_THERE)
            yield own | none | {"STATUS": printable(status)}


def _status(process: Mapping[str, Any], entity: Mapping[str, Any]) -> str:
    short = ", texts cut short" if process["shortened"] else ""
    if entity["leader"] != process["pid"]:
        return f"follows {entity['leader']}{short}"
    standing = entity.get("backend", Standing.REPORTED.value)
    return STATUSES.get(standing, f"refused: {entity.get('detail', '')}") + short

"""The places that connections hold: so many a peer, so many in all; the oldest makes room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable


class Guest(Protocol):
    """Who holds a place."""

    @property
    def peer(self) -> Hashable:
        """Where it comes from."""

    @property
    def leaves_at(self) -> float:
        """When it has to be gone, in time.monotonic()'s seconds; later for who comes later."""


G = TypeVar("G", bound=Guest)


class Places(Generic[G]):
    """Guests in the order in which they came, which is that in which they have to leave.

    A newcomer always gets in. Where its own peer has its share already, the oldest of that peer
    goes, so one peer can push out none but its own; else, where all is full, the oldest of all.
    """

    def __init__(self, total: int, a_peer: int) -> None:
        self.total: Final = total
        self.a_peer: Final = a_peer
        self._all: dict[G, None] = {}
        self._of_peer: dict[Hashable, dict[G, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, guest: object) -> bool:
        return guest in self._all

    def enter(self, guest: G) -> G | None:
        """Take a guest in; return the one that has lost its place to it."""
        mine = self._of_peer.get(guest.peer, {})
        crowd = mine if len(mine) >= self.a_peer else self._all
        out = None
        if crowd is mine or len(crowd) >= self.total:
            out = next(iter(crowd))
            self.leave(out)
        self._all[guest] = None
        self._of_peer.setdefault(guest.peer, {})[guest] = None
        return out

    def leave(self, guest: G) -> None:
        """Give a place back; harmless where it was lost already."""
        if guest not in self._all:
            return
        del self._all[guest]
        mine = self._of_peer[guest.peer]
        del mine[guest]
        if not mine:
            del self._of_peer[guest.peer]

    def oldest(self) -> G | None:
        """Return who has been here longest and has to leave first."""
        return next(iter(self._all), None)

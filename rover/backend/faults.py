"""The faults there are, as frozen records, and how they are written.

A line such as ``error:code=UNAVAILABLE,rate=0.3`` makes one, and so does the JSON of a control
call; ``rover.backend.injection`` puts them in force.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypedDict, get_args

import grpc

from rover.backend.records import Method
from rover.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

METHODS: Final[tuple[str, ...]] = get_args(Method)


class CallSelector(TypedDict, total=False):
    """Which calls a fault is injected into; see ``CallFault``."""

    method: str
    rate: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Base of all faults."""

    def as_dict(self) -> dict[str, Any]:
        """Make it JSON-ready, without secrets."""
        return {"kind": kind_of(self)} | {
            one.name: getattr(self, one.name) for one in fields(self) if one.repr
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFault(Fault):
    """A fault of the connection, below gRPC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(TransportFault):
    """Open connections are reset and new ones refused, as where nothing listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(TransportFault):
    """Open connections are reset now, and so many new ones as soon as they are there."""

    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackHole(TransportFault):
    """Connections stay open and carry nothing in either direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(TransportFault):
    """The backend reads so slowly, over all connections together."""

    bytes_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFault(Fault):
    """A fault that is injected into calls: of one method or both, at a rate, so many times."""

    method: str = ""
    """``reportProcesses`` or ``keepAlive``; empty means both."""
    rate: float = 1.0
    """Share of the calls that it is injected into, up to 1."""
    count: int | None = None
    """It ends after so many calls; None: when it is cleared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(CallFault):
    """The call is worked on so much later."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(CallFault):
    """The call fails."""

    code: str = "UNAVAILABLE"
    details: str = "fault on demand"
    stored: bool = False
    """Whether the call takes effect all the same: only its answer is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fewer(CallFault):
    """So many reported items, chosen at random, are ignored and missing from the answer."""

    items: int = 1
    stored: bool = False
    """Whether they are stored all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorder(CallFault):
    """The answer's items come in another order than the report's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropIds(CallFault):
    """The answer's items come without process ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongIds(CallFault):
    """The answer's items come with ids that belong to no process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLimit(Fault):
    """Larger requests are refused; the code is what most proxies and gRPC libraries answer."""

    size: int
    """Bytes."""
    code: str = "RESOURCE_EXHAUSTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Fault):
    """Calls must carry this token in the metadata key ``authentication``."""

    token: str = field(repr=False)


KINDS: Final[Mapping[str, type[Fault]]] = {
    "refuse": Refuse,
    "reset": Reset,
    "black-hole": BlackHole,
    "slow": Slow,
    "delay": Delay,
    "error": Error,
    "fewer": Fewer,
    "reorder": Reorder,
    "drop-ids": DropIds,
    "wrong-ids": WrongIds,
    "message-limit": MessageLimit,
    "token": Token,
}


def kind_of(fault: Fault) -> str:
    """The fault's name, a key of ``KINDS``."""
    return next(kind for kind, made in KINDS.items() if type(fault) is made)


def parse_fault(line: str) -> Fault:
    """Read ``kind`` or ``kind:name=value,name=value``.

    Raises:
        ConfigError: The kind or a name is unknown, or a value cannot be used.
    """
    kind, _, rest = line.partition(":")
    parameters = {}
    for pair in filter(None, rest.split(",")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"fault {line!r}: {pair!r} is not name=value")
        parameters[name.strip()] = value.strip()
    return make_fault(kind.strip(), parameters)


def make_fault(kind: str, parameters: Mapping[str, object]) -> Fault:
    """Make a fault from its kind and its parameters, as text or as JSON gives them.

    Raises:
        ConfigError: The kind or a name is unknown, or a value cannot be used.
    """
    made = KINDS.get(kind)
    if made is None:
        raise ConfigError(f"fault {kind!r} is unknown; there are: {', '.join(KINDS)}")
    known = {one.name: one for one in fields(made)}
    values = {}
    for name, value in parameters.items():
        key = name.replace("-", "_")
        if key not in known:
            names = ", ".join(known) or "none"
            raise ConfigError(f"fault {kind!r}: no parameter {name!r}; there are: {names}")
        values[key] = _converted(kind, key, str(known[key].type), value)
    missing = [
        one.name for one in known.values() if one.default is MISSING and one.name not in values
    ]
    if missing:
        raise ConfigError(f"fault {kind!r} needs {' and '.join(missing)}")
    return checked(made(**values))


def checked(fault: Fault) -> Fault:
    """Give the fault back if its values can be used.

    Raises:
        ConfigError: One cannot; the message names it and what it may be.
    """
    values = {one.name: getattr(fault, one.name) for one in fields(fault)}
    codes = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    limits: dict[str, tuple[Callable[[Any], bool], str]] = {
        "method": (lambda method: method in {"", *METHODS}, f"one of {', '.join(METHODS)}"),
        "rate": (lambda rate: 0 < rate <= 1, "above 0 and at most 1"),
        "count": (lambda count: count is None or count > 0, "at least 1"),
        "code": (lambda code: code in codes, f"one of {', '.join(codes)}"),
        "items": (lambda items: items > 0, "at least 1"),
        "seconds": (lambda seconds: seconds >= 0, "0 or more"),
        "connections": (lambda connections: connections >= 0, "0 or more"),
        "bytes_per_second": (lambda rate: rate > 0, "above 0"),
        "size": (lambda size: size >= 0, "0 or more"),
        "token": (bool, "not empty"),
    }
    for name, value in values.items():
        holds, expected = limits.get(name, (lambda _: True, ""))
        if not holds(value):
            shown = "it" if name == "token" else repr(value)
            raise ConfigError(f"fault {kind_of(fault)!r}: {name} is {expected}, not {shown}")
    return fault


def _converted(kind: str, name: str, annotation: str, value: object) -> object:
    text = str(value).strip()
    wanted = annotation.removesuffix(" | None")
    try:
        if wanted == "bool":
            return {"true": True, "false": False}[text.lower()]
        return {"int": int, "float": float, "str": str}[wanted](text)
    except (ValueError, KeyError):
        raise ConfigError(f"fault {kind!r}: {name} is {wanted}, not {text!r}") from None

"""Frozen records that every room shares, and what the backend makes of the text in them.

Records hold facts and no behaviour beyond naming; whoever makes one has decided all that it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

_BMP_END = 0xFFFF
"""Last character that is one unit in UTF-16; those beyond are two."""

_MEMORY_FILE = "/memfd:"

STANDARD_PROPERTIES = frozenset(
    {
        "host_ip",
        "pid",
        "command_line",
        "support_ebpf_profiling",
        "container_ip",
        "container_name",
        "pod_name",
    }
)
"""Properties of a report that the agent finds out itself; a process has no say in them."""

DETAIL_KEPT = 500
"""Characters of a verdict's detail: a failing template may put a command line into it."""

NAME_UNITS = 70
"""UTF-16 units of a service or instance name that count in the backend's ids (OAP 10.1)."""
NAME_LIMIT = 500
"""UTF-16 units of a name that the backend stores; it answers OK to what is over a limit, and drops
the whole row in silence (OAP 10.1)."""
LABEL_LIMIT = 50
"""UTF-16 units of one label; a longer one is lost alone."""
LABELS_LIMIT = 500
"""UTF-16 units of all labels of an entity as JSON."""
PROPERTIES_LIMIT = 50_000
"""UTF-16 units of all properties of an entity as JSON."""


class ProcessKey(NamedTuple):
    """What tells a process from a later one with the same pid."""

    pid: int
    """Process id in the initial pid namespace (the agent's own, where it has no other)."""
    start_ticks: int
    """Start after boot in clock ticks, field 22 of /proc/PID/stat."""


class Place(NamedTuple):
    """Where a process keeps its files for a while, told from all others of the same path."""

    mount_namespace: int
    root_mount: int
    root_inode: int
    """Inode of the root directory; with its mount it tells a chroot from its host."""
    tmpdir: str
    """TMPDIR as an absolute path, not decoded where it is no UTF-8; empty where the environment or
    the root could not be read."""


@dataclass(frozen=True, slots=True)
class Process:
    """One live process as /proc told of it; text is valid UTF-8, undecodable bytes are U+FFFD.

    What the process chose itself is cut (`rover.discovery.bounds`).
    """

    key: ProcessKey
    ppid: int
    name: str
    """The kernel's comm, at most 15 bytes."""
    exe: str
    """Path of the executable without " (deleted)"; empty where it cannot be read."""
    arguments: bytes = field(repr=False)
    """As /proc/PID/cmdline has them, parted by NULs. Bytes, for wide characters would take two or
    four a character. What names processes sees them; they leave the host as `told` alone."""
    cwd: str
    uid: int
    cgroup: str
    """Lines of /proc/PID/cgroup as they stand there."""
    pid_namespace: int
    """Inode of the pid namespace, 0 where it cannot be read."""
    mount_namespace: int
    namespace_pid: int
    """The pid as the process itself sees it (innermost NSpid)."""
    image: int = field(compare=False)
    """Differs after an exec, and where the first thread has ended: a hash of the memory layout in
    /proc/PID/stat. Tells where to look again, and nothing that would be worth a report."""
    redacted: bytes | None = None
    """What may leave the host in place of the arguments; None where they may as they are."""
    shortened: bool = False
    """Whether its texts were cut further because the budget for all processes was used up."""
    leaderless: bool = field(default=False, compare=False)
    """Whether its first thread had ended when it was read, and others lived on."""
    place: Place | None = field(default=None, compare=False)
    """Where a language agent in it would keep its files; None where that was not asked for."""
    late: str = field(default="", compare=False)
    """Why its command line and place could not be read in time, "" where they were."""

    @property
    def pid(self) -> int:
        """Process id in the initial pid namespace."""
        return self.key.pid

    @property
    def command_line(self) -> str:
        """Arguments joined by blanks, secrets included; empty where the process has none."""
        return _joined(self.arguments)

    @property
    def told(self) -> str:
        """The command line as it may leave the host: reported, shown or logged."""
        return _joined(self.arguments if self.redacted is None else self.redacted)

    @property
    def exe_name(self) -> str:
        """File name of the executable, or the kernel's comm where there is no file to name.

        That is so where the link cannot be read, and for a program run from memory (memfd_create),
        whose link holds what its maker wrote there, a number of its own often.
        """
        if self.exe.startswith(_MEMORY_FILE):
            return self.name
        name = self.exe.rpartition("/")[2]
        # mostly the two are alike: one object then serves as both
        return name if name and name != self.name else self.name


class EntityKey(NamedTuple):
    """What the backend tells entities apart by, with its cut of long names already made."""

    layer: str
    service: str
    instance: str
    process: str


@dataclass(frozen=True, slots=True)
class Entity:
    """What a process is called at the backend (EBPFProcessEntityMetadata)."""

    layer: str
    service: str
    instance: str
    process: str
    labels: tuple[str, ...] = ()
    key: EntityKey = field(init=False, compare=False, repr=False)
    """The part that must be unique: service and instance count to 70 UTF-16 units. Made once, for
    tables of entities hold it as long as the entity."""

    def __post_init__(self) -> None:
        key = EntityKey(
            self.layer,
            utf16_prefix(self.service, NAME_UNITS),
            utf16_prefix(self.instance, NAME_UNITS),
            self.process,
        )
        object.__setattr__(self, "key", key)


@dataclass(frozen=True, slots=True)
class Container:
    """The Kubernetes container a process runs in; one record serves all its processes."""

    id: str
    name: str
    pod_name: str
    namespace: str
    pod_ip: str
    host_ip: str


@dataclass(frozen=True, slots=True)
class Report:
    """One entity with the process that leads it: all that the backend is told of it."""

    entity: Entity
    process: Process
    container: Container | None = None
    """Set for a pod's process, which is reported as k8sProcess; None makes it a hostProcess."""
    properties: tuple[tuple[str, str], ...] = ()
    """Properties beyond the standard ones, as a SkyWalking agent in the process gave them."""
    own_word: bool = False
    """Whether the names are what the process's own user, who is not root, chose to write."""


class Reason(Enum):
    """Why a process is reported, or is not; the value is the sentence a user reads."""

    REPORTED = "reported"
    FOLLOWS = "another process leads its entity"
    PENDING = "it is being looked into"
    KERNEL_THREAD = "kernel thread"
    SELF = "belongs to the agent itself"
    IGNORED = "matches an ignore rule"
    NO_FINDER = "no finder matches it"
    NOT_IN_POD = "runs outside any pod"
    POD_UNKNOWN = "its container is in no pod that this node knows"
    NAMESPACE = "its pod's namespace is not observed"
    TEMPLATE = "a template fails on it"
    DEFECT = "the agent itself fails on it"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the finders say of one process; the table adds who leads."""

    reports: tuple[Report, ...] = ()
    """What the process would be reported as, one item an entity."""
    reason: Reason = Reason.REPORTED
    """Why there is no report; REPORTED where there is one."""
    detail: str = ""
    """Which finder or rule decided, and what failed, for display; cut where it is long."""

    def __post_init__(self) -> None:
        if len(self.detail) > DETAIL_KEPT:
            object.__setattr__(self, "detail", f"{self.detail[:DETAIL_KEPT]}…")


@dataclass(frozen=True, slots=True)
class Changes:
    """What became different between two looks at the table."""

    announced: tuple[Report, ...] = ()
    """New entities, and known ones whose leader or facts changed."""
    withdrawn: tuple[EntityKey, ...] = ()
    """Entities that no live process leads any longer."""
    again: frozenset[EntityKey] = field(default=frozenset(), compare=False)
    """Of the announced, those that had been told before."""

    def __bool__(self) -> bool:
        return bool(self.announced or self.withdrawn)


def utf16_units(text: str) -> int:
    """Length in UTF-16 units, as the backend counts it: characters beyond U+FFFF take two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def utf16_prefix(text: str, units: int) -> str:
    """Cut text to at most so many UTF-16 units without cutting a character in two."""
    if len(text) <= units // 2:
        return text
    if text.isascii() or ord(max(text)) <= _BMP_END:
        return text[:units]
    used = 0
    for at, character in enumerate(text):
        used += 2 if ord(character) > _BMP_END else 1
        if used > units:
            return text[:at]
    return text


def _joined(arguments: bytes) -> str:
    return arguments.replace(b"\0", b" ").decode("utf-8", "replace")


def is_blank(name: str) -> bool:
    """Tell whether the backend would take a name for an empty one: it has nothing above U+0020."""
    return all(character <= " " for character in name)


def split_labels(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of labels; blanks around them and empty ones are dropped."""
    return tuple(label for part in text.split(",") if (label := part.strip()))

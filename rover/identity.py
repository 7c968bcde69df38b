"""The agent's id: one per host, the same at every start, another on a copied disk.

Where the id comes from
    A first start derives it: uuid5 of what tells this machine from others and of the state
    directory's path, so that two agents on one host that were given a directory each never share
    an id. No file, or one that cannot be read as ours, gives the same id again.

What the file adds
    Facts come and go: the node's name needs its variable, ``product_uuid`` needs root. The file
    keeps the id when a fact is missing or newly known, and keeps an id that was written by hand (a
    file that holds a bare UUID is taken as it stands). Beside the id it holds the facts' hashes.

When it changes
    A fact that the file holds and that now differs means another machine: the disk was copied, or
    the machine-id was made anew. The id is then derived from the new facts.

Facts, all that are there
    The Kubernetes node's name where it is given, since nodes that are containers of one host may
    have all else in common, and it takes no right as asking for the node's UID would; the
    machine-id of the host (through ``/proc/1/root`` in a container that sees the host's processes,
    since its own may come with the image); the firmware's ``product_uuid``, which sets apart
    virtual machines that were copied without giving the copy a new machine-id. MAC addresses are no
    fact: they change with bonding, docks and cloud interfaces. Hosts that agree in all of these,
    such as system containers copied together with their machine-id, cannot be told apart; such a
    copy needs a new machine-id.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import socket
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from rover.errors import StateError

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger("rover.identity")

ID_FILE: Final = "agent-id"
LOCK_FILE: Final = "agent.lock"
MAX_FILE_BYTES: Final = 4096
"""The file takes a few hundred bytes; more is not ours."""

NAMESPACE: Final = uuid.UUID("7c1d0f9e-3c2b-5d53-9f0a-52f1c7f4b6a8")
"""Namespace of derived ids; another value would give every host a new id."""

MACHINE_ID_PATHS: Final = (
    "proc/1/root/etc/machine-id",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
)
HARDWARE_PATH: Final = "sys/class/dmi/id/product_uuid"
MACHINE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_NAME_HELD: Final = "abstract-socket (sees agents of this network namespace only)"
_NAME_TAKEN: Final = "none (its name is taken by a stranger: a second agent is not noticed)"
UUID_TEXT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PLACEHOLDER_UUIDS: Final = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        # what boards ship with when their maker never set it
        "03000200-0400-0500-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
    }
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What tells this machine from others; an empty field is not known."""

    node: str = ""
    """Name of the Kubernetes node, unique in its cluster."""
    machine_id: str = ""
    """machine-id(5), 32 hexadecimal digits."""
    hardware: str = ""
    """product_uuid of the firmware, lower case."""

    @classmethod
    def here(cls, node: str = "", root: Path = Path("/")) -> Machine:
        """Read the facts of the running machine; what cannot be read is left empty."""
        machine_id = next(filter(MACHINE_ID.fullmatch, _lines(root, MACHINE_ID_PATHS)), "")
        hardware = next(filter(UUID_TEXT.fullmatch, _lines(root, (HARDWARE_PATH,))), "")
        if hardware in PLACEHOLDER_UUIDS:
            hardware = ""
        return cls(node.strip(), machine_id, hardware)

    def hashes(self) -> dict[str, str]:
        """Give the known facts by kind, hashed: machine-id(5) asks to keep the value itself in."""
        facts = {"node": self.node, "machine": self.machine_id, "hardware": self.hardware}
        return {
            kind: hashlib.sha256(f"rover\n{kind}\n{value}".encode()).hexdigest()
            for kind, value in facts.items()
            if value
        }


@dataclass(frozen=True, slots=True)
class Stored:
    """What the file says."""

    id: str
    hashes: dict[str, str]


class AgentIdentity:
    """The id with the lock that keeps it to one running agent; a context manager.

    Attributes:
        id: The agent's id, a UUID in text.
        persistent: Whether a file keeps it; False when the directory cannot be written.
    """

    def __init__(
        self, agent_id: str, *, persistent: bool, file: int | None, name: socket.socket | None
    ) -> None:
        self.id = agent_id
        self.persistent = persistent
        self._file = file
        self._name = name

    @classmethod
    def acquire(cls, state_dir: Path | str, machine: Machine | None = None) -> AgentIdentity:
        """Lock the state directory and find the agent's id, written there if it is new.

        Where the directory cannot be written the id is derived, the lock is an abstract socket
        of the network namespace, and a warning says so.

        Raises:
            StateError: A running agent holds the directory, or its path is no directory.
        """
        directory = Path(state_dir).absolute()
        machine = Machine.here() if machine is None else machine
        try:
            file = _lock_file(directory)
        except OSError as error:
            return cls._without_file(directory, machine, error)
        # The file alone decides. The name is held beside it for an agent of another user, who
        # cannot open the file and would derive the same id.
        name = None
        with contextlib.suppress(StateError):
            name = _lock_name(directory)
        agent_id, persistent = _settle(directory, machine)
        return cls(agent_id, persistent=persistent, file=file, name=name)

    @classmethod
    def _without_file(cls, directory: Path, machine: Machine, error: OSError) -> AgentIdentity:
        name = _lock_name(directory)
        # a read-only directory may still hold an id
        kept = _kept(_read(directory), machine)
        log.warning(
            "agent id is not kept: state_dir=%s error=%r id_from=%s "
            "lock=%s; give a writable directory with --state-dir",
            directory,
            error.strerror,
            "file" if kept else "machine",
            _NAME_HELD if name else _NAME_TAKEN,
        )
        return cls(kept or derive(directory, machine), persistent=bool(kept), file=None, name=name)

    def close(self) -> None:
        """Give the directory free for another agent; harmless when repeated."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(file, 0)
            os.close(file)
        if self._name is not None:
            self._name.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_agent_id(state_dir: Path | str, machine: Machine | None = None) -> str:
    """Tell the id an agent has, or would have at its first start; takes no lock, writes nothing.

    Raises:
        StateError: The file is there and this user may not read it.
    """
    directory = Path(state_dir).absolute()
    machine = Machine.here() if machine is None else machine
    try:
        stored = _read(directory, strict=True)
    except PermissionError as error:
        raise StateError(
            f"cannot read the agent id in {directory}: {error.strerror}; run as the agent's user"
        ) from error
    return _kept(stored, machine) or derive(directory, machine)


def derive(directory: Path, machine: Machine) -> str:
    """Make the id that this machine gets for this directory, always the same.

    With no fact at all the id holds until the next boot, which is all that can be promised then.
    """
    facts = "\n".join(filter(None, (machine.node, machine.machine_id, machine.hardware)))
    if not facts:
        facts = next(_lines(Path("/"), ("proc/sys/kernel/random/boot_id",)), "") or str(
            uuid.uuid4()
        )
    return str(uuid.uuid5(NAMESPACE, f"{facts}\n{directory}"))


def _settle(directory: Path, machine: Machine) -> tuple[str, bool]:
    """Find the id under the lock and see that the file says it; tell whether it does."""
    stored = _read(directory)
    kept = _kept(stored, machine)
    if stored and not kept:
        log.warning("the state directory comes from another machine: state_dir=%s", directory)
    agent_id = kept or derive(directory, machine)
    hashes = machine.hashes()
    if kept and stored:
        hashes = stored.hashes | hashes
    if stored == Stored(agent_id, hashes):
        return agent_id, True
    try:
        _write(directory, Stored(agent_id, hashes))
    except OSError as error:
        log.warning(
            "agent id could not be written: state_dir=%s error=%r", directory, error.strerror
        )
        return agent_id, bool(kept)
    return agent_id, True


def _kept(stored: Stored | None, machine: Machine) -> str:
    """Give the file's id unless one of its facts speaks of another machine."""
    if stored is None:
        return ""
    now = machine.hashes()
    if any(now.get(kind, said) != said for kind, said in stored.hashes.items()):
        return ""
    return stored.id


def _read(directory: Path, *, strict: bool = False) -> Stored | None:
    """Read the file; None where it is missing or not one of ours.

    Raises:
        PermissionError: Only when strict.
    """
    try:
        # O_NONBLOCK: whoever owns the directory may have put a pipe there
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(directory / ID_FILE, flags)
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(MAX_FILE_BYTES).decode()
    except PermissionError:
        if strict:
            raise
        return None
    except (OSError, UnicodeDecodeError):
        return None
    stored = _parse(text)
    if stored is None:
        log.warning("agent id file is not readable as one, deriving the id anew: in=%s", directory)
    return stored


def _parse(text: str) -> Stored | None:
    if UUID_TEXT.fullmatch(bare := text.strip().lower()):
        return Stored(bare, {})
    try:
        match json.loads(text):
            case {"agent_id": str(agent_id), "machine": dict(hashes)} if UUID_TEXT.fullmatch(
                agent_id
            ) and all(isinstance(said, str) for said in hashes.values()):
                return Stored(agent_id, hashes)
    except (ValueError, RecursionError):
        pass
    return None


def _write(directory: Path, stored: Stored) -> None:
    """Replace the file so that a crash at any moment leaves the old one or the new one."""
    text = json.dumps({"agent_id": stored.id, "machine": stored.hashes}, indent=1) + "\n"
    draft = directory / f".{ID_FILE}.new"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(directory / ID_FILE)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock_file(directory: Path) -> int:
    """Take the directory for this process; the descriptor holds the lock until it is closed.

    Raises:
        StateError: Another process has it, or the path is no directory.
        OSError: The directory cannot be made or written, or its file system has no locks.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(directory / LOCK_FILE, flags, 0o600)
    except (FileExistsError, NotADirectoryError) as error:
        raise StateError(
            f"cannot use {directory} as the state directory: {error.strerror}; "
            "name a directory with --state-dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise _taken(directory, holder) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _lock_name(directory: Path) -> socket.socket | None:
    """Hold a name in the kernel instead of a file; it vanishes with the process.

    None where somebody has it who is neither root nor this user: anybody may take a name.

    Raises:
        StateError: Another agent has it.
    """
    name = b"\0rover-" + hashlib.sha256(os.fsencode(directory)).hexdigest()[:32].encode()
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(name)
        lock.listen(1)
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise StateError(f"cannot lock {directory}: {error.strerror}") from error
        pid, uid = _listener(name)
        if uid in {0, os.geteuid()}:
            raise _taken(directory, str(pid)) from None
        return None
    return lock


def _listener(name: bytes) -> tuple[int, int]:
    """Tell the pid and uid that listen on an abstract socket; 0, -1 where none does, or is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(1)
        try:
            asker.connect(name)
            peer = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return 0, -1
    pid, uid, _ = struct.unpack("3i", peer)
    return pid, uid


def _taken(directory: Path, holder: str) -> StateError:
    return StateError(
        f"the state directory {directory} is in use by another agent"
        f"{f' (pid {holder})' if holder.isdecimal() else ''}: "
        "stop that one, or give this one a directory of its own with --state-dir"
    )


def _lines(root: Path, paths: tuple[str, ...]) -> filter[str]:
    """Give the stripped, lower-cased text of those small files that can be read."""

    def text(path: str) -> str:
        try:
            with (root / path).open("rb") as file:
                return file.read(256).decode(errors="replace").strip().lower()
        except OSError:
            return ""

    return filter(None, map(text, paths))

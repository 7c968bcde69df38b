"""What templates see of the agent, a process and a finder (`rover.config.contexts`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rover.gotemplate import TemplateError
from rover.naming.systemd import service_name

if TYPE_CHECKING:
    from rover.config.patterns import Match
    from rover.model import Process
    from rover.naming.host_facts import Host

_COMM_BYTES = 15
"""Length at which the kernel cuts a process's name (proc(5))."""


@dataclass(frozen=True, slots=True)
class RoverContext:
    """``.Rover``; one serves all templates."""

    host: Host

    @property
    def instance_id(self) -> str:
        """The agent's id."""
        return self.host.instance_id

    @property
    def host_name(self) -> str:
        """Name of the host."""
        return self.host.name

    def host_ipv4(self, interface: str) -> str:
        """IPv4 address of an interface; TemplateError where it has none."""
        return self.host.ipv4(interface) or self._none("IPv4", interface)

    def host_ipv6(self, interface: str) -> str:
        """IPv6 address of an interface; TemplateError where it has none."""
        return self.host.ipv6(interface) or self._none("IPv6", interface)

    def _none(self, family: str, interface: str) -> str:
        raise TemplateError(
            f'interface "{interface}" has no {family} address;'
            f" the host's interfaces are {', '.join(self.host.interfaces)}"
        )


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """``.Process``."""

    process: Process
    host: Host
    unnamed: list[int] = field(default_factory=list)
    """Filled in with its user where a template needed the name, which is being asked for."""

    @property
    def exe_file_path(self) -> str:
        """Path of the executable; TemplateError where access rights hide it."""
        return self.process.exe or self._hidden("executable")

    @property
    def exe_name(self) -> str:
        """Name of the process as SkyWalking Rover and psutil have it.

        That is the kernel's name for it, which a script's own name becomes where the executable is
        its interpreter (``gunicorn``, not ``python3.11``). A name that the kernel cut is completed
        from the command line or the executable.
        """
        process = self.process
        if len(process.name.encode()) >= _COMM_BYTES:
            for path in (process.command_line.partition(" ")[0], process.exe):
                name = path.rpartition("/")[2]
                if name.startswith(process.name):
                    return name
        return process.name or process.exe_name

    @property
    def exe_name_in_command_line(self) -> str:
        """First argument, up to a blank; TemplateError where the command line is empty."""
        return self.process.command_line.partition(" ")[0] or self._hidden("command line")

    @property
    def command_line(self) -> str:
        """Arguments joined by blanks."""
        return self.process.command_line

    @property
    def pid(self) -> int:
        """Process id on the host."""
        return self.process.pid

    @property
    def work_dir(self) -> str:
        """Working directory; TemplateError where access rights hide it."""
        return self.process.cwd or self._hidden("working directory")

    @property
    def systemd_unit(self) -> str:
        """Service unit without ``.service``, empty where there is none."""
        return service_name(self.process.cgroup)

    @property
    def user(self) -> str:
        """Name of the user, or the number where there is none; TemplateError while it is asked."""
        uid = self.process.uid
        name = self.host.users.name(uid, self.process.key)
        if name is None:
            self.unnamed.append(uid)
            raise TemplateError(f"the user database is being asked who uid {uid} is")
        return name

    def _hidden(self, what: str) -> str:
        raise TemplateError(f"the {what} of process {self.process.pid} is empty or unreadable")


@dataclass(frozen=True, slots=True)
class FinderContext:
    """``.Finder``: the regex finder that matched."""

    layer: str
    match: Match

    def regex_match_group(self, number: int) -> str:
        """Text of a group, 0 for the whole match; empty where it took no part in the match.

        Raises:
            TemplateError: the regex has no such group.
        """
        try:
            return self.match.group(number) or ""
        except IndexError:
            raise TemplateError(
                f"there is no group {number} in the regex, which has {len(self.match.groups())}"
            ) from None

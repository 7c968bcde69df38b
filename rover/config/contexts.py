"""What templates can name, and what the objects behind those names must offer.

The names are SkyWalking Rover's (0.3 to 0.7). `.Process.SystemdUnit` and `.Process.User` are ours.
Whoever evaluates a template passes a `HostNames` or a `PodNames` that holds objects of the
protocols below. Their properties are read only when a template names them, so a costly fact costs
nothing where nobody asks for it. A property or method that cannot tell raises
`rover.gotemplate.TemplateError`: that ends this one evaluation, and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from rover.gotemplate import Basic, Member, Object


class RoverFacts(Protocol):
    """``.Rover``: this agent and its host."""

    @property
    def instance_id(self) -> str:
        """The agent's id."""

    @property
    def host_name(self) -> str:
        """Name of the host."""

    def host_ipv4(self, interface: str) -> str:
        """IPv4 address of a network interface; TemplateError where it has none."""

    def host_ipv6(self, interface: str) -> str:
        """IPv6 address of a network interface; TemplateError where it has none."""


class ProcessFacts(Protocol):
    """``.Process``."""

    @property
    def exe_file_path(self) -> str:
        """Path of the executable."""

    @property
    def exe_name(self) -> str:
        """Name of the executable."""

    @property
    def exe_name_in_command_line(self) -> str:
        """First argument of the command line; TemplateError where it is empty."""

    @property
    def command_line(self) -> str:
        """Arguments joined by blanks."""

    @property
    def pid(self) -> int:
        """Process id on the host."""

    @property
    def work_dir(self) -> str:
        """Working directory."""

    @property
    def systemd_unit(self) -> str:
        """Service unit without ``.service``, empty where there is none."""

    @property
    def user(self) -> str:
        """Name of the real user, or its number where it has no name."""


class FinderFacts(Protocol):
    """``.Finder``: the host finder that matched."""

    @property
    def layer(self) -> str:
        """Layer that the finder gives."""

    def regex_match_group(self, number: int) -> str:
        """A group of the match on the command line, 0 being all of it; else TemplateError."""


class ContainerFacts(Protocol):
    """``.Container``."""

    @property
    def name(self) -> str:
        """Name in the pod's specification."""

    @property
    def id(self) -> str:
        """Id as the pod's status has it."""

    def env_value(self, names: str) -> str:
        """Value of the first comma-separated variable that is set; else TemplateError."""


class PodFacts(Protocol):
    """``.Pod``; the last four are for filters alone."""

    @property
    def name(self) -> str:
        """Name of the pod."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def node(self) -> str:
        """Name of its node."""

    @property
    def service_name(self) -> str:
        """Name of the service that selects it, empty where none does."""

    def label_value(self, names: str, default: str | None = None) -> str:
        """Value of the first comma-separated label that is not empty, else the default.

        TemplateError where there is no default either: early versions of Rover had none.
        """

    def find_container(self, name: str) -> ContainerFacts | None:
        """Another container of the pod; TemplateError where there is none of that name."""

    def owner_name(self, kinds: str) -> str:
        """Name of the first owner of one of the comma-separated kinds; else TemplateError."""

    @property
    def has_service_name(self) -> bool:
        """Whether a service selects the pod."""

    def has_container(self, name: str) -> bool:
        """Whether the pod has a container of that name."""

    def label_selector(self, selector: str) -> bool:
        """Whether the pod's labels match; TemplateError where the selector does not parse."""

    def has_owner_name(self, kinds: str) -> bool:
        """Whether `owner_name` would give a name."""


@dataclass(frozen=True, slots=True)
class HostNames:
    """What the names of host finders are evaluated on (schema `HOST_NAMES`)."""

    rover: RoverFacts
    process: ProcessFacts
    finder: FinderFacts


@dataclass(frozen=True, slots=True)
class PodNames:
    """What the names and filters of pod analyzers are evaluated on (`POD_NAMES`, `POD_FILTERS`)."""

    rover: RoverFacts
    process: ProcessFacts
    pod: PodFacts
    container: ContainerFacts


_TEXT: Final = (Basic.TEXT,)

_ROVER: Final = Object(
    "*base.TemplateRover",
    {
        "InstanceID": Member("instance_id"),
        "HostName": Member("host_name"),
        "HostIPV4": Member("host_ipv4", parameters=_TEXT),
        "HostIPV6": Member("host_ipv6", parameters=_TEXT),
    },
)

_PROCESS: Final = Object(
    "*base.TemplateProcess",
    {
        "ExeFilePath": Member("exe_file_path"),
        "ExeName": Member("exe_name"),
        "ExeNameInCommandLine": Member("exe_name_in_command_line"),
        "CommandLine": Member("command_line"),
        "Pid": Member("pid", Basic.INT32),
        "WorkDir": Member("work_dir"),
        "SystemdUnit": Member("systemd_unit"),
        "User": Member("user"),
    },
)

_FINDER: Final = Object(
    "*scanner.TemplateFinder",
    {
        "Layer": Member("layer"),
        "RegexMatchGroup": Member("regex_match_group", parameters=(Basic.INT,)),
    },
)

_CONTAINER: Final = Object(
    "*kubernetes.TemplateContainer",
    {
        "Name": Member("name"),
        "ID": Member("id"),
        "EnvValue": Member("env_value", parameters=_TEXT),
    },
)

_POD: Final = Object(
    "*kubernetes.TemplatePod",
    {
        "Name": Member("name"),
        "Namespace": Member("namespace"),
        "Node": Member("node"),
        "ServiceName": Member("service_name"),
        "LabelValue": Member("label_value", parameters=(Basic.TEXT, Basic.TEXT), optional=1),
        "FindContainer": Member("find_container", _CONTAINER, _TEXT),
        "OwnerName": Member("owner_name", parameters=_TEXT),
    },
)

_POD_IN_FILTERS: Final = Object(
    "*kubernetes.TemplatePodJudgment",
    {
        **_POD.members,
        "HasServiceName": Member("has_service_name", Basic.BOOL),
        "HasContainer": Member("has_container", Basic.BOOL, _TEXT),
        "LabelSelector": Member("label_selector", Basic.BOOL, _TEXT),
        "HasOwnerName": Member("has_owner_name", Basic.BOOL, _TEXT),
    },
)


def _root(name: str, **members: Object) -> Object:
    return Object(
        name,
        {
            attribute.capitalize(): Member(attribute, result, None)
            for attribute, result in members.items()
        },
    )


HOST_NAMES: Final = _root(
    "*scanner.TemplateContext", rover=_ROVER, process=_PROCESS, finder=_FINDER
)
"""For ``service_name``, ``instance_name``, ``process_name``, ``labels`` of a host finder."""

POD_NAMES: Final = _root(
    "*kubernetes.EntityRenderContext",
    rover=_ROVER,
    process=_PROCESS,
    pod=_POD,
    container=_CONTAINER,
)
"""For the same keys of a pod analyzer."""

POD_FILTERS: Final = _root(
    "*kubernetes.FilterContext",
    rover=_ROVER,
    process=_PROCESS,
    pod=_POD_IN_FILTERS,
    container=_CONTAINER,
)
"""For ``filters`` of a pod analyzer. ``.Rover`` is ours here: Rover has it in names alone."""

"""The tree of settings: every key the agent understands, its type, default, unit and variable.

A key's place in the tree is its name in the file (``core.backend.addr``), except where `Key.name`
says otherwise. Durations are seconds as float. The names and defaults
of SkyWalking Rover's keys are Rover's; keys marked "Ours" have no counterpart there.

The text below each key is for its users: docs/keys.py makes the reference of it.
"""

# ruff: noqa: RUF009 - key() and items() are dataclasses.field() with what the loader must know

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from rover.redaction import CommandLineTold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rover.config.filters import Filter
    from rover.config.patterns import Pattern
    from rover.gotemplate import Template


class Kind(Enum):
    """How the text of a value is read."""

    TEXT = "text"
    FLAG = "boolean"
    COUNT = "whole number"
    SECONDS = "duration"
    PATTERN = "regular expression"
    PATTERNS = "list of regular expressions"
    WORDS = "comma-separated list"
    CHOICE = "one of a few words"
    TEMPLATE = "template"
    FILTERS = "list of filters"
    ENDPOINTS = "addresses"
    LISTENER = "address to listen on"
    HOSTS = "comma-separated names of hosts"


@dataclass(frozen=True, slots=True)
class Key:
    """What the loader must know of one key beyond its default."""

    kind: Kind
    env: str = ""
    """Environment variable that sets the key with no file at all."""
    name: str = ""
    """Spelling in the file where it differs from the field's; dots lead into sections."""
    secret: bool = False
    """Never printed, only whether it is set."""
    minimum: float | None = None
    maximum: float | None = None
    needed: bool = False
    """Text that may not be empty."""
    choices: tuple[str, ...] = ()
    otherwise: str | None = None
    """In items of a list: the text that stands for a key left out; None where it must be given."""
    placeholder: str = ""
    """The ``${...}`` default that SkyWalking Rover's own file holds where it means nothing."""


def key(kind: Kind, default: Any = MISSING, env: str = "", **more: Any) -> Any:  # noqa: ANN401
    """Declare a setting; the annotation beside it is its Python type."""
    return field(default=default, metadata={"key": Key(kind, env, **more)})


def items(of: type) -> Any:  # noqa: ANN401
    """Declare a list of sections."""
    return field(default=(), metadata={"items": of})


class ScanMode(Enum):
    """Which host finders are asked for an entity."""

    AUTO = "AUTO"
    """Ours: a SkyWalking agent's metadata, else a configured regex, else the systemd unit, else
    the host."""
    REGEX = "REGEX"
    AGENT_SENSOR = "AGENT_SENSOR"


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """``logger``."""

    level: str = key(
        Kind.CHOICE, "INFO", "ROVER_LOGGER_LEVEL", choices=("DEBUG", "INFO", "WARN", "ERROR")
    )
    """The least that is written."""
    format: str = key(Kind.CHOICE, "console", "ROVER_LOGGER_FORMAT", choices=("console", "json"))
    """Ours. `console`: a line for people. `json`: an object a line, with `time`, `level`, `logger`,
    `message`, `fields` by their names, `exception`."""


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """``core.backend``: where the OAP is and how to speak to it."""

    addr: str = key(Kind.ENDPOINTS, "localhost:11800", "ROVER_BACKEND_ADDR")
    """Host and port of the OAP; several with commas, of which the first that answers is used."""
    enable_tls: bool = key(
        Kind.FLAG, default=False, env="ROVER_BACKEND_ENABLE_TLS", name="enable_TLS"
    )
    """Speak TLS."""
    client_pem_path: str = key(Kind.TEXT, "", "ROVER_BACKEND_PEM_PATH", placeholder="client.pem")
    """Our certificate, for mutual TLS."""
    client_key_path: str = key(Kind.TEXT, "", "ROVER_BACKEND_KEY_PATH", placeholder="client.key")
    """Its private key."""
    insecure_skip_verify: bool = key(
        Kind.FLAG, default=False, env="ROVER_BACKEND_INSECURE_SKIP_VERIFY"
    )
    """Do not check the server's certificate and name."""
    ca_pem_path: str = key(Kind.TEXT, "", "ROVER_BACKEND_CA_PEM_PATH", placeholder="ca.pem")
    """Certificates that may vouch for the server; empty: the system's."""
    check_period: float = key(Kind.SECONDS, 5.0, "ROVER_BACKEND_CHECK_PERIOD", minimum=0.1)
    """Longest pause between two attempts to reach a backend that is away."""
    authentication: str = key(Kind.TEXT, "", "ROVER_BACKEND_AUTHENTICATION", secret=True)
    """Token that the OAP asks for. Secret."""
    authentication_file: str = key(Kind.TEXT, "", "ROVER_BACKEND_AUTHENTICATION_FILE")
    """Ours. File that holds the token instead; read again when it changes."""
    server_name: str = key(Kind.TEXT, "", "ROVER_BACKEND_SERVER_NAME")
    """Ours. Name to expect in the server's certificate where it is not the address's."""
    timeout: float = key(Kind.SECONDS, 10.0, "ROVER_BACKEND_TIMEOUT", minimum=0.1)
    """Ours. Deadline of one call."""


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """``core``."""

    cluster_name: str = key(Kind.TEXT, "", "ROVER_CORE_CLUSTER_NAME")
    """Put before every service name as `cluster::name`, unless the name already holds `::`. Not
    before the name that a SkyWalking agent gave itself: agent and process must be one service."""
    state_dir: str = key(Kind.TEXT, "/var/lib/rover", "ROVER_STATE_DIR", needed=True)
    """Ours. Directory that keeps the agent's id across restarts."""
    backend: BackendSettings = BackendSettings()


@dataclass(frozen=True, slots=True)
class RegexFinderSettings:
    """One item of ``process_discovery.scanner.regex``; the first match on the command line wins.

    The variables make one finder where the file has no list of them.
    """

    match_cmd: Pattern = key(Kind.PATTERN, env="ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_MATCH_CMD")
    """Searched for in the command line."""
    layer: str = key(
        Kind.TEXT, env="ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_LAYER", otherwise="OS_LINUX"
    )
    """One of OAP's layers."""
    service_name: Template = key(
        Kind.TEMPLATE, env="ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_SERVICE_NAME"
    )
    """Name of the service."""
    instance_name: Template = key(
        Kind.TEMPLATE,
        env="ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_INSTANCE_NAME",
        otherwise='{{.Rover.HostIPV4 "en0"}}',
    )
    """Name of the service's instance. The default is Rover's; few hosts have an interface of that
    name, so give it."""
    process_name: Template = key(
        Kind.TEMPLATE,
        env="ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_PROCESS_NAME",
        otherwise="{{.Process.ExeName}}",
    )
    """Name of the process."""
    labels: Template | None = key(
        Kind.TEMPLATE, None, "ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_LABELS", otherwise=""
    )
    """Labels, with commas between them once evaluated."""


@dataclass(frozen=True, slots=True)
class ScannerSettings:
    """``process_discovery.scanner``: processes of the host, outside Kubernetes."""

    period: float = key(Kind.SECONDS, 3.0, "ROVER_PROCESS_DISCOVERY_SCAN_PERIOD", minimum=0.1)
    """Pause between two scans where there is no eBPF, and between two looks for the metadata of
    SkyWalking agents."""
    mode: ScanMode = key(
        Kind.CHOICE,
        ScanMode.AUTO,
        "ROVER_PROCESS_DISCOVERY_SCAN_MODE",
        choices=tuple(ScanMode.__members__),
    )
    """Which host finders are asked."""
    agent_stale_after: float = key(
        Kind.SECONDS,
        60.0,
        "ROVER_PROCESS_DISCOVERY_AGENT_PROCESS_STATUS_REFRESH_PERIOD",
        name="agent.process_status_refresh_period",
        minimum=1,
    )
    """Age at which a SkyWalking agent's metadata file no longer counts."""
    regex: tuple[RegexFinderSettings, ...] = items(RegexFinderSettings)


@dataclass(frozen=True, slots=True)
class AnalyzerSettings:
    """One item of ``process_discovery.kubernetes.analyzers``; each match adds one entity."""

    filters: tuple[Filter, ...] = key(Kind.FILTERS, otherwise="")
    """All must hold; none: every process of a pod."""
    layer: str = key(Kind.TEXT)
    """One of OAP's layers."""
    service_name: Template = key(Kind.TEMPLATE)
    """Name of the service."""
    instance_name: Template = key(Kind.TEMPLATE, otherwise="{{.Pod.Name}}")
    """Name of the service's instance."""
    process_name: Template = key(Kind.TEMPLATE, otherwise="{{.Process.ExeName}}")
    """Name of the process."""
    labels: Template | None = key(Kind.TEMPLATE, None, otherwise="")
    """Labels, with commas between them once evaluated."""
    active: bool = key(Kind.FLAG, default=True, otherwise="true")
    """Whether the analyzer takes part."""


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """``process_discovery.kubernetes``."""

    active: bool | None = key(Kind.FLAG, None, "ROVER_PROCESS_DISCOVERY_KUBERNETES_ACTIVE")
    """Report the processes of this node's pods. Where nothing is said, it is so inside a pod."""
    node_name: str = key(Kind.TEXT, "", "ROVER_PROCESS_DISCOVERY_KUBERNETES_NODE_NAME")
    """Name of this node, from `spec.nodeName`."""
    namespaces: tuple[str, ...] = key(
        Kind.WORDS, (), "ROVER_PROCESS_DISCOVERY_KUBERNETES_NAMESPACES"
    )
    """Namespaces to observe; empty: all."""
    kubeconfig: str = key(Kind.TEXT, "", "ROVER_PROCESS_DISCOVERY_KUBERNETES_KUBECONFIG")
    """Ours. Path of a kubeconfig; empty: the pod's own account."""
    host_processes: bool = key(
        Kind.FLAG, default=False, env="ROVER_PROCESS_DISCOVERY_KUBERNETES_HOST_PROCESSES"
    )
    """Ours. Report processes outside pods through the host finders as well."""
    analyzers: tuple[AnalyzerSettings, ...] = items(AnalyzerSettings)
    """The loader fills in the three defaults where the file names none."""


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """``process_discovery``."""

    heartbeat_period: float = key(
        Kind.SECONDS, 20.0, "ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD", minimum=1
    )
    """Pause between two beats that keep processes alive at the backend."""
    properties_report_period: int = key(
        Kind.COUNT, 10, "ROVER_PROCESS_DISCOVERY_PROPERTIES_REPORT_PERIOD", minimum=1
    )
    """All properties are sent again every so many beats."""
    settle_time: float = key(
        Kind.SECONDS, 0.1, "ROVER_PROCESS_DISCOVERY_SETTLE_TIME", minimum=0, maximum=60
    )
    """Ours. How long a process must live before anyone hears of it."""
    reconcile_period: float = key(
        Kind.SECONDS, 30.0, "ROVER_PROCESS_DISCOVERY_RECONCILE_PERIOD", minimum=1
    )
    """Ours. How often what is known is compared with /proc, and each old process is looked at for
    what it changed after its start."""
    require_ebpf: bool = key(Kind.FLAG, default=False, env="ROVER_PROCESS_DISCOVERY_REQUIRE_EBPF")
    """Ours. End with an error where eBPF does not work, instead of scanning alone."""
    ignore: tuple[Pattern, ...] = key(Kind.PATTERNS, (), "ROVER_PROCESS_DISCOVERY_IGNORE")
    """Ours. Processes whose command line matches one of these are not reported."""
    command_line: CommandLineTold = key(
        Kind.CHOICE,
        CommandLineTold.REDACTED,
        "ROVER_PROCESS_DISCOVERY_COMMAND_LINE",
        choices=tuple(told.value for told in CommandLineTold),
    )
    """Ours. What of command lines leaves the agent: `redacted` without secrets, `full`, or
    `name_only`, the first argument."""
    command_line_secrets: tuple[Pattern, ...] = key(
        Kind.PATTERNS, (), "ROVER_PROCESS_DISCOVERY_COMMAND_LINE_SECRETS"
    )
    """Ours. What else is secret in command lines; of a match the groups are masked, all of it where
    there is none."""
    scanner: ScannerSettings = ScannerSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """``status``, ours: what the agent tells of itself over HTTP."""

    addr: str = key(Kind.LISTENER, "", "ROVER_STATUS_ADDR")
    """Ours. Where to serve metrics and health over HTTP, as `HOST:PORT` or `:PORT`; empty:
    nowhere."""
    hosts: tuple[str, ...] = key(Kind.HOSTS, (), "ROVER_STATUS_HOSTS")
    """Ours. Names that it may be asked by there, beside IP addresses, `localhost` and the host's
    own name; `*.example.org` stands for all below it. Another name in a request is answered with
    421, since a page in a browser may have any lead here."""


@dataclass(frozen=True, slots=True)
class OnCpuSettings:
    """``profiling.task.on_cpu``."""

    dump_period: float = key(
        Kind.SECONDS,
        0.0101,
        "ROVER_PROFILING_TASK_ON_CPU_DUMP_PERIOD",
        minimum=0.001,
        maximum=60,
    )
    """CPU time between two dumps of a running thread's stack. Rover's default is 9 ms;
    programs that do things in whole milliseconds would beat with it, and some of their functions
    show too often."""


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """``profiling.task``."""

    on_cpu: OnCpuSettings = OnCpuSettings()


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """``profiling.continuous.trigger``."""

    execute_duration: float = key(
        Kind.SECONDS,
        600.0,
        "ROVER_PROFILING_CONTINUOUS_TRIGGER_EXECUTE_DURATION",
        minimum=1,
        maximum=86_400,
    )
    """How long a process is profiled that has passed a threshold."""
    silence_duration: float = key(
        Kind.SECONDS, 1_200.0, "ROVER_PROFILING_CONTINUOUS_TRIGGER_SILENCE_DURATION", minimum=1
    )
    """From the start of one such task to the next of the same process and target, at least."""


@dataclass(frozen=True, slots=True)
class ContinuousSettings:
    """``profiling.continuous``: processes watched by policies of the backend."""

    fetch_interval: float = key(
        Kind.SECONDS, 1.0, "ROVER_PROFILING_CONTINUOUS_FETCH_INTERVAL", minimum=0.1
    )
    """Pause between two readings of what processes use that a policy of the OAP speaks of."""
    check_interval: float = key(
        Kind.SECONDS, 5.0, "ROVER_PROFILING_CONTINUOUS_CHECK_INTERVAL", minimum=0.1
    )
    """Pause between two looks at the policies' thresholds, and at who is to be watched."""
    trigger: TriggerSettings = TriggerSettings()


@dataclass(frozen=True, slots=True)
class ProfilingSettings:
    """``profiling``: tasks that the backend sets for the processes reported."""

    active: bool = key(Kind.FLAG, default=True, env="ROVER_PROFILING_ACTIVE")
    """Profile processes where the OAP asks for it. Without a task nothing is loaded and nothing
    sampled. Where it is off the OAP is told so with the first report, which it never takes back
    (docs/profiling.md)."""
    check_interval: float = key(Kind.SECONDS, 10.0, "ROVER_PROFILING_CHECK_INTERVAL", minimum=0.1)
    """Pause between two questions for tasks."""
    flush_interval: float = key(
        Kind.SECONDS, 5.0, "ROVER_PROFILING_FLUSH_INTERVAL", minimum=0.1, maximum=60
    )
    """Pause between two sends of what was sampled, while a task runs."""
    task: TaskSettings = TaskSettings()
    continuous: ContinuousSettings = ContinuousSettings()


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole tree."""

    logger: LoggerSettings = LoggerSettings()
    core: CoreSettings = CoreSettings()
    process_discovery: DiscoverySettings = DiscoverySettings()
    profiling: ProfilingSettings = ProfilingSettings()
    status: StatusSettings = StatusSettings()


FOREIGN_SECTIONS: Final = ("pprof", "access_log")
"""Top-level keys of SkyWalking Rover's file whose modules this agent does not have."""
FOREIGN_BELOW: Final = ("profiling.task.network", "profiling.continuous.meter_prefix")
"""What it has for such modules below keys of ours."""

IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"
"""Variable that every container of a pod has."""


def kubernetes_active(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Tell whether pods are watched: as configured, else where the agent runs in a pod."""
    active = settings.process_discovery.kubernetes.active
    return IN_CLUSTER in environment if active is None else active

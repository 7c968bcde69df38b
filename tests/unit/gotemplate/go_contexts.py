"""The contexts of go/contexts.go in Python: the same names, the same facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

from rover.config.contexts import HOST_NAMES, POD_FILTERS, POD_NAMES, HostNames, PodNames
from rover.gotemplate import TemplateError
from rover.gotemplate.types import Basic, ListOf, MapOf, Member, Object

TEXT, INT, ANY = Basic.TEXT, Basic.INT, Basic.ANY


def first(names, known):
    for name in names.split(","):
        if known.get(name):
            return known[name]
    return None


def found(value):
    if value is None:
        raise TemplateError("nothing found")
    return value


class Rover:
    instance_id = "b1b0d0c8"
    host_name = "node-1.example.com"

    def host_ipv4(self, interface):
        return found({"eth0": "10.0.0.7"}.get(interface))

    def host_ipv6(self, interface):
        return found({"eth0": "fd00::7"}.get(interface))


class Process:
    exe_file_path = "/usr/local/bin/gunicorn"
    exe_name = "gunicorn"
    exe_name_in_command_line = "/usr/bin/python3"
    command_line = '/usr/bin/python3 gunicorn --name="é <b>"'
    pid = 4321
    systemd_unit = ""
    user = "www-data"

    @property
    def work_dir(self):
        return found(None)


class Finder:
    layer = "OS_LINUX"

    def regex_match_group(self, number):
        groups = ["gunicorn web", "gunicorn", "web"]
        return found(groups[number] if 0 <= number < len(groups) else None)


@dataclass
class Container:
    name: str

    @property
    def id(self):
        return f"containerd://{self.name}"

    def env_value(self, names):
        return found(first(names, {"REGION": "eu", "ENABLED": "true", "REPLICAS": "1"}))


class Pod:
    name = "productpage-v1-abc"
    namespace = "default"
    node = "node-1"
    service_name = "productpage"
    has_service_name = True

    def label_value(self, names, default=None):
        return found(first(names, {"app": "productpage", "version": "v1"}) or default)

    def find_container(self, name):
        return found(Container(name) if self.has_container(name) else None)

    def owner_name(self, kinds):
        return found("productpage-v1" if "Deployment" in kinds else None)

    def has_container(self, name):
        return name in ("app", "istio-proxy")

    def has_owner_name(self, kinds):
        return "Deployment" in kinds

    def label_selector(self, selector):
        return found(None if "((" in selector else selector == "app=productpage")


@dataclass
class Inner:
    name: str
    next: Inner | None = None
    tags: list[str] = field(default_factory=list)

    @property
    def upper(self):
        return self.name.upper()


INNER = Object("*main.Inner", {})
INNER.members.update(
    Name=Member("name", TEXT, None),
    Next=Member("next", INNER, None),
    Tags=Member("tags", ListOf(TEXT), None),
    Upper=Member("upper"),
)

_FACTS = {
    "S": (TEXT, "text"),
    "E": (TEXT, ""),
    "U": (TEXT, "héllo 世界"),
    "H": (TEXT, "<a href=\"x\">'&'</a>\t\0\x7f\\="),
    "I": (INT, 42),
    "Z": (INT, 0),
    "Neg": (INT, -7),
    "N": (Basic.INT32, 32),
    "F": (Basic.FLOAT, 2.5),
    "FZ": (Basic.FLOAT, 0.0),
    "B": (Basic.BOOL, True),
    "BF": (Basic.BOOL, False),
    "L": (ListOf(TEXT), ["a", "b", "c"]),
    "LE": (ListOf(TEXT), []),
    "LI": (ListOf(INT), [3, 1, 2]),
    "LA": (ListOf(ANY), ["s", 1, True, 2.5]),
    "M": (MapOf(TEXT), {"k": "v", "a": "b"}),
    "MI": (MapOf(INT), {"one": 1}),
    "MA": (MapOf(ANY), {"s": "x", "n": 7, "l": [1, "two"], "nil": None}),
    "ME": (MapOf(TEXT), {}),
    "P": (INNER, Inner("outer", Inner("inner", None, ["x", "y"]))),
    "NP": (INNER, None),
}
_METHODS = {
    "Join": (TEXT, (TEXT, TEXT), lambda a, b: f"{a}+{b}"),
    "Add": (INT, (INT, INT), lambda a, b: a + b),
    "Flip": (Basic.BOOL, (Basic.BOOL,), lambda b: not b),
    "Half": (Basic.FLOAT, (Basic.FLOAT,), lambda f: f / 2),
    "Find": (INNER, (TEXT,), Inner),
}


class Everything(SimpleNamespace):
    @property
    def fail(self):
        return found(None)

    def echo(self, value):
        return value


EVERYTHING = Object(
    "*main.Any",
    {
        **{name: Member(name, of, None) for name, (of, _) in _FACTS.items()},
        **{name: Member(name, of, takes) for name, (of, takes, _) in _METHODS.items()},
        "Fail": Member("fail"),
        "Echo": Member("echo", ANY, (ANY,)),
    },
)

_ROVER, _PROCESS, _POD = Rover(), Process(), Pod()

CONTEXTS = {
    "host": (HOST_NAMES, HostNames(_ROVER, _PROCESS, Finder())),
    "names": (POD_NAMES, PodNames(_ROVER, _PROCESS, _POD, Container("app"))),
    "filters": (POD_FILTERS, PodNames(_ROVER, _PROCESS, _POD, Container("app"))),
    "any": (
        EVERYTHING,
        Everything(
            **{name: value for name, (_, value) in _FACTS.items()},
            **{name: call for name, (_, _, call) in _METHODS.items()},
        ),
    ),
}

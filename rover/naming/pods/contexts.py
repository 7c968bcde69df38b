"""What templates see of a pod and its container (`rover.config.contexts`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rover.gotemplate import TemplateError
from rover.k8s.records import bare_id
from rover.k8s.selectors import SelectorError, parse_selector

if TYPE_CHECKING:
    from rover.k8s.index import PodContainer
    from rover.k8s.records import ContainerRecord, OwnerRef

_SERVICE: Final = "service"
"""Counts as a kind of owner, in whatever case."""

_BUILT_IN: Final = {
    "ReplicaSet": frozenset({"Deployment"}),
    "Job": frozenset({"CronJob"}),
    "DaemonSet": frozenset[str](),
    "StatefulSet": frozenset[str](),
    "ReplicationController": frozenset[str](),
    "Node": frozenset[str](),
    "Deployment": frozenset[str](),
    "CronJob": frozenset[str](),
}
"""Which of Kubernetes' own kinds own such an object, so that the API is not asked in vain."""


@dataclass(frozen=True, slots=True)
class ContainerContext:
    """``.Container``."""

    container: ContainerRecord
    id: str
    """With its scheme, as the pod's status has it."""

    @property
    def name(self) -> str:
        """Name in the pod's specification."""
        return self.container.name

    def env_value(self, names: str) -> str:
        """Return the first of these comma-separated variables that is set, from left to right.

        Raises:
            TemplateError: none has a literal value in the pod's specification.
        """
        literal = dict(self.container.env)
        for name in _split(names):
            if name in literal:
                return literal[name]
        raise TemplateError(
            f"container {self.name} sets none of {names} to a literal value;"
            f" it sets {', '.join(literal) or 'none at all'}"
        )


@dataclass(frozen=True, slots=True)
class PodContext:
    """``.Pod``, in names and in filters."""

    found: PodContainer
    wanted: list[OwnerRef] = field(default_factory=list)
    """Filled in with the owners whose own owners a template needed and nobody has asked for."""

    @property
    def name(self) -> str:
        """Name of the pod."""
        return self.found.pod.name

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.found.pod.namespace

    @property
    def node(self) -> str:
        """Name of its node."""
        return self.found.pod.node

    @property
    def service_name(self) -> str:
        """Name of the service that selects it, empty where none does."""
        return self.found.service

    @property
    def has_service_name(self) -> bool:
        """Whether a service selects the pod."""
        return bool(self.found.service)

    def label_value(self, names: str, default: str | None = None) -> str:
        """Return the first of these comma-separated labels that is not empty, else the default.

        Raises:
            TemplateError: there is neither.
        """
        labels = self.found.pod.labels
        value = next((labels[name] for name in _split(names) if labels.get(name)), default)
        if value is None:
            raise TemplateError(
                f"the pod has none of the labels {names}; it has {', '.join(labels) or 'none'}"
            )
        return value

    def label_selector(self, selector: str) -> bool:
        """Tell whether the pod's labels match; TemplateError where the selector does not parse."""
        try:
            return parse_selector(selector).matches(self.found.pod.labels)
        except SelectorError as error:
            raise TemplateError(str(error)) from None

    def has_container(self, name: str) -> bool:
        """Tell whether the pod has a container of that name, of whatever kind."""
        return self.found.pod.container(name) is not None

    def find_container(self, name: str) -> ContainerContext:
        """Return a container of the pod; TemplateError where there is none of that name."""
        container = self.found.pod.container(name)
        if container is None:
            names = ", ".join(each.name for each in self.found.pod.containers)
            raise TemplateError(f"the pod has no container {name}; it has {names}")
        return ContainerContext(container, container.status_id)

    def owner_name(self, kinds: str) -> str:
        """Return the name of the nearest owner of the first of these kinds that there is.

        Raises:
            TemplateError: there is none, or it is not known yet.
        """
        name, fault = self._owner(kinds)
        if name is None:
            raise TemplateError(f"the pod has no owner of the kind {kinds}{fault}")
        return name

    def has_owner_name(self, kinds: str) -> bool:
        """Tell whether there is such an owner; TemplateError where that cannot be told."""
        name, fault = self._owner(kinds)
        if name is None and fault:
            raise TemplateError(f"whether the pod has an owner of the kind {kinds} is open{fault}")
        return name is not None

    def _owner(self, kinds: str) -> tuple[str | None, str]:
        """Look for an owner; return its name, and what could not be asked on the way."""
        fault = ""
        for kind in _split(kinds):
            if kind.lower() == _SERVICE:
                if self.found.service:
                    return self.found.service, ""
                continue
            lineage = self.found.lineage
            name = next((each.ref.name for each in lineage if each.ref.kind == kind), None)
            if name is not None:
                return name, ""
            leading = [each for each in lineage if _may_lead(each.ref, kind)]
            unasked = [each.ref for each in leading if not each.asked]
            if unasked:
                self.wanted.extend(unasked)
                ref = unasked[0]
                raise TemplateError(f"the owners of {ref.kind} {ref.name} are being asked for")
            fault = fault or next((f" ({each.fault})" for each in leading if each.fault), "")
        return None, fault


def container_context(found: PodContainer) -> ContainerContext:
    """Make ``.Container`` of a container that was found by its id."""
    container = found.container
    ids = (container.status_id, container.previous_id)
    return ContainerContext(container, next((i for i in ids if bare_id(i) == found.id), found.id))


def _may_lead(owner: OwnerRef, kind: str) -> bool:
    """Tell whether an owner's own owners could be of a kind."""
    if not owner.controls:
        return False
    own = owner.api_version == "v1" or owner.api_version.partition("/")[0] in {"apps", "batch"}
    if not own or owner.kind not in _BUILT_IN or kind not in _BUILT_IN:
        return True
    return kind in _BUILT_IN[owner.kind]


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]

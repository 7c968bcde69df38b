"""The analyzers that stand where the file has none: SkyWalking Rover's, with its variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rover.config.origin import DEFAULT, Given, Origin, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "ROVER_PROCESS_DISCOVERY_KUBERNETES_ANALYZER_"

_IN_MESH: Final = '.Pod.HasContainer "istio-proxy"'
_MESH_SERVICE: Final = (
    '{{.Pod.LabelValue "service.istio.io/canonical-name,app.kubernetes.io/name,app" ""}}'
    ".{{.Pod.Namespace}}"
)
_SAME: Final = {
    "instance_name": ("INSTANCE_NAME", "{{.Pod.Name}}"),
    "process_name": ("PROCESS_NAME", "{{.Process.ExeName}}"),
}

_ANALYZERS: Final = (
    (
        "ISTIO_ENVOY",
        (
            ("HAS_ENVOY", _IN_MESH),
            ("CONTAINER_IS_ENVOY", 'eq .Container.Name "istio-proxy"'),
        ),
        {
            "layer": ("LAYER", "MESH_DP"),
            "service_name": ("SERVICE_NAME", _MESH_SERVICE),
            "labels": ("LABELS", "mesh-envoy"),
        },
    ),
    (
        "ISTIO_APPLICATION",
        (
            ("HAS_ENVOY", _IN_MESH),
            ("CONTAINER_NOT_ENVOY", 'ne .Container.Name "istio-proxy"'),
        ),
        {
            "layer": ("LAYER", "MESH"),
            "service_name": ("SERVICE_NAME", _MESH_SERVICE),
            "labels": ("LABELS", "mesh-application"),
        },
    ),
    (
        "K8S_SERVICE",
        (("HAS_SERVICE", ".Pod.HasServiceName"),),
        {
            "layer": ("LAYER", "K8S_SERVICE"),
            # The names of these two are Rover's, down to the slip in the second; the right spelling
            # is taken as well.
            "service_name": ("NAME", "{{.Pod.ServiceName}}.{{.Pod.Namespace}}"),
            "labels": ("LABLES LABELS", "k8s-service"),
        },
    ),
)


def default_analyzers(environment: Mapping[str, str]) -> list[dict[str, Given]]:
    """Give the keys of each default analyzer, variables obeyed."""
    result = []
    for name, filters, own in _ANALYZERS:
        prefix = f"{PREFIX}{name}_"
        keys = {"active": ("ACTIVE", "true"), **_SAME, **own}
        givens = {key: _given(environment, prefix, *value) for key, value in keys.items()}
        items = tuple(_given(environment, prefix, *value) for value in filters)
        givens["filters"] = Given("", DEFAULT, items=items)
        result.append(givens)
    return result


def variables() -> tuple[str, ...]:
    """Name all variables that `default_analyzers` looks at."""
    return tuple(
        f"{PREFIX}{name}_{suffix}"
        for name, filters, own in _ANALYZERS
        for suffixes, _ in (("ACTIVE", ""), *_SAME.values(), *own.values(), *filters)
        for suffix in suffixes.split()
    )


def _given(environment: Mapping[str, str], prefix: str, suffixes: str, default: str) -> Given:
    for suffix in suffixes.split():
        if value := environment.get(prefix + suffix):
            return Given(value, Origin(Source.ENV, prefix + suffix))
    return Given(default, DEFAULT)

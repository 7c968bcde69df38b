"""Rules for the names that entities are reported under, whichever finder makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rover.gotemplate import TemplateError
from rover.model import NAME_LIMIT, Entity, is_blank, split_labels, utf16_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rover.config.settings import AnalyzerSettings, RegexFinderSettings
    from rover.gotemplate import Template

GROUP: Final = "::"
"""Parts the group of a service from its name at the backend."""


def render_entity(
    templates: RegexFinderSettings | AnalyzerSettings, context: object, cluster_name: str
) -> Entity:
    """Evaluate the names of one process.

    Args:
        templates: A finder's or an analyzer's.
        context: What the templates' schema describes.
        cluster_name: Prefix of the service's name; may be empty.

    Raises:
        TemplateError: one of them fails or gives a blank name; the message says which.
    """
    service = _render("service_name", templates.service_name, context)
    labels = templates.labels
    return bounded_entity(
        layer=templates.layer,
        service=service_in_cluster(cluster_name, service),
        instance=_render("instance_name", templates.instance_name, context),
        process=_render("process_name", templates.process_name, context),
        labels=split_labels(_evaluate("labels", labels, context)) if labels else (),
    )


def bounded_entity(
    layer: str, service: str, instance: str, process: str, labels: tuple[str, ...] = ()
) -> Entity:
    """Make an entity of names that others chose, cut to what the backend stores of them."""
    return Entity(
        layer=utf16_prefix(layer, NAME_LIMIT),
        service=utf16_prefix(service, NAME_LIMIT),
        instance=utf16_prefix(instance, NAME_LIMIT),
        process=utf16_prefix(process, NAME_LIMIT),
        labels=tuple(_stored(labels)) if labels else labels,
    )


def _stored(labels: tuple[str, ...]) -> Iterator[str]:
    """Give the labels up to what is stored of all together."""
    left = NAME_LIMIT
    for label in labels:
        cut = utf16_prefix(label, left)
        left -= len(label)
        if cut:
            yield cut
        if left <= 0:
            break


def service_in_cluster(cluster_name: str, service: str) -> str:
    """Prefix a service's name by the cluster's, unless there is none or the name has a group."""
    return f"{cluster_name}{GROUP}{service}" if cluster_name and GROUP not in service else service


def _render(key: str, template: Template, context: object) -> str:
    name = _evaluate(key, template, context)
    if is_blank(name):
        raise TemplateError(f"{key} is empty")
    return name


def _evaluate(key: str, template: Template, context: object) -> str:
    try:
        return template.render(context)
    except TemplateError as error:
        where = key if error.column is None else f"{key}, column {error.column}"
        raise TemplateError(f"{where}: {error}", column=error.column) from error

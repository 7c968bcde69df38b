"""Filters of pod analyzers: the inside of one template action that gives a boolean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from rover.gotemplate import Basic, Template, TemplateError

if TYPE_CHECKING:
    from rover.gotemplate import Object

# What Go's strconv.ParseBool takes: SkyWalking Rover reads a filter's text with it.
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter: the inside of one action that gives a boolean; see `compile`."""

    source: str
    schema: Object = field(repr=False)
    uses: frozenset[str] = field(repr=False, compare=False)
    """Names of all fields and methods that it mentions."""
    doubt: str = field(repr=False, compare=False)
    """What the filter gives where that is known and is no boolean: ``string``, ``int32``; Rover
    takes such a value if it reads ``true``, ``false`` or the like. Empty otherwise."""
    _template: Template = field(repr=False, compare=False)

    @classmethod
    def compile(cls, source: str, schema: Object) -> Self:
        """Compile a filter, written without ``{{`` and ``}}``.

        Raises:
            TemplateError: It does not parse, names something the schema does not have, or gives
                something that can never be a boolean.
        """
        try:
            template = Template.compile(f"{{{{{source}}}}}", schema)
        except TemplateError as error:
            raise _shifted(error) from error
        result = template.result
        if result is not None and not isinstance(result, Basic):
            raise TemplateError(f"a filter must give a boolean, not a {result}", column=1)
        doubt = "" if result in (None, Basic.BOOL, Basic.ANY) else result.value
        return cls(source, schema, template.uses, doubt, template)

    def matches(self, context: object) -> bool:
        """Evaluate the filter.

        Raises:
            TemplateError: It cannot be evaluated on this context, or gives no boolean.
        """
        try:
            text = self._template.render(context)
        except TemplateError as error:
            raise _shifted(error) from error
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise TemplateError(f"a filter must give true or false, not {text[:60]!r}", column=1)


def _shifted(error: TemplateError) -> TemplateError:
    """Count columns from the filter's own first character, not from the braces around it."""
    column = None if error.column is None else max(1, error.column - 2)
    return TemplateError(str(error), column=column)

"""Names and filters: Go's text/template as far as SkyWalking Rover's configuration uses it.

All of the language is there but ``define``, ``template``, ``block`` and complex numbers; see
docs/configuration.md. A template is compiled once, against the schema of what it will be evaluated
on, so that a name nothing offers is found at start. It agrees with Go 1.26 on every case in
tests/unit/gotemplate/go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from rover.errors import TemplateError
from rover.gotemplate.check import check
from rover.gotemplate.evaluator import compile_body
from rover.gotemplate.functions import NAMES
from rover.gotemplate.parser import parse
from rover.gotemplate.types import Basic
from rover.gotemplate.values import Pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.gotemplate.types import Object
    from rover.gotemplate.values import Value

__all__ = ["Filter", "Template", "TemplateError"]

# What Go's strconv.ParseBool takes: SkyWalking Rover reads a filter's text with it.
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})

_REPLACED: Final = dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")
"""Bytes that are no UTF-8, which a template can make with escapes or slice."""


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template; make one with `compile`."""

    source: str
    schema: Object = field(repr=False)
    uses: frozenset[str] = field(repr=False, compare=False)
    """Names of all fields and methods that it mentions, such as ``OwnerName``."""
    _evaluate: Callable[[Value], str] = field(repr=False, compare=False)

    @classmethod
    def compile(cls, source: str, schema: Object) -> Self:
        """Compile a template.

        Args:
            source: Text with actions in ``{{ }}``.
            schema: What it will be evaluated on, such as `HOST_NAMES`.

        Raises:
            TemplateError: It does not parse, or names something the schema does not have. The
                column counts characters of the source from 1.
        """
        body = parse(source, NAMES)
        return cls(source, schema, check(body, schema).uses, compile_body(body))

    def render(self, context: object) -> str:
        """Evaluate the template; the result is valid UTF-8.

        Args:
            context: An object with the schema's attributes, such as a `HostNames`.

        Raises:
            TemplateError: It cannot be evaluated on this context, where Go could not either; or
                the result exceeds 64 Ki characters.
        """
        text = self._evaluate(Pointer(self.schema, context))
        return text if text.isascii() else text.translate(_REPLACED)


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
    _evaluate: Callable[[Value], str] = field(repr=False, compare=False)

    @classmethod
    def compile(cls, source: str, schema: Object) -> Self:
        """Compile a filter, written without ``{{`` and ``}}``.

        Raises:
            TemplateError: It does not parse, names something the schema does not have, or gives
                something that can never be a boolean.
        """
        try:
            body = parse(f"{{{{{source}}}}}", NAMES)
            facts = check(body, schema)
        except TemplateError as error:
            raise _shifted(error) from error
        result = facts.result
        if result is not None and not isinstance(result, Basic):
            raise TemplateError(f"a filter must give a boolean, not a {result}", column=1)
        doubt = "" if result in (None, Basic.BOOL, Basic.ANY) else result.value
        return cls(source, schema, facts.uses, doubt, compile_body(body))

    def matches(self, context: object) -> bool:
        """Evaluate the filter.

        Raises:
            TemplateError: It cannot be evaluated on this context, or gives no boolean.
        """
        try:
            text = self._evaluate(Pointer(self.schema, context))
        except TemplateError as error:
            raise _shifted(error) from error
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise TemplateError(f"a filter must give true or false, not {text[:60]!r}", column=1)


def _shifted(error: TemplateError) -> TemplateError:
    """Count columns from the filter's own first character, not from the braces around it."""
    column = None if error.column is None else max(1, error.column - 2)
    return TemplateError(str(error), column=column)

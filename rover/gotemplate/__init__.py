"""Go's text/template, compiled against a schema of what it will be evaluated on.

All of the language is there but ``define``, ``template``, ``block`` and complex numbers; see
docs/configuration.md. A template is compiled once, against the schema of what it will be evaluated
on, so that a name nothing offers is found at start. It agrees with Go 1.26 on every case in
tests/unit/gotemplate/go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from rover.gotemplate.check import check
from rover.gotemplate.errors import TemplateError
from rover.gotemplate.evaluator import compile_body
from rover.gotemplate.functions import NAMES
from rover.gotemplate.parser import parse
from rover.gotemplate.types import Basic, ListOf, MapOf, Member, Object, Type
from rover.gotemplate.values import Pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rover.gotemplate.values import Value

__all__ = ["Basic", "ListOf", "MapOf", "Member", "Object", "Template", "TemplateError", "Type"]

_REPLACED: Final = dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")
"""Bytes that are no UTF-8, which a template can make with escapes or slice."""


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template; make one with `compile`."""

    source: str
    schema: Object = field(repr=False)
    uses: frozenset[str] = field(repr=False, compare=False)
    """Names of all fields and methods that it mentions, such as ``OwnerName``."""
    result: Type | None = field(repr=False, compare=False)
    """Type of its value where it is a single action, None where that cannot be told."""
    _evaluate: Callable[[Value], str] = field(repr=False, compare=False)

    @classmethod
    def compile(cls, source: str, schema: Object) -> Self:
        """Compile a template.

        Args:
            source: Text with actions in ``{{ }}``.
            schema: What it will be evaluated on, as an `Object`.

        Raises:
            TemplateError: It does not parse, or names something the schema does not have. The
                column counts characters of the source from 1.
        """
        body = parse(source, NAMES)
        facts = check(body, schema)
        return cls(source, schema, facts.uses, facts.result, compile_body(body))

    def render(self, context: object) -> str:
        """Evaluate the template; the result is valid UTF-8.

        Args:
            context: An object with the schema's attributes, which the schema names.

        Raises:
            TemplateError: It cannot be evaluated on this context, where Go could not either; or
                the result exceeds 64 Ki characters.
        """
        text = self._evaluate(Pointer(self.schema, context))
        return text if text.isascii() else text.translate(_REPLACED)

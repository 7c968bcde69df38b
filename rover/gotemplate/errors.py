"""What can be wrong with a template."""

from __future__ import annotations


class TemplateError(Exception):
    """A template does not parse, or cannot be evaluated on one context.

    A property or method of a context raises it where it cannot tell: that ends the evaluation.

    Attributes:
        column: 1-based position in the template's source, None where it is not known.
    """

    def __init__(self, message: str, *, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column

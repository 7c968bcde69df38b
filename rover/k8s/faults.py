"""What the cluster's API, or the way to it, can answer instead of what was asked."""

from __future__ import annotations

from enum import Enum
from typing import Final

from rover.errors import KubernetesError

_MAX_SAID: Final = 300
"""Characters of the server's own words that a message repeats."""


class Cause(Enum):
    """Kinds of faults that are met in different ways; the value labels a metric."""

    UNREACHABLE = "unreachable"
    """No connection, or it broke, or nobody is ready behind it."""
    TIMEOUT = "timeout"
    TLS = "tls"
    """No agreement with the server, which may have got a new issuer."""
    CREDENTIALS = "credentials"
    """401, or the token or kubeconfig cannot be read: it is read again."""
    FORBIDDEN = "forbidden"
    """403."""
    NOT_FOUND = "not found"
    """404."""
    EXPIRED = "expired"
    """410: the version is too old, a new list is due."""
    BUSY = "busy"
    """429, or another status with Retry-After."""
    MALFORMED = "malformed"
    """What came back is not what the API sends."""
    REFUSED = "refused"
    """Any other status."""
    BEHIND = "behind"
    """The agent itself has no room for more news."""


class ApiFault(KubernetesError):  # noqa: N818 - most faults are the cluster's everyday life, no errors
    """One question to the API failed.

    Attributes:
        cause: What to do about it hangs on this.
        retry_after: Seconds that the server wants to be left alone, 0 where it does not say.
    """

    def __init__(self, cause: Cause, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after = retry_after


STALE: Final = frozenset({Cause.CREDENTIALS, Cause.TLS, Cause.FORBIDDEN})
"""Causes that reading the credentials again may end: tokens, certificates and issuers rotate, and
whoever shows no credentials at all is forbidden what an anonymous user may not do."""

_CAUSES: Final = {
    401: Cause.CREDENTIALS,
    403: Cause.FORBIDDEN,
    404: Cause.NOT_FOUND,
    410: Cause.EXPIRED,
    429: Cause.BUSY,
    502: Cause.UNREACHABLE,
    503: Cause.UNREACHABLE,
}


def status_fault(status: int, said: str, what: str, retry_after: str | None = None) -> ApiFault:
    """Make a fault of an HTTP status, or of the one that an ERROR event holds.

    Args:
        status: Its number.
        said: The server's message.
        what: "list pods" and the like: RBAC's verb and resource.
        retry_after: That header's value; a date in it is not honoured, the API sends seconds.
    """
    said = said[:_MAX_SAID]
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
    cause = _CAUSES.get(status, Cause.BUSY if seconds else Cause.REFUSED)
    if cause is Cause.FORBIDDEN:
        verb, _, resource = what.partition(" ")
        message = (
            f"RBAC does not let the agent {what}: allow the verb {verb} on {resource} in its "
            f"ClusterRole ({said})"
        )
    else:
        message = f"cannot {what}: the API server answers {status} {said}".rstrip()
    return ApiFault(cause, message, retry_after=seconds)

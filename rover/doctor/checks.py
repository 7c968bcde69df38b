"""What a look came to, and which of several failures is the cause of the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Outcome(StrEnum):
    """How a look came out."""

    OK = "ok"
    WARN = "warn"
    """The agent works, and less of it than could be."""
    FAIL = "fail"
    SKIPPED = "skipped"
    """Nothing can be said, for something that it takes has failed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    subject: str
    outcome: Outcome
    says: str
    mend: str = ""
    """What to do; empty where there is nothing to mend."""
    needs: tuple[str, ...] = ()
    """Subjects of which a failure explains one of this."""
    because: str = ""
    """The subject whose failure explains this one; filled in by `explained`."""


def ok(subject: str, says: str) -> Check:
    """Make a line that has nothing to mend."""
    return Check(subject, Outcome.OK, says)


def warn(subject: str, says: str, mend: str, *needs: str) -> Check:
    """Make a line about something that could be better."""
    return Check(subject, Outcome.WARN, says, mend, needs)


def fail(subject: str, says: str, mend: str, *needs: str) -> Check:
    """Make a line about something that does not work."""
    return Check(subject, Outcome.FAIL, says, mend, needs)


def explained(checks: Iterable[Check]) -> list[Check]:
    """Say of each failure and warning which earlier failure explains it."""
    failed: dict[str, Check] = {}
    told = []
    for check in checks:
        cause = next((need for need in check.needs if need in failed), "")
        if cause and check.outcome is not Outcome.OK:
            cause = failed[cause].because or cause
            check = replace(check, because=cause)  # noqa: PLW2901 - it goes on with its cause
        if check.outcome is Outcome.FAIL or (check.outcome is Outcome.SKIPPED and cause):
            failed[check.subject] = check
        told.append(check)
    return told


def first_cause(checks: Sequence[Check]) -> Check | None:
    """Choose what to mend first: the first failure that nothing else explains, else a warning."""
    for outcome in (Outcome.FAIL, Outcome.WARN):
        for check in checks:
            if check.outcome is outcome and not check.because:
                return check
    return None


def worst(checks: Iterable[Check]) -> Outcome:
    """Tell the worst of all outcomes."""
    outcomes = {check.outcome for check in checks}
    return next((each for each in (Outcome.FAIL, Outcome.WARN) if each in outcomes), Outcome.OK)

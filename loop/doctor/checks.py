"""A check: a name, and what it found. Checks never raise; what is refused on the way is a finding too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ner.errors import RuleError

logger = logging.getLogger(__name__)

State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Check:
    """One finding. `mend` says what to do, empty when there is nothing to."""

    name: str
    state: State
    finding: str
    mend: str = ""


def ok(name: str, finding: str) -> Check:
    """All is well."""
    return Check(name, "ok", finding)


def warn(name: str, finding: str, mend: str) -> Check:
    """It works, but not as it should."""
    return Check(name, "warn", finding, mend)


def fail(name: str, finding: str, mend: str) -> Check:
    """It does not work."""
    return Check(name, "fail", finding, mend)


def skip(name: str, why: str) -> Check:
    """It cannot be told here."""
    return Check(name, "skip", why)


def guarded(name: str, check: Callable[[], Check | Iterable[Check]]) -> Iterator[Check]:
    """What `check` finds; a rule that it runs into is a failure under `name`, with the rule's own next step.

    A failure that nobody expected is a finding as well, so that the other checks go on: a doctor is called when
    something is wrong.
    """
    try:
        found = check()
        yield from [found] if isinstance(found, Check) else found
    except RuleError as error:
        shown = error.rule if error.value is None else f"{error.rule}: got {error.value}"
        yield fail(name, f"refused: {shown}", error.next_step)
    except Exception as error:  # a check looks at what is broken, in ways that nobody can list
        logger.debug("the check %r failed", name, exc_info=True)
        said = " ".join(str(error).split()) or "no reason given"
        yield fail(name, f"could not be checked: {type(error).__name__}: {said}", "`loop doctor -v` shows where.")

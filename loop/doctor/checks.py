"""A check: a name, and what it found. Checks never raise; what is refused on the way is a finding too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ner.errors import RuleError

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
    """What `check` finds; a rule that it runs into is a failure under `name`, with the rule's own next step."""
    try:
        found = check()
        yield from [found] if isinstance(found, Check) else list(found)
    except RuleError as error:
        shown = error.rule if error.value is None else f"{error.rule}: got {error.value}"
        yield fail(name, f"refused: {shown}", error.next_step)

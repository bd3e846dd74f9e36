"""A check: a name, what was found, and how to mend it. A check never raises: an error on the way is a finding too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Literal, NamedTuple, ParamSpec, TypeVar

from ner.errors import RuleError

logger = logging.getLogger(__name__)

State = Literal["ok", "warn", "fail", "skip"]
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Check:
    """One finding. `mend` says what to do, and is empty when there is nothing to do; `run_check` gives the name."""

    state: State
    finding: str
    mend: str = ""
    name: str = ""


def ok(finding: str) -> Check:
    """All is well."""
    return Check("ok", finding)


def warn(finding: str, mend: str) -> Check:
    """It works, but not as it should."""
    return Check("warn", finding, mend)


def fail(finding: str, mend: str) -> Check:
    """It does not work."""
    return Check("fail", finding, mend)


def skip(why: str) -> Check:
    """It cannot be told here."""
    return Check("skip", why)


def run_check(name: str, look: Callable[_P, Check], *args: _P.args, **options: _P.kwargs) -> Check:
    """What `look` finds, under `name`.

    A rule that `look` breaks is a failure, with the rule's own next step. So is an error that nobody expected: the
    other checks must go on, since a doctor is called when something is wrong.
    """
    try:
        return replace(look(*args, **options), name=name)
    except RuleError as error:
        shown = error.rule if error.value is None else f"{error.rule}: got {error.value}"
        return Check("fail", f"refused: {shown}", error.next_step, name)
    except Exception as error:  # a check looks at what is broken, in ways that nobody can list
        logger.debug("the check %r failed", name, exc_info=True)
        said = " ".join(str(error).split()) or "no reason given"
        found = f"could not be checked: {type(error).__name__}: {said}"
        return Check("fail", found, "`loop doctor -v` shows where.", name)


class Tried(NamedTuple, Generic[_T]):
    """A check, and the value that it is about; None for a value that cannot be had."""

    check: Check
    value: _T | None


def try_to_get(name: str, get: Callable[[], _T], look: Callable[[_T], Check]) -> Tried[_T]:
    """The value that `get` gives, with what `look` finds in it."""
    values: list[_T] = []

    def get_and_look() -> Check:
        values.append(get())
        return look(values[0])

    return Tried(run_check(name, get_and_look), next(iter(values), None))

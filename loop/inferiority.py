"""Whether a candidate is worse than the incumbent on an entity type: non-inferiority within a margin.

A type passes when the lower bound of the difference in F1 lies above -delta. Every type has to pass, so no correction
for their number is due (intersection-union; Berger 1982). What too little gold cannot show is called insufficient,
and is no pass: it is listed as a risk, with the number of entities that would show it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from loop.gates import FAIL, INSUFFICIENT, PASS, Gate
from loop.significance import Difference

NON_INFERIORITY = "non-inferiority"
_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Inferiority:
    """The verdict on one type. needed: gold entities with which a type that is no worse would pass."""

    status: str
    needed: int
    note: str


def judge_type(difference: Difference, delta: float) -> Inferiority:
    """One type: PASS, FAIL or INSUFFICIENT.

    FAIL: enough gold, and the lower bound is not above -delta; or, with however little gold, the upper bound lies below
    0: the type is shown to be worse, and nobody can say that it is by less than the margin.
    """
    needed = entities_needed(difference, delta)
    fewest = least_documents(delta, difference.confidence)
    if difference.lower > -delta and difference.bearing >= fewest:
        return Inferiority(PASS, needed, "")
    if difference.upper < 0:
        return Inferiority(FAIL, needed, f"shown to be worse, perhaps by more than {_points(delta)} points")
    if difference.support >= needed and difference.bearing >= fewest:
        return Inferiority(FAIL, needed, f"a loss of {_points(delta)} points or more cannot be ruled out")
    if difference.lower > -delta:
        documents = f"{difference.bearing:,} documents have such entities, {fewest:,} are needed"
        return Inferiority(INSUFFICIENT, needed, f"the bound is met, but on too little gold to trust: {documents}")
    return Inferiority(INSUFFICIENT, needed, f"about {needed:,} gold entities would tell")


def entities_needed(difference: Difference, delta: float) -> int:
    """Gold entities of the type with which an equal candidate would pass in four cases of five.

    By the normal approximation: the margin has to be z(confidence) + z(0.8) standard errors wide, and the standard
    error falls with the root of the number. Never fewer than lie in `least_documents`.
    """
    normal = NormalDist()
    reach = (normal.inv_cdf(difference.confidence) + normal.inv_cdf(_POWER)) * difference.standard_error
    in_each = max(1, difference.support) / max(1, difference.bearing)
    fewest = math.ceil(in_each * least_documents(delta, difference.confidence))
    return max(fewest, math.ceil(max(1, difference.support) * (reach / delta) ** 2))


def least_documents(delta: float, confidence: float) -> int:
    """Documents that bear the type; with fewer, not even one on which nothing changed is shown to be safe.

    When none of n documents got worse, the true share that does may still be 1 - (1 - confidence)^(1/n), about 3/n at
    95 % (the rule of three; Hanley and Lippman-Hand 1983). A bootstrap of what never changed would say 0.
    """
    return math.ceil(math.log(1 - confidence) / math.log(1 - delta))


def type_gate(difference: Difference, delta: float) -> Gate:
    """The verdict as a row among the gates."""
    verdict = judge_type(difference, delta)
    share = f"{difference.confidence:.0%}"
    value = f"{_signed(difference.delta)}, lower bound {_signed(difference.lower)}, {difference.support:,} entities"
    return Gate(
        f"{difference.name} is not worse",
        NON_INFERIORITY,
        f"lower bound ({share}) above -{_points(delta)}",
        value,
        verdict.status,
        verdict.note,
    )


def _points(value: float) -> str:
    return f"{100 * value:g}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"

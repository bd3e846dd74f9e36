"""Gates: what a candidate has to pass. Each is one row of the report, with its target, its value and its status.

Whether a candidate is worse than the incumbent on an entity type: non-inferiority within a margin.

A type passes when the lower bound of the difference in F1 lies above -delta. Every type has to pass, so no correction
for their number is due (intersection-union; Berger 1982). What too little gold cannot show is called insufficient,
and is no pass: it is listed as a risk, with the number of entities that would show it.

The decision on a candidate: every gate judged, and what follows from them. Pure functions of what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from loop.evaluation.agreement import Agreement
from loop.evaluation.scores import PRF, Scores
from loop.evaluation.significance import Comparison, Difference
from loop.judging.measured import INT8_SPEED, LEAST_AGREEMENT, ContractCheck, Efficiency, agrees
from loop.promotion.attempt import (
    COST,
    FAIL,
    FILE,
    INSUFFICIENT,
    NON_INFERIORITY,
    NOT_MEASURED,
    PASS,
    QUALITY,
    SIGNIFICANCE,
    Gate,
    Look,
)
from loop.settings.promotion import SHARES, GateSettings

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
        difference.name,
    )


def _points(value: float) -> str:
    return f"{100 * value:g}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


def gates_of(
    scores: Scores,
    comparison: Comparison | None,
    look: Look | None,
    targets: GateSettings,
    efficiency: Efficiency | None,
    *,
    contract: Sequence[ContractCheck],
    agreement: Agreement | None,
    delta: float,
    against: str | None,
) -> tuple[Gate, ...]:
    """Every gate that applies, judged: the file, the difference, the types, the targets."""
    gates = [*_file_gates(contract, agreement)]
    if comparison is not None:
        gates.append(
            significance_gate(comparison.micro, look.alpha if look else None, against or "the incumbent", look)
        )
        gates += [type_gate(row, delta) for row in comparison.per_type]
    gates += _quality_gates(scores, targets)
    gates += _cost_gates(efficiency, targets)
    return tuple(gates)


def significance_gate(row: Difference, alpha: float | None, against: str, look: Look | None = None) -> Gate:
    """Whether micro-F1 is higher than chance explains, at what this look may spend; without alpha nothing passes."""
    value = f"{100 * row.delta:+.1f} points, p = {_p(row.p_value)}"
    if alpha is None or row.p_value is None:
        return Gate(f"micro-F1 above {against}", SIGNIFICANCE, "-", value, FAIL, "no look is left at this holdout")
    which = f" (look {look.number} of {look.looks})" if look else ""
    passes = row.p_value <= alpha and row.delta > 0
    note = "" if passes else _why_not(row, alpha, "this look" if look else "alpha")
    target = f"p at most {_p(alpha)}{which}"
    return Gate(f"micro-F1 above {against}", SIGNIFICANCE, target, value, PASS if passes else FAIL, note)


def reason_of(gates: Sequence[Gate], comparison: Comparison | None, scores: Scores, against: str | None) -> str:
    """Two sentences: the figures, and what decided; a third one where nothing judged quality."""
    blocking = [gate for gate in gates if gate.blocks]
    risky = [gate for gate in gates if gate.status == INSUFFICIENT]
    if comparison is None:
        measured = f"The first model: micro-F1 {scores.micro.f1:.4f} on {scores.micro.support:,} held-out entities."
        if not scores.micro.support:
            measured = "The first model; the holdout has no gold entity to judge it by."
    else:
        row = comparison.micro
        measured = (
            f"Micro-F1 {row.new_f1:.4f} against {row.old_f1:.4f} of {against} on {row.documents:,} held-out documents "
            f"({100 * row.delta:+.1f} points, {row.confidence:.0%} interval {100 * row.low:+.1f} to "
            f"{100 * row.high:+.1f}, p = {_p(row.p_value)})."
        )
    if comparison is None and not any(gate.kind == QUALITY for gate in gates):
        measured = f"{measured} {_no_target(scores)}"
        if not blocking:
            return measured
    if blocking:
        return f"{measured} Not passed: {_listed(blocking)}."
    if risky:
        return f"{measured} Every gate passed but {len(risky)} that lack gold: {_named(risky)}."
    return f"{measured} {'Every gate passed.' if gates else 'No gate was set.'}"


def _named(gates: Sequence[Gate]) -> str:
    return ", ".join(gate.name for gate in gates)


def _file_gates(contract: Sequence[ContractCheck], agreement: Agreement | None) -> Iterator[Gate]:
    if contract:
        yield Gate("the file is what was trained", FILE, "every check", f"{len(contract)} checks hold", PASS)
    if agreement is not None:
        value = f"{agreement.f1:.3f}; {agreement.differing:,} of {agreement.texts:,} texts differ"
        status = PASS if agrees(agreement) else FAIL
        target = f"F1 of one against the other at least {LEAST_AGREEMENT}"
        yield Gate("the served file says what FP32 says", FILE, target, value, status)


def _quality_gates(scores: Scores, targets: GateSettings) -> Iterator[Gate]:
    for name in SHARES:
        if target := getattr(targets, name):
            yield _quality_gate(None, name, target, scores.micro)
    for label, wanted in targets.types.items():
        row = scores.per_type.get(label)
        for name, target in wanted.items():
            yield _quality_gate(label, name, target, row)


def _quality_gate(label: str | None, name: str, target: float, row: PRF | None) -> Gate:
    """label: the entity type, None for micro. row: None where the project has no such type."""
    title, told = f"{label or 'micro'}: {name}", f"at least {target:.3f}"
    if row is None or not row.support:
        note = "no such entity type" if row is None else "no gold in the holdout"
        return Gate(title, QUALITY, told, "-", NOT_MEASURED, note, label)
    value = float(getattr(row, name))
    return Gate(title, QUALITY, told, f"{value:.3f}", PASS if value >= target else FAIL, "", label)


def _cost_gates(efficiency: Efficiency | None, targets: GateSettings) -> Iterator[Gate]:
    speed = efficiency.of(INT8_SPEED) if efficiency else None
    latency, rate = (speed.latency_ms, speed.documents_per_second) if speed else (None, None)
    size, memory = (efficiency.bundle_mb, efficiency.memory_mb) if efficiency else (None, None)
    yield from _bound("latency, one text", targets.latency_ms, latency, "ms")
    yield from _bound("throughput, calls of 8", targets.documents_per_second, rate, "a second", at_least=True)
    yield from _bound("size of the bundle", targets.bundle_mb, size, "MB")
    yield from _bound("memory of a process", targets.memory_mb, memory, "MB")


def _bound(name: str, target: float, value: float | None, unit: str, *, at_least: bool = False) -> Iterator[Gate]:
    if not target:
        return
    told = f"at {'least' if at_least else 'most'} {target:g} {unit}"
    if value is None:
        yield Gate(name, COST, told, "-", NOT_MEASURED, "set promotion.timed above 0")
        return
    passes = value >= target if at_least else value <= target
    yield Gate(name, COST, told, f"{value:,.1f} {unit}", PASS if passes else FAIL)


def _why_not(row: Difference, alpha: float, what: str) -> str:
    if row.delta <= 0:
        return "it is not higher"
    return f"chance alone gives as much in {row.p_value:.1%} of cases; {what} allows {alpha:.2%}"


def _no_target(scores: Scores) -> str:
    if not scores.micro.support:
        return "No target for quality is set."
    return f"No target for quality is set: nothing judged whether {scores.micro.f1:.3f} is good enough."


def _listed(gates: Sequence[Gate]) -> str:
    return "; ".join(f"{gate.name} ({gate.value}{', ' + gate.note if gate.note else ''})" for gate in gates)


def _p(value: float | None) -> str:
    """`0.0123`; never 0."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value >= 0.0001 else "below 0.0001"

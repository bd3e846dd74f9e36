"""Gates: what a candidate has to pass, each judged by a pure function of what was measured.

A gate is one row of the report, with its target, its value and its status. To add a gate that needs no other model, add
it to `absolute_gates`. The gates that compare with other models show what the policy asks for (loop.promotion.ruling).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from statistics import NormalDist

from loop.evaluation.regret import Estimate
from loop.evaluation.scores import PRF, Agreement, Scores
from loop.evaluation.significance import Comparison, Difference
from loop.judging.measured import BROKEN_BELOW, ContractCheck, Efficiency, agrees
from loop.promotion.attempt import (
    COST,
    DIFFERENCE,
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
    Ruling,
)
from loop.promotion.policies import BOUNDED, HOLD, PROVEN, TYPE_ALPHA
from loop.settings.model import SHARES, GateSettings
from loop.wording import interval, points, probability, size


def type_gates(rows: Sequence[Difference], delta: float) -> list[Gate]:
    """Whether the candidate is worse than the incumbent on an entity type: a gate for each type of a comparison.

    PASS: the lower bound of the difference in F1 lies above -delta, on enough documents. Every type has to pass, so
    that no correction is due for their number (intersection-union; Berger 1982).

    FAIL: the type is shown to be worse. Its one-sided p-value, by paired randomisation, is significant by Holm's rule
    (Holm 1979) over all types, at 1 - confidence. So a candidate that is equal on all types is blocked with a chance of
    at most 1 - confidence (5 %) over all types together. The price is power: with T types, a loss is only found at a
    p-value of about 0.05 / T. The least number of documents that can give it, all of them lost, is log2(T / 0.05): 5
    for one type, 7 for five types, 9 for twenty.

    INSUFFICIENT: there is too little gold for either. That does not block the candidate, and is no pass.
    """
    worse = _shown_worse(rows)
    return [_type_gate(row, delta, row.name in worse, len(rows)) for row in rows]


def _shown_worse(rows: Sequence[Difference]) -> set[str]:
    """The names of the types that Holm's rule calls worse: from the least p-value on, until one is too high."""
    found: set[str] = set()
    for row in sorted(rows, key=lambda row: row.p_worse or 0.0):
        if row.p_worse is None or row.p_worse > (1 - row.confidence) / (len(rows) - len(found)):
            break
        found.add(row.name)
    return found


def _type_gate(row: Difference, delta: float, worse: bool, types: int) -> Gate:
    value = f"{points(row.delta)}, lower bound {points(row.lower)}, {row.support:,} entities"
    target = f"lower bound ({row.confidence:.0%}) above {points(-delta)} points"
    fewest = least_documents(delta, row.confidence)
    status, note = INSUFFICIENT, f"about {entities_needed(row, delta, types):,} gold entities would tell"
    if row.lower > -delta and row.bearing >= fewest:
        status, note = PASS, ""
    elif worse:
        status, note = FAIL, f"shown to be worse, perhaps by more than {size(delta)}"
    elif row.lower > -delta:
        documents = f"{row.bearing:,} documents have such entities, {fewest:,} are needed"
        note = f"the bound is met, but on too little gold to trust: {documents}"
    return Gate(f"{row.name} is not worse", NON_INFERIORITY, target, value, status, note, row.name)


def entities_needed(row: Difference, delta: float, types: int) -> int:
    """Gold entities with which the type either passes or is shown to be worse, whatever the difference.

    By the normal approximation: the margin has to be z(confidence) + z(1 - (1 - confidence) / types) standard errors
    wide, and the standard error falls with the root of the number. Never fewer than lie in `least_documents`.
    """
    normal = NormalDist()
    shown = normal.inv_cdf(1 - (1 - row.confidence) / types)
    reach = (normal.inv_cdf(row.confidence) + shown) * row.standard_error
    fewest = math.ceil(max(1, row.support) / max(1, row.bearing) * least_documents(delta, row.confidence))
    return max(fewest, math.ceil(max(1, row.support) * (reach / delta) ** 2))


def least_documents(delta: float, confidence: float) -> int:
    """Documents that hold the type; with fewer, not even a type on which nothing changed is shown to be safe.

    When none of n documents got worse, the true share that does may still be 1 - (1 - confidence)^(1/n), about 3/n at
    95 % (the rule of three; Hanley and Lippman-Hand 1983). A bootstrap of what never changed would say 0.
    """
    return math.ceil(math.log(1 - confidence) / math.log(1 - delta))


def absolute_gates(
    scores: Scores,
    targets: GateSettings,
    efficiency: Efficiency | None,
    *,
    contract: Sequence[ContractCheck],
    agreement: Agreement | None,
) -> tuple[Gate, ...]:
    """The gates that need no other model: the file, the targets for quality, the targets for cost."""
    quality, cost = _quality_gates(scores, targets), _cost_gates(efficiency, targets)
    return (*_file_gates(contract, agreement), *quality, *cost)


def gates_of(absolute: Sequence[Gate], compared: Sequence[Gate]) -> tuple[Gate, ...]:
    """Every gate in the order of the report: the file, the differences to other models, the targets."""
    file = [gate for gate in absolute if gate.kind == FILE]
    return (*file, *compared, *(gate for gate in absolute if gate.kind != FILE))


def difference_gates(ruling: Ruling) -> list[Gate]:
    """What the policy asks of the difference to the model in service, and to the best earlier model."""
    needed, served, best = ruling.needed or 0.0, ruling.served, ruling.best
    value = f"{points(served.difference)} points, standard error {size(served.error)}"
    enough = served.difference >= needed if needed or ruling.policy == BOUNDED else served.difference > 0
    note = f"with {ruling.documents_until_any:,} documents of this kind, any difference from 0 on is enough"
    target = f"at least {points(needed)} points" if ruling.policy == BOUNDED else "above 0 points"
    short = "" if enough or not needed else note
    gates = [Gate(f"F1 against {served.version}", DIFFERENCE, target, value, PASS if enough else FAIL, short)]
    if ruling.policy == BOUNDED and best.version != served.version:
        value = f"{points(best.difference)} points, standard error {size(best.error)}"
        status = PASS if best.difference >= 0 else FAIL
        name = f"F1 against {best.version}, the best so far"
        gates.append(Gate(name, DIFFERENCE, "at least 0 points", value, status))
    return gates


def guard_gates(rows: Sequence[Estimate], worse: Collection[str]) -> list[Gate]:
    """Whether the candidate is shown to be worse on an entity type; worse: the types on which it is."""
    share = TYPE_ALPHA / max(1, len(rows))
    return [
        Gate(
            f"{row.name} is not shown worse",
            NON_INFERIORITY,
            f"P(better) at least {100 * share:.2g} %",
            f"{points(row.difference)} points, P(better) {probability(row.better)}",
            FAIL if row.name in worse else PASS,
            "shown to be worse" if row.name in worse else "",
            row.name,
        )
        for row in rows
    ]


def significance_gate(row: Difference, alpha: float | None, against: str, look: Look | None = None) -> Gate:
    """Whether micro-F1 is higher than chance explains, at what this look may spend; without alpha nothing passes."""
    value = f"{points(row.delta)} points, p {_p(row.p_value)}"
    if alpha is None or row.p_value is None:
        return Gate(f"micro-F1 above {against}", SIGNIFICANCE, "-", value, FAIL, "no look is left at this holdout")
    which = f" (look {look.number} of {look.looks})" if look else ""
    passes = row.p_value <= alpha and row.delta > 0
    note = "" if passes else _why_not(row, alpha, "this look" if look else "alpha")
    target = f"p at most {alpha:.3g}{which}"
    return Gate(f"micro-F1 above {against}", SIGNIFICANCE, target, value, PASS if passes else FAIL, note)


def reason_of(
    gates: Sequence[Gate],
    comparison: Comparison | None,
    scores: Scores,
    against: str | None,
    ruling: Ruling | None = None,
) -> str:
    """Two sentences: the figures, and what decided; a third one where nothing judged quality."""
    if ruling is not None and comparison is not None and ruling.policy != PROVEN:
        return f"{_estimated(ruling, comparison)} {_ruled(ruling)}"
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
            f"({points(row.delta)} points, {row.confidence:.0%} interval {interval(row.low, row.high)}, p "
            f"{_p(row.p_value)})."
        )
    if comparison is None and not any(gate.kind == QUALITY for gate in gates):
        measured = f"{measured} {_no_target(scores)}"
        if not blocking:
            return measured
    if blocking:
        return f"{measured} Not passed: {_listed(blocking)}."
    if risky:
        types = ", ".join(gate.entity_type or gate.name for gate in risky)
        return f"{measured} No gate failed, but the holdout has too little gold to judge {types}."
    return f"{measured} {'Every gate passed.' if gates else 'No gate was set.'}"


def _estimated(ruling: Ruling, comparison: Comparison) -> str:
    row, served = comparison.micro, ruling.served
    return (
        f"Micro-F1 {row.new_f1:.4f} against {row.old_f1:.4f} of {served.version} on {ruling.documents:,} held-out "
        f"documents ({points(served.difference)} points, standard error {size(served.error)}; better with a "
        f"probability of {probability(served.better)}): {ruling.word}."
    )


def _ruled(ruling: Ruling) -> str:
    back = f" {ruling.put_back}, the best earlier model, is put back." if ruling.put_back else ""
    if ruling.kept_out:
        back = f" {ruling.kept_out} is better, but a person put {ruling.served.version} into service."
    if ruling.reasons:
        verdict = "Held until more held-out gold tells more" if ruling.verdict == HOLD else "Not promoted"
        return f"{verdict}: {'; '.join(ruling.reasons)}.{back}"
    return f"{points(ruling.needed or 0.0)} points were needed."


def _file_gates(contract: Sequence[ContractCheck], agreement: Agreement | None) -> Iterator[Gate]:
    if contract:
        yield Gate("the file is what was trained", FILE, "every check", f"{len(contract)} checks hold", PASS)
    if agreement is not None:
        value = f"{agreement.f1:.3f}; {agreement.differing:,} of {agreement.texts:,} texts differ"
        status = PASS if agrees(agreement) else FAIL
        target = f"F1 of one against the other at least {BROKEN_BELOW}"
        yield Gate("the served file says what FP32 says", FILE, target, value, status)


def _quality_gates(scores: Scores, targets: GateSettings) -> Iterator[Gate]:
    if scores.micro.support and not scores.micro.true_positives:  # no difference to a bad model makes up for this
        yield Gate("entities found", QUALITY, "at least 1", f"none of {scores.micro.support:,}", FAIL)
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
    speed = efficiency.served if efficiency else None
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
    return "; ".join(gate.told for gate in gates)


def _p(value: float | None) -> str:
    """A p-value behind its letter: `= 0.0123`, `< 0.0001`; never 0."""
    if value is None:
        return "-"
    return f"= {value:.4f}" if value >= 0.0001 else "< 0.0001"

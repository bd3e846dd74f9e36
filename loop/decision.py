"""The decision on a candidate: every gate judged, and what follows from them. Pure functions of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loop.attempt import ContractCheck, Efficiency, Look
from loop.evaluate import PRF, Scores
from loop.gates import ABSOLUTE, FAIL, FILE, INSUFFICIENT, NOT_MEASURED, PASS, SIGNIFICANCE, Gate
from loop.inferiority import type_gate
from loop.promotion_settings import SHARES, GateSettings
from loop.significance import Comparison, Difference

INT8_SPEED = "ONNX INT8"
LEAST_AGREEMENT = 0.75  # the broken files of tests/loop/test_wrong_files.py give 0.12 and less, the whole one 0.99
_FEWEST_SPANS = 20  # with fewer, one that differs would weigh more than a broken file does


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far INT8 and FP32 name the same spans on the same texts: F1 of one against the other, and their number."""

    f1: float
    spans: int
    texts: int
    differing: int


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
    if comparison is None and not any(map(judges_quality, gates)):
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


def judges_quality(gate: Gate) -> bool:
    """Whether it is a target for F1, precision or recall: those for the file and its costs say nothing of quality."""
    return gate.kind == ABSOLUTE and gate.name.rpartition(": ")[2] in SHARES


def check_agreement(candidate: Sequence[Sequence[object]], reference: Sequence[Sequence[object]]) -> Agreement:
    """Compare what INT8 and FP32 say of the same texts, spans without scores."""
    pairs = [(set(ours), set(theirs)) for ours, theirs in zip(candidate, reference, strict=True)]
    total = sum(len(ours) + len(theirs) for ours, theirs in pairs)
    common = sum(len(ours & theirs) for ours, theirs in pairs)
    differing = sum(ours != theirs for ours, theirs in pairs)
    return Agreement(2 * common / total if total else 1.0, total, len(pairs), differing)


def agrees(agreement: Agreement) -> bool:
    """Whether the INT8 file can be the model that FP32 is."""
    return agreement.f1 >= LEAST_AGREEMENT or agreement.spans < _FEWEST_SPANS


def _file_gates(contract: Sequence[ContractCheck], agreement: Agreement | None) -> Iterator[Gate]:
    if contract:
        yield Gate("the file is what was trained", FILE, "every check", f"{len(contract)} checks hold", PASS)
    if agreement is not None:
        value = f"{agreement.f1:.3f}; {agreement.differing:,} of {agreement.texts:,} texts differ"
        status = PASS if agrees(agreement) else FAIL
        target = f"F1 of one against the other at least {LEAST_AGREEMENT}"
        yield Gate("INT8 says what FP32 says", FILE, target, value, status)


def _quality_gates(scores: Scores, targets: GateSettings) -> Iterator[Gate]:
    for name in SHARES:
        if target := getattr(targets, name):
            yield _share_gate("micro", name, target, scores.micro)
    for label, wanted in targets.types.items():
        row = scores.per_type.get(label)
        for name, target in wanted.items():
            if row is None:
                told = f"at least {target:.3f}"
                yield Gate(f"{label}: {name}", ABSOLUTE, told, "-", NOT_MEASURED, "no such entity type")
            else:
                yield _share_gate(label, name, target, row)


def _share_gate(label: str, name: str, target: float, row: PRF) -> Gate:
    value = float(getattr(row, name))
    if not row.support:
        return Gate(f"{label}: {name}", ABSOLUTE, f"at least {target:.3f}", "-", NOT_MEASURED, "no gold in the holdout")
    status = PASS if value >= target else FAIL
    return Gate(f"{label}: {name}", ABSOLUTE, f"at least {target:.3f}", f"{value:.3f}", status)


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
        yield Gate(name, ABSOLUTE, told, "-", NOT_MEASURED, "set promotion.timed above 0")
        return
    passes = value >= target if at_least else value <= target
    yield Gate(name, ABSOLUTE, told, f"{value:,.1f} {unit}", PASS if passes else FAIL)


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

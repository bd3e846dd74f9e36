"""What was found and what to do next, derived from an attempt's figures. No step is written without a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from loop.evaluation.errors import BOUNDARY, MISSED, SPURIOUS, Confusion
from loop.evaluation.robustness import Perturbed
from loop.promotion.attempt import (
    DEFERRED,
    DIFFERENCE,
    FAIL,
    FILE,
    INSUFFICIENT,
    NON_INFERIORITY,
    NOT_MEASURED,
    REFUSED,
    SIGNIFICANCE,
    Gate,
)
from loop.report.facts import MICRO, AttemptReport, Entry, ProjectData, ResultRow, TypeCounts
from loop.report.signing import ruled, what_next
from loop.report.verdict import no_target
from loop.wording import listed, number_of, points, score, size, whole

_NOTICEABLE = 0.01  # F1 that INT8 costs, or that a type lost
_FRAGILE = 0.05  # F1 that a perturbation costs
_WEAKEST, _COSTLIEST = 5, 3
_FEW_LOOKS = 2


def next_steps(report: AttemptReport) -> tuple[Entry, ...]:
    """What would help most: first what blocked, then what is open, what lost, labels, holdout, file, texts, looks."""
    ruling = ruled(report)
    return (
        *(what_next(report, ruling) if ruling else ()),
        *_no_target(report),
        *_blocked(report),
        *_open(report),
        *_lost(report),
        *_labels(report),
        *_holdout(report),
        *_quantisation(report),
        *_robustness(report),
        *_looks(report),
    )


def findings(report: AttemptReport) -> tuple[Entry, ...]:
    """The confusions that cost most, perturbations that moved no figure, and a file that is not the usual INT8."""
    found = [
        Entry(
            "confusion",
            f"{_confused(one)} {number_of(one.count, 'time')}. Without this, micro-F1 is {size(one.cost)} higher.",
            asdict(one),
        )
        for one in report.errors.costliest[:_COSTLIEST]
        if one.cost > 0
    ]
    names = unseen_changes(report.robustness)
    unseen = [Entry("robustness", unseen_text(names), {"perturbations": names})] if names else []
    return (*found, *unseen, *_export(report))


def _export(report: AttemptReport) -> Iterator[Entry]:
    exports = report.metadata.candidate.exports if report.metadata.candidate else ()
    if len(exports) > 1:
        served, best = exports[-1], max(exports[:-1], key=lambda one: one.f1)
        same = best.precision == served.precision
        otherwise = "With less of it in FP32" if same else f'As "{best.precision}"'
        text = (
            f'{report.version} is served as "{served.precision}". {otherwise}, the file would be smaller or faster, '
            f"but would name the spans of FP32 only at an F1 of {best.f1:.3f}, on {number_of(best.texts, 'text')}."
        )
        yield Entry("precision", text, {"served": served.precision, "f1": best.f1})


def unseen_changes(rows: Sequence[Perturbed]) -> list[str]:
    """Perturbations that changed texts and moved not a single figure."""
    return [
        row.name
        for row in rows[1:]
        if row.changed and (row.micro_f1, row.per_type) == (rows[0].micro_f1, rows[0].per_type)
    ]


def unseen_text(names: Sequence[str]) -> str:
    """The sentence on `unseen_changes`."""
    return f"No figure moved after {listed(names)}. A tokenizer that drops such differences hides them from the model."


def recommended(data: ProjectData) -> str:
    """`200 recommended (four times the minimum, a rule of thumb)`."""
    return f"{whole(data.recommended)} recommended (four times the minimum, a rule of thumb)"


def has_common_minimum(types: Sequence[TypeCounts]) -> bool:
    """Whether a type goes by the minimum of the project, and not by its own."""
    return any(one.minimum is None for one in types)


def _no_target(report: AttemptReport) -> Iterator[Entry]:
    if no_target(report):
        text = (
            "Set `[gates] f1` in loop.toml: then something judges quality. So do sources of weak labels, where "
            '`[promotion] first_model` is "weak vote".'
        )
        yield Entry("no target", text)


def _blocked(report: AttemptReport) -> Iterator[Entry]:
    if report.outcome == REFUSED:
        text = "Train another candidate. The files of this one are not what they have to be, and it can never serve."
        yield Entry("blocked", text)
    if report.outcome == DEFERRED:
        yield Entry("blocked", f"See to what it waits for, then run `loop promote` again. {report.reason}")
    for gate in report.gates:
        if gate.blocks and gate.kind != DIFFERENCE:
            yield Entry("blocked", _way_past(report, gate), {"gate": gate.name, "status": gate.status})


def _way_past(report: AttemptReport, gate: Gate) -> str:
    """What would let a later candidate pass a gate that this one did not pass."""
    note = f" ({gate.note})" if gate.note else ""
    if gate.status == NOT_MEASURED:
        return f"{gate.name} was not measured, and so blocked{note}. Measure it, or take its target out."
    if gate.kind == FILE:
        return f"{gate.name} failed, with {gate.value}{note}. Export again before anything else."
    if gate.kind == NON_INFERIORITY:
        kind = gate.entity_type or gate.name
        return f"{kind} blocked, with {gate.value}{note}. {_errors_of(report, kind)}"
    if gate.kind == SIGNIFICANCE:
        return f"{gate.name} blocked, with {gate.value}{note}. {_larger(report)}"
    return f"{gate.name} blocked: {gate.value}, where {gate.target} is asked{note}."


def _larger(report: AttemptReport) -> str:
    micro, found = report.results.micro, report.power
    if micro is None or micro.delta is None or micro.delta <= 0:
        return "Train a better candidate: a further look at this one would not help."
    if found and found.detectable > micro.delta:
        return (
            f"This holdout finds differences from {size(found.detectable)} on: enlarge it, or train a better candidate."
        )
    return "Train a candidate that makes a larger difference."


def _errors_of(report: AttemptReport, kind: str) -> str:
    row = next((one for one in report.errors.per_type if one.type == kind), None)
    if row is None:
        return "Look at its errors."
    counts = (
        (row.missed, "missed"),
        (row.boundary, "with wrong bounds"),
        (row.mistyped, "of the wrong type"),
        (row.spurious, "spurious"),
    )
    told = [f"{whole(count)} {words}" for count, words in counts if count]
    return f"Look at its errors: {listed(told)}." if told else "It has no error on this holdout."


def _open(report: AttemptReport) -> Iterator[Entry]:
    """All gates that could not be judged, in one step."""
    gates = [gate for gate in report.gates if gate.status == INSUFFICIENT]
    if not gates:
        return
    told = []
    for gate in gates[:_WEAKEST]:
        row = report.results.type(gate.entity_type)
        there = f"{whole(row.support)} there; " if row else ""
        told.append(f"{gate.entity_type or gate.name} ({there}{gate.note or 'too little gold'})")
    text = f"Label held-out texts with entities of what could not be judged: {'; '.join(told)}{_more(gates)}."
    yield Entry("too little gold", text, {"gates": [gate.name for gate in gates]})


def _lost(report: AttemptReport) -> Iterator[Entry]:
    """The type that lost most, unless a gate has named it already."""
    rows = [row for row in report.results.types if row.support and row.delta is not None]
    worst = min(rows, key=lambda row: row.delta or 0.0, default=None)
    if worst is None or worst.incumbent is None or (worst.delta or 0) > -_NOTICEABLE or worst.status == FAIL:
        return
    text = (
        f"{worst.name} lost most, {size(worst.delta)} (from {score(worst.incumbent.f1)} to "
        f"{score(worst.candidate.f1)} on {number_of(worst.support, 'entity', 'entities')}). "
        f"{_errors_of(report, worst.name)}"
    )
    yield Entry("lost", text, {"type": worst.name, "delta": worst.delta})


def _labels(report: AttemptReport) -> Iterator[Entry]:
    """The types that are short of labels, in one step: the farthest from the minimum first, then by F1."""
    data, results = report.data, report.results

    def urgency(counts: TypeCounts) -> tuple[int, float, int]:
        row = results.type(counts.name)
        return -counts.short_of_minimum, row.candidate.f1 if row else 0.0, counts.labels

    short = sorted((row for row in data.types if row.short_of_recommended), key=urgency)
    if not short:
        return
    told = [f"{one.name} ({_shortage(one, results.type(one.name))})" for one in short[:_WEAKEST]]
    rule = f" The minimum is {whole(data.minimum)}; {recommended(data)}." if has_common_minimum(short) else ""
    text = f"Label more to learn from: {'; '.join(told)}{_more(short)}.{rule}"
    missing = {one.name: one.short_of_minimum or one.short_of_recommended for one in short}
    yield Entry("labels", text, {"missing": missing})


def _shortage(counts: TypeCounts, row: ResultRow | None) -> str:
    missing, aim = counts.short_of_minimum, "the minimum"
    if not missing:
        missing, aim = counts.short_of_recommended, "what is recommended"
    good = f", F1 {score(row.candidate.f1)}" if row and row.support else ""
    if counts.minimum is not None and counts.recommended is not None:
        own = f"{whole(counts.minimum)} at least, {whole(counts.recommended)} recommended"
        return f"{number_of(counts.labels, 'label')} of {own}{good}"
    return f"{number_of(counts.labels, 'label')}, {whole(missing)} short of {aim}{good}"


def _more(named: Sequence[object]) -> str:
    return f"; and {len(named) - _WEAKEST:,} more" if len(named) > _WEAKEST else ""


def _holdout(report: AttemptReport) -> Iterator[Entry]:
    """What labelling the rest of the holdout would bring: a standard error falls with the root of the documents."""
    found = None if ruled(report) else report.power
    if not found or not found.documents_needed or found.documents_needed <= found.documents:
        return
    more = found.documents_needed - found.documents
    splits, texts = {row.split: row for row in report.data.splits}, report.results.documents
    in_each = texts / found.documents  # texts of a document; what is open is counted in texts
    held = splits["holdout"]
    opened = int(max(0, held.documents - max(held.labelled, texts)) / in_each)
    pool = int(splits["pool"].documents / in_each)
    if opened:
        then = found.detectable * (found.documents / (found.documents + opened)) ** 0.5
        text = (
            f"Label {number_of(opened, 'open document')} of the holdout: the difference that it finds falls from "
            f"{size(found.detectable)} to about {size(then)}."
        )
    else:
        text = "The holdout has no open document to label."
    need = f"To find {size(found.wanted)}, it needs {number_of(more, 'more document')}"
    if more - opened > pool:
        need += f", {more - opened - pool:,} of which are not in the pool: import more"
    elif more > opened:
        need += f"; the pool has {number_of(pool, 'document')} to draw from"
    yield Entry("holdout", f"{text} {need}.", {"more": more, "open": opened, "pool": pool})


def _quantisation(report: AttemptReport) -> Iterator[Entry]:
    """The types that lost, where INT8 lost more than it won over all types: one text may move a type by points."""
    lossy = [row for row in report.quantisation if row.loss >= _NOTICEABLE and row.support]
    if lossy and any(row.name == MICRO and row.loss > 0 for row in report.quantisation):
        named = [f"{row.name} {points(-row.loss)}" for row in sorted(lossy, key=lambda row: -row.loss)]
        text = f"INT8 costs F1: {listed(named)} points against FP32."
        way = "To serve FP32, run loop export-model OUT --target triton, and name the server as backend.engine."
        yield Entry("INT8", f"{text} {way}")


def _robustness(report: AttemptReport) -> Iterator[Entry]:
    rows = report.robustness
    worst = min(rows[1:], key=lambda row: row.micro_f1, default=None)
    if worst is not None and rows[0].micro_f1 - worst.micro_f1 >= _FRAGILE:
        loss = rows[0].micro_f1 - worst.micro_f1
        text = f"Label texts with {worst.name}: the model loses {size(loss)} of micro-F1 on such texts."
        yield Entry("robustness", text, {"perturbation": worst.name, "loss": loss})


def _looks(report: AttemptReport) -> Iterator[Entry]:
    look, left, rotation = report.ledger.look, report.ledger.looks_left, report.ledger.rotation
    if look is None or left is None or left > _FEW_LOOKS:
        return
    if rotation and rotation.epoch > look.epoch:
        drawn = number_of(rotation.drawn + rotation.carried, "document")
        text = f"Label holdout {rotation.epoch} first, {drawn}: until it has gold, it cannot judge a candidate."
        yield Entry("looks", text, {"epoch": rotation.epoch})
        return
    if ruled(report):
        text = f"This holdout makes claims for {number_of(left, 'more candidate')}. `loop renew-holdout` draws another."
        yield Entry("looks", text, {"left": left})
        return
    text = "The holdout is spent: the next attempt moves it into training and draws a new holdout."
    if left:
        text = f"This holdout has {number_of(left, 'look')} left: do not promote every candidate, only the good ones."
    yield Entry("looks", text, {"left": left})


def _confused(one: Confusion) -> str:
    return {
        MISSED: f"{one.gold} is missed",
        SPURIOUS: f"{one.predicted} is found where there is none",
        BOUNDARY: f"{one.gold} is found with wrong bounds",
    }.get(one.kind, f"{one.gold} is taken for {one.predicted}")

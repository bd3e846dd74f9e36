"""`loop compare`: the decision of `loop promote` on files with the answers of any two systems, without a project.

Three files hold the gold, the answers of A and the answers of B, record by record. The entity types are the labels of
the gold. A predicted span of another label is spurious: it counts against its system in the micro average, and has no
row of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loop.evaluation.scores import Counts, count, grouped
from loop.evaluation.significance import (
    Comparison,
    Difference,
    compare_counts,
    permutations_for,
    randomisation_p_value,
)
from loop.files.formats.json_lines import read_spans
from loop.files.importing import RejectedFileError
from loop.files.inputs import open_inputs
from loop.files.records import Problem, check_name, numbered_lines
from loop.files.strict_json import parse_json
from loop.promotion.attempt import INSUFFICIENT, Gate
from loop.promotion.gates import significance_gate, type_gates
from ner.arrays import FloatArray
from ner.documents import MAX_TEXT_CHARS
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import Span, check_span, clean_spans, drop_overlaps

PROMOTE, REJECT = "promote", "reject"
LEAST_ALPHA = 1e-5  # two million arrangements, of which a p-value this small needs 20 / alpha
SYSTEMS = ("A", "B")
_SHOWN = 5
_PAYLOAD = 200


@dataclass(frozen=True, slots=True)
class TypeResult:
    """An entity type of the gold: its figures, a one-sided p-value for information, and its gate."""

    row: Difference
    gate: Gate


@dataclass(frozen=True, slots=True)
class Compared:
    """System A, the candidate, against system B, the incumbent, on the same gold.

    micro: the gate of significance. records: of the gold; records with one `doc` are one document of the comparison.
    delta: F1 (0..1) that a type may lose. notes: what was left out of the files, and which labels are spurious.
    """

    comparison: Comparison
    micro: Gate
    types: tuple[TypeResult, ...]
    alpha: float
    delta: float
    records: int
    notes: tuple[str, ...]

    @property
    def blocking(self) -> list[Gate]:
        """The gates that stand in the way of A."""
        return [gate for gate in (self.micro, *(result.gate for result in self.types)) if gate.blocks]

    @property
    def unjudged(self) -> list[str]:
        """The types that too little gold leaves open."""
        return [result.row.name for result in self.types if result.gate.status == INSUFFICIENT]

    @property
    def decision(self) -> str:
        """PROMOTE where A is better than chance explains and no type is shown to be worse, else REJECT."""
        return REJECT if self.blocking else PROMOTE

    def as_json(self) -> dict[str, Any]:
        """`{f1: {a, b}, delta, interval, p_value, alpha, decision, ..., types: {type: {the same, and its gate}}}`.

        The decision on a type is the status of its gate: pass, fail, or insufficient, which is no pass.
        """
        micro = self.comparison.micro
        return {
            **_figures(micro, self.alpha, self.micro, self.decision),
            "types": {
                result.row.name: _figures(result.row, self.alpha, result.gate, result.gate.status)
                for result in self.types
            },
            "documents": micro.documents,
            "records": self.records,
            "confidence": micro.confidence,
            "allowed_loss": self.delta,
            "permutations": self.comparison.permutations,
            "resamples": self.comparison.resamples,
            "seed": self.comparison.seed,
            "notes": list(self.notes),
        }


def compare_files(
    candidate: Path,
    incumbent: Path,
    gold: Path,
    *,
    alpha: float = 0.05,
    delta: float = 0.03,
    resamples: int = 10_000,
    seed: int = 13,
) -> Compared:
    """Read three files and compare A with B. InputError names the records that cannot be compared."""
    for name, share, least in (("alpha", alpha, LEAST_ALPHA), ("delta", delta, 0.0)):
        if not least <= share < 1 or not share:
            raise InputError(f"{name} lies between {least:g} and 1", value=share, next_step=f"Correct --{name}.")
    sides = read_sides(candidate, incumbent, gold)
    known = _labels(sides.gold)
    if not known:
        raise InputError("systems are compared by gold entities", value="none", next_step=f"Check {gold}.")
    strays = sorted(set(_labels(*sides.systems)) - set(known))
    notes = (*sides.notes, *_spurious_labels(sides, strays))
    labels = LabelSet((*known, *strays))
    new, old = (grouped(count(sides.gold, side, labels), sides.documents) for side in sides.systems)
    permutations = permutations_for(alpha, resamples)
    comparison = compare_counts(new, old, permutations=permutations, resamples=resamples, seed=seed)
    types = _type_results(new, old, comparison, len(known), delta)
    micro = significance_gate(comparison.micro, alpha, "B")
    return Compared(comparison, micro, types, alpha, delta, len(sides.gold), notes)


def _labels(*sides: Sequence[Sequence[Span]]) -> list[str]:
    return sorted({span.label for side in sides for spans in side for span in spans})


def _spurious_labels(sides: Sides, strays: list[str]) -> Iterator[str]:
    for name, side in zip(SYSTEMS, sides.systems, strict=True):
        found = [span.label for spans in side for span in spans if span.label in strays]
        if found:
            labels, spans = some(sorted(set(found))), "span" if len(found) == 1 else "spans"
            yield f"{name}: {len(found):,} {spans} of labels that the gold does not have, counted as spurious: {labels}"


def _type_results(new: Counts, old: Counts, comparison: Comparison, known: int, delta: float) -> tuple[TypeResult, ...]:
    """The results of the first `known` types, which are the gold's."""
    results = []
    rows = comparison.per_type[:known]
    for kind, (row, gate) in enumerate(zip(rows, type_gates(rows, delta), strict=True)):
        ours, theirs = (_column(side, kind) for side in (new, old))
        p_value = randomisation_p_value(ours, theirs, comparison.permutations, np.random.default_rng(comparison.seed))
        results.append(TypeResult(replace(row, p_value=p_value), gate))
    return tuple(results)


def _column(counts: Counts, kind: int) -> FloatArray:
    """(n, 2): true positives, predicted + gold, of one type."""
    found = counts.predicted[:, kind] + counts.gold[:, kind]
    return np.stack([counts.true_positives[:, kind], found], axis=1).astype(np.float64)


def _figures(row: Difference, alpha: float, gate: Gate, decision: str) -> dict[str, Any]:
    return {
        "f1": {"a": row.new_f1, "b": row.old_f1},
        "delta": row.delta,
        "interval": [row.low, row.high],
        "lower_bound": row.lower,
        "p_value": row.p_value,
        "alpha": alpha,
        "decision": decision,
        "gate": asdict(gate),
        "support": row.support,
    }


@dataclass(frozen=True, slots=True)
class ComparedText:
    """One record: the spans of a system, or of a person, for the text `id`. text, doc: None where the file has none."""

    where: str
    id: str
    spans: tuple[Span, ...]
    text: str | None
    doc: str | None


@dataclass(frozen=True, slots=True)
class Sides:
    """The spans of the gold and of both systems, record by record in the order of the gold.

    The spans of a side do not overlap. They have no white space at their ends where any of the files has the text.
    documents: the key of the document that each record belongs to: the record's `doc`, in whichever file has one, else
    the record itself. notes: what was left out.
    """

    gold: tuple[tuple[Span, ...], ...]
    systems: tuple[tuple[tuple[Span, ...], ...], ...]
    documents: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def read_sides(candidate: Path, incumbent: Path, gold: Path) -> Sides:
    """Read and match the files. InputError for a record that breaks a rule, is missing, or has another text."""
    truth, *sides = (read_judged(path) for path in (gold, candidate, incumbent))
    notes: list[str] = []
    for name, side in zip(SYSTEMS, sides, strict=True):
        _check_ids(name, side, truth)
        notes += _unknown_ids(name, side, truth)
    everyone = [list(truth.values()), *([side[key] for key in truth] for side in sides)]
    texts = [
        next((record.text for record in row if record.text is not None), None) for row in zip(*everyone, strict=True)
    ]
    flat = []
    for name, records in zip(("gold", *SYSTEMS), everyone, strict=True):
        _check_texts(name, records, texts)
        clean, blank = _without_white_space(name, records, texts)
        kept, overlapping = _without_overlaps(name, clean)
        flat.append(tuple(kept))
        notes += (*blank, *overlapping)
    return Sides(flat[0], tuple(flat[1:]), tuple(_documents(everyone)), tuple(notes))


def read_judged(path: Path) -> dict[str, ComparedText]:
    """The records of a JSON Lines file by their id. RejectedFileError names the first records that break a rule."""
    records: dict[str, ComparedText] = {}
    problems: list[Problem] = []
    with open_inputs(path) as (file,):
        for number, line in numbered_lines(file.rewound()):
            if isinstance(line, str) and not line.strip():
                continue
            try:
                record = _judged(line, f"line {number}")
                if record.id in records:
                    first = f"{record.id}, first on {records[record.id].where}"
                    raise InputError("an id stands once in a file", value=first, next_step="Remove one of the two.")
                records[record.id] = record
            except InputError as error:
                problems.append(Problem(f"line {number}", error, line[:_PAYLOAD] if isinstance(line, str) else ""))
    if problems:
        raise RejectedFileError(str(path), problems[:_SHOWN], len(problems), "Correct them")
    if not records:
        raise InputError("a file to compare by holds a record", value=str(path), next_step="Check the file.")
    return records


def _judged(line: str | InputError, where: str) -> ComparedText:
    if isinstance(line, InputError):
        raise line
    value = parse_json(line)
    if not isinstance(value, dict):
        raise InputError("a line holds a JSON object", value=value, next_step='Write {"id": ..., "spans": [...]}.')
    text, doc = value.get("text"), value.get("doc")
    if text is not None and not isinstance(text, str):
        raise InputError("`text` is a string", value=text, next_step="Correct `text`, or leave it out.")
    if "spans" not in value:
        raise InputError("a record has `spans`", value=sorted(value), next_step="Give it, [] for none.")
    spans = read_spans(value["spans"])
    for span in spans:
        check_span(span, MAX_TEXT_CHARS if text is None else len(text))
    return ComparedText(
        where, check_name(value.get("id"), "id"), spans, text, None if doc is None else check_name(doc, "doc")
    )


def _check_ids(name: str, side: Iterable[str], truth: Iterable[str]) -> None:
    known = set(side)
    missing = [key for key in truth if key not in known]
    if missing:
        raise InputError(
            f"{name} says something of every record of the gold",
            value=f"{len(missing):,} missing: {some(missing)}",
            next_step="Add them, with an empty list of spans where the system finds nothing.",
        )


def _unknown_ids(name: str, side: Iterable[str], truth: Iterable[str]) -> Iterator[str]:
    known = set(truth)
    unknown = [key for key in side if key not in known]
    if unknown:
        yield f"{name} has {len(unknown):,} records that are not in the gold, and are left out: {some(unknown)}"


def _check_texts(name: str, records: Sequence[ComparedText], texts: Sequence[str | None]) -> None:
    """Offsets mean the same only in the same text. Where one file has the text, all offsets must lie within it."""
    for record, text in zip(records, texts, strict=True):
        if text is None:
            continue
        if record.text is not None and record.text != text:
            raise InputError(
                f"{name} has the text of the other files where it has one",
                value=f"another for {record.id}",
                next_step="Tag the gold's texts.",
            )
        for span in record.spans:
            _check_within(name, record, span, text)


def _check_within(name: str, record: ComparedText, span: Span, text: str) -> None:
    try:
        check_span(span, len(text))
    except InputError as error:
        raise InputError(
            f"{error.rule}, in {name} too", value=f"{error.value}, id {record.id}", next_step=error.next_step
        ) from error


def _documents(everyone: Sequence[Sequence[ComparedText]]) -> Iterator[tuple[str, str]]:
    for records in zip(*everyone, strict=True):
        named = sorted({record.doc for record in records if record.doc is not None})
        if len(named) > 1:
            raise InputError(
                "a record belongs to one `doc` in all files",
                value=f"{records[0].id}: {some(named)}",
                next_step="Correct it, or leave `doc` out of the systems' files.",
            )
        yield ("doc", named[0]) if named else ("id", records[0].id)


def _without_white_space(
    name: str, records: Sequence[ComparedText], texts: Sequence[str | None]
) -> tuple[list[ComparedText], list[str]]:
    clean, touched, blank = [], [], 0
    for record, text in zip(records, texts, strict=True):
        kept, dropped = (record.spans, ()) if text is None else clean_spans(text, record.spans)
        clean.append(replace(record, spans=kept))
        touched += [record.id] if dropped else []
        blank += len(dropped)
    plural = "span holds white space only and is" if blank == 1 else "spans hold white space only and are"
    return clean, [f"{name}: {blank:,} {plural} left out; in {some(touched)}"] if blank else []


def _without_overlaps(name: str, records: Sequence[ComparedText]) -> tuple[list[tuple[Span, ...]], list[str]]:
    kept, touched, dropped = [], [], 0
    for record in records:
        flat, overlapping = drop_overlaps(record.spans)
        kept.append(flat)
        if overlapping:
            touched.append(record.id)
            dropped += len(overlapping)
    if not dropped:
        return kept, []
    plural = "span overlaps another and is" if dropped == 1 else "spans overlap others and are"
    return kept, [f"{name}: {dropped:,} {plural} left out, the longest wins; in {some(touched)}"]


def some(names: Sequence[str]) -> str:
    """The first of many names, and how many there are besides."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

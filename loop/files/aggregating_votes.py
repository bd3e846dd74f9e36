"""`loop weak aggregate`: a file of votes becomes a file of spans, without a project and without a store."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from loop.evaluation.scores import Scores, score
from loop.files.audit import believed
from loop.files.importing import SHOWN_PROBLEMS
from loop.files.raw.inputs import open_inputs
from loop.files.reading import Reading, survey_of_any_labels
from loop.files.records import Problem, Record
from loop.settings.whole_files import whole_file
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import Span, flat_spans
from weak_labeling.aggregate.choosing import MethodScore, aggregate
from weak_labeling.aggregate.contract import VotedText


@dataclass(frozen=True)
class AggregatedFile:
    """What became of a file of votes.

    labelled: texts of the file that have gold. method, reason, scores: as `weak_labeling.aggregate.choosing` has them.
    f1: strict scores of what was written on the labelled texts, none answered by a method that saw its gold; None
    without gold. bad: records and votes that break a rule and were left out; problems: the first of them.
    """

    texts: int
    spans: int
    labelled: int
    method: str
    reason: str
    scores: tuple[MethodScore, ...]
    f1: Scores | None
    bad: int
    problems: tuple[Problem, ...]


def aggregate_file(votes: Path, gold: Path | None, method: str, out: Path) -> AggregatedFile:
    """Aggregate the votes of a file, and write a line of JSON for each text: `{id, text, spans}`.

    The gold file holds some of the texts with their spans, found by id and text, else by text. What the file of votes
    itself says of entities is not looked at. Raises InputError for a file without votes, or gold on none of its texts.
    """
    with ExitStack() as stack:
        reading = _only(stack, votes)
        truth = None if gold is None else _only(stack, gold)
        problems: list[Problem] = []
        records = _voted(reading, problems)
        labels = LabelSet(tuple(sorted({*_labels(reading), *(_labels(truth) if truth else ())})))
        spans = _gold_of(records, list(_good(truth, problems))) if truth else {}
    texts = [VotedText(number, record.text, record.votes or ()) for number, record in enumerate(records)]
    done = aggregate(texts, spans, labels, method)
    said: dict[Hashable, tuple[Span, ...]] = dict(enumerate(answer.spans for answer in done.answers()))
    with whole_file(out) as written:
        for number, record in enumerate(records):
            written.write(_line(record, number, said[number]))
    f1 = score(list(spans.values()), [said[number] for number in spans], labels) if spans else None
    return AggregatedFile(
        len(texts),
        sum(map(len, said.values())),
        len(spans),
        done.method,
        done.reason,
        done.scores,
        f1,
        len(problems),
        tuple(problems[:SHOWN_PROBLEMS]),
    )


def _only(stack: ExitStack, path: Path) -> Reading:
    found = stack.enter_context(open_inputs(path))
    if len(found) != 1:
        raise InputError("a file of votes or gold is one file", value=f"{path.name}, which holds {len(found)}")
    return replace(survey_of_any_labels(found[0]), each_vote=True)


def _labels(reading: Reading) -> Sequence[str]:
    return reading.rule.config.labels


def _voted(reading: Reading, problems: list[Problem]) -> list[Record]:
    records = list(_good(reading, problems))
    problems += (Problem(record.where, error, "") for record in records for error in record.bad_votes)
    if all(record.votes is None for record in records):
        raise InputError(
            "a record of votes has `weak`: [{start, end, label, source}]",
            value=f"{reading.name}, in which no record has it",
        )
    return records


def _good(reading: Reading, problems: list[Problem]) -> Iterator[Record]:
    for record in reading.records():
        if isinstance(record, Problem):
            problems.append(record)
        else:
            yield record


def _gold_of(records: Sequence[Record], labelled: Sequence[Record]) -> dict[Hashable, tuple[Span, ...]]:
    """The gold by number of the record. Raises InputError where gold names none of the texts."""
    by_text: dict[tuple[str | None, str], tuple[Span, ...]] = {}
    for one in labelled:
        decisive = believed(one)
        if decisive is not None and decisive.spans is not None:
            spans = flat_spans(one.text, decisive.spans)
            by_text[one.external_id, one.text] = by_text[None, one.text] = spans
    names = [(record.external_id, record.text) for record in records]
    found: dict[Hashable, tuple[Span, ...]] = {
        number: by_text.get(name, by_text[None, name[1]])
        for number, name in enumerate(names)
        if (None, name[1]) in by_text
    }
    if not found:
        raise InputError(
            "the gold is about texts of the file of votes",
            value=f"{len(labelled):,} records of gold, on none of these texts",
            next_step="Check that both files hold the same texts, character by character.",
        )
    return found


def _line(record: Record, number: int, spans: Sequence[Span]) -> str:
    shown = [{"start": s.start, "end": s.end, "label": s.label, "score": s.score} for s in spans]
    line = {"id": record.external_id or f"{number + 1}", "text": record.text, "spans": shown}
    return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"

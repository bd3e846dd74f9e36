"""The ledger of weak labels: what each source says, how right that is on gold, what it costs, and what it is worth.

Coverage, overlap and conflict are those of Snorkel's LFAnalysis (Ratner et al. 2017) on words. They are measured on a
sample of the texts that may be learned from, and precision and worth on the gold among them: never on the holdout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loop.weak.aggregating import VotedProject, voted_project
from loop.weak.applying import enter_imported
from loop.weak.worth import VoteSample, Worth, worth_of
from ner.documents import content_hash
from ner.intervals import wilson
from store.database.schema import Project, SourceRecord
from store.database.session import Store
from store.weak.sources import SET_ASIDE, unknown_source, weak_sources
from store.weak.votes import count_votes
from weak_labeling.aggregate.choosing import MethodScore
from weak_labeling.aggregate.combined import Combined
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.generative import estimated_precision
from weak_labeling.aggregate.learned import Learned
from weak_labeling.aggregate.weighted import Weighted
from weak_labeling.analysis import FunctionReport, analyse
from weak_labeling.source import Vote

# Texts on which coverage, overlap and conflict are counted, at most.
SAMPLED = 5_000
# Methods that take seconds to learn anew.
_SLOW = (Learned.name, Combined.name)
_Key = tuple[str, str]  # source, label


@dataclass(frozen=True)
class GoldPrecision:
    """Of the votes on labelled texts, those that are gold exactly; the share and its 95 % interval (Wilson), 0..1."""

    right: int
    votes: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class TypeEntry:
    """What a source says of one type. votes: in the store. coverage: share of all words that it votes on.

    overlap: share of those words on which another source votes, too; conflict: on which another source names another
    type. estimated: its precision (0..1) as the other sources have it, without gold. None: nothing to tell it by.
    """

    label: str
    votes: int
    coverage: float
    overlap: float | None
    conflict: float | None
    precision: GoldPrecision | None
    estimated: float | None


@dataclass(frozen=True)
class LedgerEntry:
    """A source: all its types together, what it cost, whether its votes count, and why they do not.

    documents: it was asked about. seconds: that this took. faults: documents on which it failed. evidence: the figures
    of a muting by the loop.
    """

    name: str
    kind: str
    votes: int
    coverage: float
    overlap: float | None
    conflict: float | None
    precision: GoldPrecision | None
    worth: Worth | None
    documents: int
    seconds: float
    faults: int
    first_fault: str
    set_aside: str
    changed_at: datetime
    applied_at: datetime | None
    muted_at: datetime | None
    muted_by: str | None
    evidence: Mapping[str, Any]
    types: tuple[TypeEntry, ...]


@dataclass(frozen=True)
class WeakLedger:
    """Every source by name. method: how votes become labels, and reason: why so. scores: of all that were tried.

    f1: of the votes that count, on the gold; None without gold. worth_by: the method that the worth of a source is
    measured by. Where all sources are measured, "weighted" stands in for "learned" and "combined", which take seconds
    to learn anew without a source.
    gold_documents: labelled documents; sampled: texts that the shares are counted on.
    """

    sources: tuple[LedgerEntry, ...]
    method: str
    reason: str
    scores: tuple[MethodScore, ...]
    f1: float | None
    worth_by: str
    gold_documents: int
    sampled: int

    def source(self, name: str) -> LedgerEntry:
        """The entry of this name. Raises NotFoundError where there is none."""
        for one in self.sources:
            if one.name == name:
                return one
        raise unknown_source(name, [one.name for one in self.sources])


def ledger(store: Store, project: Project, only: str | None = None) -> WeakLedger:
    """Read votes and gold, and measure every source that is known.

    only: the one source whose worth is measured then, and by the method in use.
    """
    with store.transaction() as tx:
        enter_imported(tx, project)
        tx.commit()
    with store.read() as session:
        records, stored = weak_sources(session, project.id), count_votes(session, project.id)
    voted = voted_project(store, project, None)
    measured = _Measured.of(voted)
    sample, done = measured.sample, measured.sample.aggregation()
    names = [one.name for one in records if one.muted_at is None and only in (None, one.name)]
    by = Weighted.name if done.method in _SLOW and only is None else done.method
    counts = sample.counts_of(done)
    together = counts if by == done.method else sample.counts(by)
    worth = {one.source: one for one in worth_of(sample, names, by, together)} if sample.labelled else {}
    f1 = counts.micro_f1() if sample.labelled else None
    entries = tuple(_entry(record, stored, measured, worth.get(record.name)) for record in records)
    return WeakLedger(entries, done.method, done.reason, done.scores, f1, by, sample.documents, len(measured.texts))


@dataclass(frozen=True, eq=False)
class _Measured:
    """What is counted once for all sources. Muted sources are measured as well, and are not in `sample`."""

    texts: Sequence[VotedText]
    sample: VoteSample
    by_source: Mapping[str, FunctionReport]
    by_type: Mapping[str, FunctionReport]
    judged: Mapping[_Key, int]
    right: Mapping[_Key, int]
    estimated: Mapping[_Key, float]

    @classmethod
    def of(cls, voted: VotedProject) -> _Measured:
        texts = sorted(voted.texts, key=lambda text: content_hash(text.text))[:SAMPLED]
        judged: Counter[_Key] = Counter()
        right: Counter[_Key] = Counter()
        for text in voted.texts:
            if text.key in voted.gold:
                gold = set(voted.gold[text.key])
                keys = [(vote.source, vote.span.label, vote.span.without_score() in gold) for vote in set(text.votes)]
                judged.update((source, label) for source, label, _ in keys)
                right.update((source, label) for source, label, is_gold in keys if is_gold)
        sample = voted.sample()
        return cls(
            texts,
            sample,
            _analysed(texts, lambda vote: vote.source),
            _analysed(texts, _type_name),
            judged,
            right,
            estimated_precision((*sample.labelled, *sample.unlabelled), voted.labels),
        )


def _analysed(texts: Sequence[VotedText], name_of: Any) -> dict[str, FunctionReport]:
    votes = {text.key: [Vote(vote.span, name_of(vote)) for vote in text.votes] for text in texts}
    names = sorted({vote.source for given in votes.values() for vote in given})
    return {one.name: one for one in analyse(names, {text.key: text.text for text in texts}, votes)}


def _type_name(vote: Vote) -> str:
    """Source and type as one name: on a word, a source names one type, so that other names are of other sources."""
    return f"{vote.source}\0{vote.span.label}"


def _entry(record: SourceRecord, stored: Mapping[_Key, int], measured: _Measured, worth: Worth | None) -> LedgerEntry:
    labels = sorted(label for source, label in stored if source == record.name)
    keys = [(record.name, label) for label in labels]
    return LedgerEntry(
        record.name,
        record.kind,
        sum(stored[key] for key in keys),
        *_shares(measured.by_source.get(record.name)),
        _precision(sum(measured.right.get(key, 0) for key in keys), sum(measured.judged.get(key, 0) for key in keys)),
        worth,
        documents=record.documents,
        seconds=record.seconds,
        faults=record.faults.get("count", 0),
        first_fault=record.faults.get("first", ""),
        set_aside=record.faults.get(SET_ASIDE, ""),
        changed_at=record.changed_at,
        applied_at=record.applied_at,
        muted_at=record.muted_at,
        muted_by=record.muted_by,
        evidence=record.evidence,
        types=tuple(_types(keys, stored, measured)),
    )


def _types(keys: Sequence[_Key], stored: Mapping[_Key, int], measured: _Measured) -> Iterator[TypeEntry]:
    for key in keys:
        yield TypeEntry(
            key[1],
            stored[key],
            *_shares(measured.by_type.get("\0".join(key))),
            _precision(measured.right.get(key, 0), measured.judged.get(key, 0)),
            measured.estimated.get(key),
        )


def _shares(report: FunctionReport | None) -> tuple[float, float | None, float | None]:
    """(coverage of all words, overlap and conflict as shares of the words that are covered)."""
    if report is None or not report.coverage:
        return 0.0, None, None
    return report.coverage, report.overlap / report.coverage, report.conflict / report.coverage


def _precision(right: int, votes: int) -> GoldPrecision | None:
    return GoldPrecision(right, votes, right / votes, *wilson(right / votes, votes)) if votes else None

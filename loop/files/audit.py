"""What a file says, and what of it was understood: the table of `loop import` and of its dry run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loop.files.reading import LabelRule
from loop.files.records import UNREAD, Record
from loop.files.seen import Seen
from loop.files.suspicions import DIFFERING, TWICE, UNREAD_NUMBERS, suspicions
from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import DOUBTS
from store.annotations import NewAnnotation
from store.counts import Doubts, counted, labels_of

_EXAMPLES = 2  # of each doubt and suspicion
_SHOWN_TEXT = 60
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class LabelCount:
    """A label as the file has it: on how many regions, and the project's label for it; None where it has none."""

    label: str
    regions: int
    becomes: str | None


@dataclass(frozen=True)
class AuditExample:
    """A region that was not understood, or words that look wrong, and where in the file."""

    reason: str
    where: str
    shown: str


@dataclass(frozen=True)
class Audit:
    """Texts by what the file says of them, and regions by whether they were understood.

    texts: all of them; each is also one of entities, without_entities, unlabelled, in_doubt. in_doubt: something that
    was said about the text was not understood, so that the text is not learned from. set_aside: regions by reason;
    `doubts`: those of them for which texts are in doubt.
    """

    texts: int = 0
    with_entities: int = 0
    without_entities: int = 0
    unlabelled: int = 0
    in_doubt: int = 0
    regions: int = 0
    understood: int = 0
    labels: tuple[LabelCount, ...] = ()
    set_aside: Mapping[str, int] = field(default_factory=dict)
    doubts: Doubts = field(default_factory=Doubts)
    suspicions: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[AuditExample, ...] = ()


@dataclass
class Auditor:
    """Counts records that `loop.files.reading` has read."""

    rule: LabelRule
    texts: Counter[str] = field(default_factory=Counter)
    regions: int = 0
    understood: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    doubtful_labels: Counter[str] = field(default_factory=Counter)
    suspicions: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[AuditExample]] = field(default_factory=dict)
    # Of each text that was labelled, the hash of its entities.
    entities: Seen = field(default_factory=Seen)

    def add(self, record: Record) -> None:
        """Count one record."""
        decisive = believed(record)
        self.texts[_kind(decisive)] += 1
        self.set_aside.update(item.reason for item in record.aside)
        for annotation in record.annotations:
            if annotation.skipped:
                continue
            self.regions += len(annotation.result)
            self.understood += max(0, len(annotation.result) - len(annotation.set_aside))
            self.labels.update(label for region in annotation.result for label in labels_of(region))
            for item in annotation.set_aside:
                self._aside(item, record)
        self._compare(decisive, record)
        for what, words in suspicions(record.text, (decisive and decisive.spans) or ()):
            self._suspect(what, record, words)
        if decisive is not None:
            unread = [name for region in decisive.result for name in region.get(UNREAD, ())]
            if unread:
                self._suspect(UNREAD_NUMBERS, record, ", ".join(dict.fromkeys(unread)))
            doubts = counted([decisive.set_aside])
            self.reasons.update(doubts.by_reason)
            self.doubtful_labels.update(doubts.labels)

    def result(self) -> Audit:
        """The counts so far; labels in the order of their number."""
        counts = self.labels.most_common()
        return Audit(
            texts=self.texts.total(),
            **{kind: self.texts[kind] for kind in ("with_entities", "without_entities", "unlabelled", "in_doubt")},
            regions=self.regions,
            understood=self.understood,
            labels=tuple(LabelCount(label, number, self.rule.apply(label)) for label, number in counts),
            set_aside=dict(self.set_aside),
            doubts=Doubts(self.texts["in_doubt"], dict(self.reasons), dict(self.doubtful_labels)),
            suspicions=dict(self.suspicions),
            examples=tuple(example for found in self.examples.values() for example in found),
        )

    def _compare(self, decisive: NewAnnotation | None, record: Record) -> None:
        """Suspect a text of which the file says two things, in one record or in two."""
        said = {frozenset(one.spans) for one in record.annotations if one.spans is not None and not one.skipped}
        if len(said) > 1:
            self._suspect(DIFFERING, record, repr(record.text[:_SHOWN_TEXT]))
        if decisive is not None and decisive.spans is not None:
            entities = hash(frozenset(decisive.spans))
            if self.entities.setdefault(record.text, entities) != entities:
                self._suspect(TWICE, record, repr(record.text[:_SHOWN_TEXT]))

    def _aside(self, item: NotLearned, record: Record) -> None:
        self.set_aside[item.reason] += 1
        if item.reason in DOUBTS:
            self._show(item.reason, record, shown(item.payload, record.text))

    def _suspect(self, what: str, record: Record, words: str) -> None:
        self.suspicions[what] += 1
        self._show(what, record, words)

    def _show(self, reason: str, record: Record, words: str) -> None:
        found = self.examples.setdefault(reason, [])
        if len(found) < _EXAMPLES:
            found.append(AuditExample(reason, record.where, words))


def believed(record: Record) -> NewAnnotation | None:
    """The annotation that decides, as in the store: ground truth, else the one updated last; None without any.

    Of annotations with one time, or without any, the last of the file decides.
    """
    said = [one for one in reversed(record.annotations) if not one.skipped and (one.spans is not None or one.doubts)]
    return max(said, key=lambda one: (one.ground_truth, one.source_updated_at or _LONG_AGO), default=None)


def shown(payload: Any, text: str) -> str:
    """A region in a few words: its label, its offsets, and what stands there in the text."""
    value = payload.get("value") if isinstance(payload, dict) else None
    if not isinstance(value, dict):
        return str(payload)[:_SHOWN_TEXT]
    start, end, words = value.get("start"), value.get("end"), value.get("text")
    there = text[start:end] if type(start) is int and type(end) is int and 0 <= start <= end else None
    parts = [", ".join(labels_of(payload)) or "no label", f"{start}-{end}"]
    parts += [f"text has {there[:_SHOWN_TEXT]!r}"] if there else []
    parts += [f"file says {words[:_SHOWN_TEXT]!r}"] if isinstance(words, str) and words and words != there else []
    return ", ".join(parts)


def _kind(decisive: NewAnnotation | None) -> str:
    if decisive is None:
        return "unlabelled"
    if decisive.doubts:
        return "in_doubt"
    return "with_entities" if decisive.spans else "without_entities"

"""`loop doctor --data`: what looks wrong in the labelled texts of the store, by the eyes that read files and pulls.

Nothing is changed. Each finding says how many texts it touches, and shows one or two of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from loop.doctor.checks import State
from loop.files.doubts import mend
from loop.files.suspicions import (
    CUT_WORDS,
    INCLUSIVE_ENDS,
    LOST_CHARACTERS,
    MARK_AT_END,
    MARKS_ALONE,
    MISDECODED,
    NUMBER_ALONE,
    ONE_WORD,
    SUSPICIONS,
    TAGS_IN_TEXT,
    suspicions,
)
from ner.label_studio.label_config import LabelConfig, NotLearned
from ner.label_studio.results import DOUBTS, OUTSIDE_CONFIG, read_result, unit_of_result
from store.counts import Doubts, counted, labels_of, set_aside_of
from store.database.schema import AnnotationVersion, Document, Project
from store.database.session import Store, select_in
from store.gold import DoubtfulDocument, GoldDocument, Labelled, labelled

OTHER_CASE = "label differs from the config by case only"
SAME_TEXT = "same text with different gold"
NEVER_USED = "type of the config that never occurs"
UNKNOWN_CONTROL = "control name not in the config"
IN_DOUBT, WOULD_BE = "in doubt: ", "if read again, in doubt: "
_EXAMPLES = 2
_WORDS_SHOWN = 30
_READ_AGAIN = "`loop pull --full`, or import the file again: today's rules read it otherwise."
_SLIPPED = "Look at them: such a span is often an offset that slipped."
_ENCODING = "Fetch the texts again, and read them in the encoding that they have."
_COLUMNS = "Look at the file that they came from: its columns may be swapped."
_MENDS = {
    **dict.fromkeys((CUT_WORDS, MARKS_ALONE, MARK_AT_END), _SLIPPED),
    INCLUSIVE_ENDS: "Add 1 to the ends in the file, if they point at the last character, and import it again.",
    **dict.fromkeys((MISDECODED, LOST_CHARACTERS), _ENCODING),
    **dict.fromkeys((TAGS_IN_TEXT, ONE_WORD, NUMBER_ALONE), _COLUMNS),
    OTHER_CASE: "Map the label: [label_map] in loop.toml, and pull or import again.",
    SAME_TEXT: "Decide on one annotation of the text, and mark it as ground truth.",
    NEVER_USED: "Label some texts with it, or take it out of the label config.",
    UNKNOWN_CONTROL: "Nothing, if the file was read as it was meant; else name the control as the label config does.",
}


@dataclass(frozen=True)
class Sample:
    """One of the texts that a finding touches, by its external id (empty for a finding about no text)."""

    document: str
    shown: str


@dataclass(frozen=True)
class DataFinding:
    """What was looked for, in how many labelled texts it was found, and what to do."""

    name: str
    state: State
    documents: int
    examples: tuple[Sample, ...]
    mend: str


@dataclass(frozen=True)
class DataAudit:
    """Labelled texts, those of them that are gold, those in doubt, and what was found."""

    labelled: int
    gold: int
    doubts: Doubts
    findings: tuple[DataFinding, ...]


def audit(store: Store, project: Project) -> DataAudit:
    """Look through the labelled texts of a project, from one snapshot."""
    notes = _Notes()
    with store.read() as session:
        found = labelled(session, project.id)
        reasons = set_aside_of(session, found.doubtful)
        config = LabelConfig.parse(project.label_config)
        for row in _results(session, found):
            _note_result(notes, row, config, project.label_map)
    doubts = counted(reasons.values())
    _note_doubts(notes, found.doubtful, reasons)
    _note_cases(notes, found, reasons, project.labels)
    _note_suspicions(notes, found.gold)
    _note_same_texts(notes, found.gold)
    used = {span.label for item in found.gold for span in item.spans}
    unused = [label for label in project.labels if label not in used]
    mends = {IN_DOUBT + reason: _mend_of(reason, doubts, project.labels) for reason in doubts.by_reason}
    findings = [*notes.findings(mends), _never_used(unused)]
    return DataAudit(len(found.gold) + len(found.doubtful), len(found.gold), doubts, tuple(findings))


@dataclass
class _Notes:
    """The texts by finding, each text once, with the first examples."""

    touched: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, document: str, shown: Iterable[str]) -> None:
        """Note a text, with what stands there; nothing where nothing is shown."""
        words = ", ".join(dict.fromkeys(shown))
        if not words:
            return
        self.touched[name] += 1
        if len(self.examples[name]) < _EXAMPLES:
            self.examples[name].append(Sample(document, words))

    def findings(self, mends_of_doubts: Mapping[str, str]) -> Iterator[DataFinding]:
        """What was looked for in every project, and then each reason for doubts that was found."""
        reasons = sorted(name for name in self.touched if name not in _MENDS)
        for name in (*SUSPICIONS, OTHER_CASE, SAME_TEXT, UNKNOWN_CONTROL, *reasons):
            todo = _MENDS.get(name) or mends_of_doubts.get(name, _READ_AGAIN)
            touched = self.touched[name]
            yield DataFinding(name, "warn", touched, tuple(self.examples[name]), todo) if touched else _nothing(name)


def _mend_of(reason: str, doubts: Doubts, types: Sequence[str]) -> str:
    """The line of the map mends nothing but labels."""
    return mend(doubts if reason == OUTSIDE_CONFIG else Doubts(), types)


def _nothing(name: str) -> DataFinding:
    return DataFinding(name, "ok", 0, (), "")


def _never_used(labels: Sequence[str]) -> DataFinding:
    if not labels:
        return _nothing(NEVER_USED)
    return DataFinding(NEVER_USED, "warn", 0, (Sample("", ", ".join(labels)),), _MENDS[NEVER_USED])


def _note_doubts(
    notes: _Notes, documents: Sequence[DoubtfulDocument], reasons: Mapping[int, Sequence[NotLearned]]
) -> None:
    for item in documents:
        by_reason: dict[str, list[str]] = defaultdict(list)
        for doubt in reasons[item.document_id]:
            by_reason[doubt.reason].append(_shown(doubt.payload))
        for reason, shown in by_reason.items():
            notes.add(IN_DOUBT + reason, item.external_id, shown)


def _note_cases(
    notes: _Notes, found: Labelled, reasons: Mapping[int, Sequence[NotLearned]], types: Sequence[str]
) -> None:
    """Labels of doubts that the config spells otherwise, and types of the config that another type spells otherwise."""
    spelled = {name.casefold(): name for name in reversed(types)}

    def differing(labels: Iterable[str]) -> list[str]:
        written = ((label, spelled.get(label.casefold(), label)) for label in sorted(set(labels)))
        return [f"{label} for {name}" for label, name in written if label != name]

    for doubtful in found.doubtful:
        labels = [label for doubt in reasons[doubtful.document_id] for label in labels_of(doubt.payload)]
        notes.add(OTHER_CASE, doubtful.external_id, differing(labels))
    for item in found.gold:
        notes.add(OTHER_CASE, item.external_id, differing(span.label for span in item.spans))


def _note_suspicions(notes: _Notes, documents: Iterable[GoldDocument]) -> None:
    for item in documents:
        for what, words in suspicions(item.text, item.spans):
            notes.add(what, item.external_id, [words])


def _note_same_texts(notes: _Notes, documents: Iterable[GoldDocument]) -> None:
    alike: dict[str, list[GoldDocument]] = defaultdict(list)
    for item in documents:
        alike[item.content_hash].append(item)
    for group in alike.values():
        if len({frozenset((span.start, span.end, span.label) for span in item.spans) for item in group}) > 1:
            for item in group:
                notes.add(SAME_TEXT, item.external_id, [f"{len(item.spans)} spans: {_quoted(item.text)}"])


@dataclass(frozen=True, slots=True)
class _Result:
    """The raw regions of a believed annotation. `doubted`: they are known to be in doubt."""

    external_id: str
    text: str
    result: list[dict[str, Any]]
    doubted: bool


def _results(session: Session, found: Labelled) -> Iterator[_Result]:
    doubted = {item.annotation_version_id for item in found.doubtful}
    version = AnnotationVersion
    query = select(version.id, Document.external_id, Document.text, version.result)
    query = query.join(Document, Document.id == version.document_id).order_by(version.id)
    ids = sorted(doubted | {item.annotation_version_id for item in found.gold})
    for key, external_id, text, result in select_in(session, query, version.id, ids):
        yield _Result(external_id, text, result, key in doubted)


def _note_result(notes: _Notes, row: _Result, config: LabelConfig, label_map: Mapping[str, str] | None) -> None:
    """Control names that the config does not have; and, of gold, what would be in doubt if it were read today."""
    unknown = dict.fromkeys(_pair(region) for region in row.result if _is_of_unknown_control(region, config))
    notes.add(UNKNOWN_CONTROL, row.external_id, (f"{name} over {over}" for name, over in unknown))
    if row.doubted:
        return
    for name, over in unknown:
        config = config.with_control(name, over)
    read = read_result(row.result, row.text, config, label_map, unit_of_result(row.result, row.text, config))
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item in read.set_aside:
        if item.reason in DOUBTS:
            by_reason[item.reason].append(_shown(item.payload))
    for reason, shown in by_reason.items():
        notes.add(WOULD_BE + reason, row.external_id, shown)


def _is_of_unknown_control(region: Mapping[str, Any], config: LabelConfig) -> bool:
    name, over = region.get("from_name"), region.get("to_name")
    if not isinstance(name, str) or not isinstance(over, str) or region.get("type") != "labels":
        return False
    return not config.accepts(name, over) and not config.knows(name, over)


def _pair(region: Mapping[str, Any]) -> tuple[str, str]:
    return region["from_name"], region["to_name"]


def _shown(region: Any) -> str:
    """A region as people recognise it: its labels, its offsets and its words, as far as it has them."""
    value = region.get("value") if isinstance(region, dict) else None
    if not isinstance(value, dict):
        return _quoted(str(region))
    offsets = f"{value['start']}-{value['end']}" if {"start", "end"} <= value.keys() else ""
    words = _quoted(value["text"]) if isinstance(value.get("text"), str) else ""
    return " ".join(filter(None, (" ".join(labels_of(region)), offsets, words))) or _quoted(str(value))


def _quoted(words: str) -> str:
    short = words if len(words) <= _WORDS_SHOWN else words[: _WORDS_SHOWN - 1] + "…"
    return f'"{" ".join(short.split())}"'

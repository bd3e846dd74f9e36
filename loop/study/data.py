"""What a study learns from and is judged on: labelled texts of files, without a project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from loop.files.audit import believed
from loop.files.formats.known import AUTO
from loop.files.importing import SHOWN_PROBLEMS, RejectedFileError, skipped
from loop.files.raw.inputs import Input, open_inputs
from loop.files.reading import survey_of_any_labels
from loop.files.records import FileHints, Problem
from loop.training.dataset import TrainingDocument, development_salt, split
from loop.wording import listed, number_of
from ner.documents import LabelledText, content_hash
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import flat_spans

LEAST_TEXTS, MOST_UNLABELLED = 2, 5000


@dataclass(frozen=True, slots=True)
class StudyTexts:
    """The texts of a study. Those to judge by share no text and no group with the others.

    unlabelled: texts that nobody labelled, which a student reads as its teacher does. said: what was left out, a
    sentence each.
    """

    train: tuple[TrainingDocument, ...]
    dev: tuple[TrainingDocument, ...]
    labels: LabelSet
    unlabelled: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    def counts(self, documents: Iterable[TrainingDocument]) -> Counter[str]:
        """How many entities of each type the documents hold."""
        return Counter(span.label for document in documents for span in document.spans)


@dataclass(frozen=True, slots=True)
class HowToRead:
    """How the files of a study are read: the name of a format, or "auto"; hints; whether bad records are left out."""

    file_format: str = AUTO
    hints: FileHints = field(default_factory=FileHints)
    skip_bad: bool = False


def read_texts(
    data: Sequence[Path], dev: Path | None, *, share: float, labels: Sequence[str], seed: int, how: HowToRead
) -> StudyTexts:
    """The texts of a study.

    dev: a file to judge by; else `share` of the groups of `data` is held back, the same groups for the same seed.
    labels: what is learned; spans of other labels are no entities. Empty for every label of the files. Raises
    InputError where a file cannot be read, or where the files hold too little to learn from or to judge by.
    """
    gold = _read(data, how)
    judged = _read([dev], how) if dev is not None else _Gold()
    said = [*gold.said, *judged.said]
    if judged.unlabelled:
        said.append(f"{number_of(len(judged.unlabelled), 'text')} to judge by left out: without labels.")
    found = tuple(sorted({span.label for text in (*gold.texts, *judged.texts) for span in text.spans}))
    known = LabelSet(tuple(labels) or found)
    distinct = _distinct(gold.texts, said)
    documents = [_document(place, text) for place, text in enumerate((*distinct, *judged.texts))]
    documents = list(_of_labels(documents, known, said))
    learned, kept = documents[: len(distinct)], tuple(documents[len(distinct) :])
    if dev is None:
        _check(learned, "in all", 2 * LEAST_TEXTS)
        train, kept = split(learned, share, development_salt(seed))
    else:
        train = _apart(learned, kept, said)
    _check(train, "to learn from", LEAST_TEXTS)
    _check(kept, "to judge by", 1)
    learned_types = {span.label for document in train for span in document.spans}
    if never := [name for name in known.types if name not in learned_types]:
        said.append(f"No example of {listed(never)} to learn from: no variant can find such entities.")
    return StudyTexts(train, kept, known, tuple(_unlabelled(gold.unlabelled, (*train, *kept), kept)), tuple(said))


@dataclass(frozen=True, slots=True)
class _Gold:
    """What files say: texts with labels, texts without, and what people should know."""

    texts: list[LabelledText] = field(default_factory=list)
    unlabelled: list[LabelledText] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def _read(paths: Sequence[Path], how: HowToRead) -> _Gold:
    """Raises InputError unless there is an entity in a file."""
    gold = _Gold()
    for path in paths:
        problems: list[Problem] = []
        with open_inputs(path) as files:
            for file in files:
                gold.said.extend(_gather(file, how, gold, problems))
        if problems and not how.skip_bad:
            raise RejectedFileError(path.name, problems[:SHOWN_PROBLEMS], len(problems))
        gold.said.extend(skipped(path.name, problems))
    if not any(text.spans for text in gold.texts):
        names = listed([path.name for path in paths])
        counts = f"{number_of(len(gold.texts), 'labelled text')} and {len(gold.unlabelled)} without labels"
        found = f"none in {names}: {counts}"
        step = " ".join([*gold.said, "Check that the texts are labelled."])
        raise InputError("texts to study hold entities", value=found, next_step=step)
    return gold


def _gather(file: Input, how: HowToRead, gold: _Gold, problems: list[Problem]) -> Iterator[str]:
    """Add the texts and problems of one file; yields what to say of the file."""
    reading = survey_of_any_labels(file, how.file_format, how.hints)
    doubtful = 0
    for record in reading.records():
        if isinstance(record, Problem):
            problems.append(record)
            continue
        decisive = believed(record)
        if decisive is not None and decisive.spans is None:
            doubtful += 1
            continue
        spans = flat_spans(record.text, (decisive and decisive.spans) or ())
        side = gold.unlabelled if decisive is None else gold.texts
        side.append(LabelledText(record.external_id or record.where, record.text, spans, record.group))
    yield from reading.said
    if doubtful:
        yield f"{file.name}: {number_of(doubtful, 'text')} in doubt left out; `loop import --dry-run` shows why."


def _document(place: int, text: LabelledText) -> TrainingDocument:
    return TrainingDocument(place, content_hash(text.text), text.group_key, text.text, text.spans)


def _distinct(texts: Sequence[LabelledText], said: list[str]) -> list[LabelledText]:
    """Each text once, as `loop import` takes texts: the first counts."""
    first: dict[str, LabelledText] = {}
    for text in texts:
        first.setdefault(text.text, text)
    if len(first) < len(texts):
        said.append(f"{number_of(len(texts) - len(first), 'repeated text')} left out of the training.")
    return list(first.values())


def _of_labels(documents: Iterable[TrainingDocument], labels: LabelSet, said: list[str]) -> Iterator[TrainingDocument]:
    """The documents with the spans whose label is one of `labels`."""
    others: Counter[str] = Counter()
    for document in documents:
        others.update(span.label for span in document.spans if span.label not in labels.types)
        yield replace(document, spans=tuple(span for span in document.spans if span.label in labels.types))
    if others:
        names = listed([name for name, _ in others.most_common()])
        said.append(f"{number_of(others.total(), 'span')} of other labels count as no entity: {names}.")


def _apart(
    train: Sequence[TrainingDocument], dev: Sequence[TrainingDocument], said: list[str]
) -> tuple[TrainingDocument, ...]:
    """The texts to learn from that share neither text nor group with the texts to judge by."""
    texts, groups = {one.content_hash for one in dev}, {one.group_key for one in dev}
    kept = tuple(one for one in train if one.content_hash not in texts and one.group_key not in groups)
    if len(kept) < len(train):
        left_out = number_of(len(train) - len(kept), "text")
        said.append(f"{left_out} left out of the training: the text or its group is judged by.")
    return kept


def _unlabelled(
    texts: Iterable[LabelledText], known: Iterable[TrainingDocument], dev: Iterable[TrainingDocument]
) -> list[str]:
    """At most MOST_UNLABELLED texts that are not among the known ones and share no group with those to judge by."""
    hashes, groups = {one.content_hash for one in known}, {one.group_key for one in dev}
    left = {content_hash(text.text): text.text for text in texts if text.group_key not in groups}
    return [left[name] for name in sorted(left.keys() - hashes)[:MOST_UNLABELLED]]  # by hash: as good as at random


def _check(documents: Sequence[TrainingDocument], what: str, least: int) -> None:
    with_entities = sum(bool(document.spans) for document in documents)
    if len(documents) < least or not with_entities:
        raise InputError(
            f"a study has {number_of(least, 'text')} or more {what}, and an entity in one of them",
            value=f"{number_of(len(documents), 'text')}, {with_entities} with entities",
            next_step="Label more texts, check --labels, or give --dev a file of texts that are not learned from.",
        )

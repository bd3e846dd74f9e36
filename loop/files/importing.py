"""`loop import`: store the records of a file, and none of them twice.

A file is checked whole before anything of it is stored. It is stored batch by batch, so that annotators, pulls and
trainings do not wait for a big file. An import that was cut short is completed by the same import again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from sqlalchemy.orm import Session

from loop.files.checking import LabelRule, check_record
from loop.files.formats import AUTO, find_format, format_named, open_input, read_records
from loop.files.record_ids import settle_ids
from loop.files.records import Problem, Record, Source
from ner.errors import InputError
from ner.label_studio import OVERLAPS, LabelConfig, NotLearned, read_result, to_result
from ner.spans import Span, drop_overlaps
from store.annotations import FILE, NewAnnotation, NewSetAside, append_annotations, save_set_aside
from store.documents import AddedCounts, NewDocument, add_documents, revive_documents
from store.schema import Project
from store.session import Store, Transaction
from store.votes import StoredVote, replace_votes, votes

BATCH = 1000
SHOWN_PROBLEMS = 5
GOLD = "gold"
IMPORTED_VOTE = "import"  # in the place of a function's digest
_ADVICE = "Correct them, or set them aside with --skip-bad"


class RejectedFileError(InputError):
    """A file holds records that break a rule, and nothing of it was taken. `problems` are the first of them."""

    def __init__(self, name: str, problems: list[Problem], count: int, advice: str = _ADVICE) -> None:
        self.problems = tuple(problems)
        shown = "\n".join(f"  {name}, {problem.where}: {problem.error}" for problem in problems)
        more = f"\n  ... and {count - len(problems)} more" if count > len(problems) else ""
        super().__init__(
            "every record of a file obeys the rules, or nothing of it is taken",
            value=f"{count} that do not",
            next_step=f"{advice}:\n{shown}{more}",
        )


@dataclass(frozen=True)
class Imported:
    """What became of a file. `labelled`: annotations that were new or changed. `unchanged`: annotations known before.

    `splits`: documents added, by split. `kept_elsewhere`: known documents that stay in another split than the one asked
    for. `not_held_out`: documents asked into the holdout on which a model was trained. `dropped_labels`: spans that the
    label map drops, by label. `set_aside`: records (with --skip-bad) and regions, by reason. `revived`: known documents
    whose task was deleted in Label Studio; they are live again, without a task, since the file brings labels for them.
    """

    file: str
    format: str
    records: int = 0
    added: int = 0
    known: int = 0
    labelled: int = 0
    unchanged: int = 0
    votes: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    kept_elsewhere: int = 0
    not_held_out: int = 0
    revived: int = 0
    dropped_labels: Mapping[str, int] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)


def import_file(
    store: Store,
    project: Project,
    path: Path,
    split: str,
    *,
    file_format: str = AUTO,
    label_map: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Store the records of a file; known documents and unchanged annotations add nothing.

    A record with spans becomes a ground-truth annotation. With `skip_bad` the records that break a rule are set
    aside in the store with their reason. Without it they raise RejectedFileError, which names the first five by line,
    before anything is stored.
    """
    config = LabelConfig.parse(project.label_config)
    source = Source(path.stem, config.data_field)
    with open_input(path) as stream:
        chosen = find_format(path, stream) if file_format == AUTO else format_named(file_format)

        def begin() -> tuple[_Import, Iterator[list[Record | Problem]]]:
            stream.seek(0)
            work = _Import(project, config, LabelRule(tuple(project.labels), label_map), split, path.name)
            return work, _batches(work.checked(read_records(stream, chosen, source)))

        if not skip_bad:
            _refuse_bad(store, *begin())
        work, batches = begin()
        for batch in batches:
            with store.transaction() as tx:
                work.store(tx, work.settled(tx.session, batch), skip_bad)
                tx.commit()
            progress(work.records)
        with store.transaction() as tx:
            work.finish(tx)
            tx.commit()
    return work.result(chosen.name)


def _refuse_bad(store: Store, work: _Import, batches: Iterable[list[Record | Problem]]) -> None:
    """Read the file to its end without storing anything; raises RejectedFileError for what breaks a rule in it."""
    for batch in batches:
        with store.read() as session:
            work.settled(session, batch)
    work.check_good()


@dataclass
class _Import:
    """One file on its way into the store."""

    project: Project
    config: LabelConfig
    rule: LabelRule
    split: str
    name: str
    records: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    votes: dict[str, list[StoredVote]] = field(default_factory=dict)

    def checked(self, records: Iterable[Record | Problem]) -> Iterator[Record | Problem]:
        """The records that obey the rules, in the project's labels; a Problem in the place of any other record."""
        for record in records:
            self.records += 1
            yield self._check(record)

    def settled(self, session: Session, batch: list[Record | Problem]) -> list[Record | Problem]:
        """The batch under ids that name no other text in the store; what breaks a rule is counted."""
        settled = settle_ids(session, self.project.id, batch)
        problems = [item for item in settled if isinstance(item, Problem)]
        self.problem_count += len(problems)
        self.problems += problems[: SHOWN_PROBLEMS - len(self.problems)]
        return settled

    def store(self, tx: Transaction, batch: list[Record | Problem], skip_bad: bool) -> None:
        """The good records of a batch as documents, annotations and votes; the bad ones set aside or refused."""
        if not skip_bad:
            self.check_good()
        good = [item for item in batch if isinstance(item, Record)]
        added = add_documents(tx, self.project.id, map(_document, good), self.split)
        annotations = [
            (document, annotation)
            for document, record in zip(added.document_ids, good, strict=True)
            for annotation in self._annotations(record)
        ]
        appended = append_annotations(tx, annotations)
        self.reasons.update(item.reason for _, annotation in annotations for item in annotation.set_aside)
        labelled = {document for document, _ in annotations}
        self.counts["revived"] += revive_documents(tx, self.project.id, labelled)
        self._count(added, appended.added, appended.unchanged)
        self._gather_votes(zip(added.document_ids, good, strict=True))
        self._set_aside(tx, [item for item in batch if isinstance(item, Problem)])

    def check_good(self) -> None:
        """Raise RejectedFileError when anything so far breaks a rule."""
        if self.problem_count:
            raise RejectedFileError(self.name, self.problems, self.problem_count)

    def finish(self, tx: Transaction) -> None:
        """Store the votes; InputError for a file that holds nothing."""
        if not self.records:
            raise InputError("a file to import holds a record", value=self.name, next_step="Check the file.")
        if self.votes:
            replace_votes(tx, self.project.id, self._merged_votes(tx))

    def result(self, file_format: str) -> Imported:
        """The counts so far."""
        return Imported(
            file=self.name,
            format=file_format,
            records=self.records,
            votes=sum(map(len, self.votes.values())),
            splits=dict(self.splits),
            dropped_labels=dict(self.rule.dropped),
            set_aside=dict(self.reasons),
            **self.counts,
        )

    def _check(self, record: Record | Problem) -> Record | Problem:
        if isinstance(record, Problem):
            return record
        try:
            checked = check_record(record, self.rule)
        except InputError as error:
            return Problem(record.where, error, record.text)
        self.rule.count_dropped(record)
        return checked

    def _annotations(self, record: Record) -> Iterator[NewAnnotation]:
        if record.spans is not None:
            yield self._gold(record.spans, record.text)
        for annotation in record.annotations:
            # By the same rules as an annotation that is pulled.
            read = read_result(annotation.result, record.text, self.config, self.rule.label_map)
            regions = [region for region in annotation.result if isinstance(region, dict)]
            yield replace(annotation, result=regions, spans=read.spans, set_aside=read.set_aside)

    def _gold(self, spans: tuple[Span, ...], text: str) -> NewAnnotation:
        """All spans as they came. Of overlapping spans the longest is learned from, and the rest is set aside."""
        kept, dropped = drop_overlaps(spans)
        aside = [NotLearned(OVERLAPS, region) for region in to_result(dropped, text, self.config)]
        result = to_result(spans, text, self.config)
        return NewAnnotation(FILE, GOLD, result, kept, ground_truth=True, set_aside=aside)

    def _count(self, added: AddedCounts, labelled: int, unchanged: int) -> None:
        self.counts.update(
            added=added.added,
            known=added.known,
            labelled=labelled,
            unchanged=unchanged,
            kept_elsewhere=len(added.kept_elsewhere),
            not_held_out=len(added.not_held_out),
        )
        self.splits.update(added.splits)

    def _gather_votes(self, stored: Iterable[tuple[int, Record]]) -> None:
        for document, record in stored:
            for vote in record.votes:
                self.votes.setdefault(vote.source, []).append(
                    StoredVote(document, vote.source, vote.span, IMPORTED_VOTE)
                )

    def _merged_votes(self, tx: Transaction) -> dict[str, list[StoredVote]]:
        """All votes of the file's sources: on its documents the new votes, on any other document the stored votes."""
        merged = {}
        for source, new in self.votes.items():
            voted = {vote.document_id for vote in new}
            kept = [vote for vote in votes(tx.session, self.project.id, source) if vote.document_id not in voted]
            merged[source] = kept + new
        return merged

    def _set_aside(self, tx: Transaction, problems: list[Problem]) -> None:
        if not problems:
            return
        items = [NewSetAside(f"{self.name}, {item.where}", item.error.rule, item.payload) for item in problems]
        save_set_aside(tx, self.project.id, items)
        self.reasons.update(item.reason for item in items)


def _document(record: Record) -> NewDocument:
    return NewDocument(record.text, record.external_id, record.group, record.meta)


def _batches(records: Iterable[Record | Problem]) -> Iterator[list[Record | Problem]]:
    remaining = iter(records)
    while batch := list(islice(remaining, BATCH)):
        yield batch

"""`loop import`: store the records of a file, and none of them twice.

A file is checked whole before anything of it is stored. It is stored batch by batch, so that annotators, pulls and
trainings do not wait for a big file. An import that was cut short is completed by the same import again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from sqlalchemy.orm import Session

from loop.files.audit import Audit, Auditor, believed
from loop.files.reading import Reading, Request, open_readings
from loop.files.record_ids import by_text, settle_ids
from loop.files.records import Problem, Record
from loop.files.seen import Seen
from ner.errors import InputError
from store.annotations import AppendCounts, NewSetAside, append_annotations, save_set_aside
from store.database.schema import POOL, Project
from store.database.session import Store, Transaction
from store.documents import AddedCounts, NewDocument, add_documents, revive_documents
from store.weak.votes import StoredVote, replace_votes, votes

BATCH = 1000
SHOWN_PROBLEMS = 5
IMPORTED_VOTE = "import"  # in the place of a function's digest


class RejectedFileError(InputError):
    """A file holds records that break a rule, and nothing of it was taken. `problems` are the first of them."""

    def __init__(self, name: str, problems: list[Problem], count: int) -> None:
        self.problems = tuple(problems)
        shown = "\n".join(f"  {name}, {problem.where}: {problem.error}" for problem in problems)
        more = f"\n  ... and {count - len(problems)} more" if count > len(problems) else ""
        super().__init__(
            "every record of a file obeys the rules, or nothing of it is taken",
            value=f"{count} that do not",
            next_step=f"Correct them, or set them aside with --skip-bad:\n{shown}{more}",
        )


def skipped(name: str, problems: Sequence[Problem]) -> list[str]:
    """What is said of the records that --skip-bad leaves out of a file: how many, and the first of them."""
    if not problems:
        return []
    records = "1 record that breaks" if len(problems) == 1 else f"{len(problems):,} records that break"
    return [f"Left out: {records} a rule. {name}, {problems[0].where}: {problems[0].error}"]


@dataclass(frozen=True)
class Imported:
    """What became of a file. `labelled`: annotations that were new or changed. `unchanged`: annotations known before.

    replaced: of those labelled, the ones that an earlier import had labelled otherwise. said: what was recognised of
    the file as a whole, a sentence each. audit: what the file says, and what of it was understood. splits: documents
    added, by split. kept_elsewhere: known documents that stay in another split than the one asked for. not_held_out:
    documents asked into the holdout on which a model was trained. set_aside: records (with --skip-bad) and regions, by
    reason. revived: known documents whose task was deleted in Label Studio; they are live again, without a task, since
    the file brings labels for them. bad: records and votes that break a rule. problems: the first of these, each with
    its place and what is wrong. sources: votes by source. dry_run: nothing was stored.
    """

    file: str
    format: str
    said: tuple[str, ...]
    audit: Audit
    records: int = 0
    added: int = 0
    known: int = 0
    labelled: int = 0
    replaced: int = 0
    unchanged: int = 0
    votes: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    kept_elsewhere: int = 0
    not_held_out: int = 0
    revived: int = 0
    set_aside: Mapping[str, int] = field(default_factory=dict)
    bad: int = 0
    problems: tuple[str, ...] = ()
    dry_run: bool = False


def import_file(
    store: Store,
    project: Project,
    path: Path,
    split: str,
    request: Request,
    *,
    skip_bad: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Imported]:
    """Store the records of a file, or of each file of an archive.

    Known documents and unchanged annotations add nothing. A labelled record becomes a ground-truth annotation. With
    `skip_bad` the records that break a rule are set aside in the store with their reason. Without it they raise
    RejectedFileError, which names the first five by their place, before anything is stored. With `dry_run` nothing is
    stored, and bad records are counted as with `skip_bad`.
    """
    with open_readings(path, request) as readings:
        for reading in readings:
            _check_split(reading, split)
        if not skip_bad and not dry_run:
            for work in _imports(project, readings, split, audited=False):
                _check(store, work).check_good()
        works = _imports(project, readings, split)
        if dry_run:
            return [_check(store, work).result(dry_run=True) for work in works]
        return [_store(store, work, skip_bad, progress) for work in works]


def import_votes(
    store: Store,
    project: Project,
    path: Path,
    split: str,
    request: Request,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Imported]:
    """Store the votes of a file, or of each file of an archive, on the texts that they are about.

    A record is about the document of its id and text, else about every document with its text. A text that is not in
    the store becomes a document of `split`. On the documents of the file, the votes of the file's sources take the
    place of what these sources said before. A vote or a record that breaks a rule is left out and counted in `bad`. The
    entities that people marked in the file are read only where the request says so (`Request.gold`). Raises InputError
    for a file without `weak`.
    """
    with open_readings(path, replace(request, each_vote=True)) as readings:
        for reading in readings:
            _check_votes(reading)
        works = (_Import(project, reading, split, every_text=True) for reading in readings)
        if dry_run:
            return [_tried(store, work) for work in works]
        return [_store(store, work, True, progress) for work in works]


def _check_votes(reading: Reading) -> None:
    if not any(isinstance(record, Problem) or record.votes is not None for record in reading.records()):
        raise InputError(
            "a record of votes has `weak`: [{start, end, label, source}]",
            value=f"{reading.name}, in which no record has it",
            next_step="Import texts without votes by `loop import`.",
        )


def _imports(project: Project, readings: Sequence[Reading], split: str, *, audited: bool = True) -> Iterator[_Import]:
    """One import for each file; the files of an archive have to agree on a text that several of them hold."""
    agreed = Seen() if len(readings) > 1 else None
    for reading in readings:
        yield _Import(project, reading, split, audited=audited, agreed=agreed)


def _check_split(reading: Reading, split: str) -> None:
    """Raise InputError for texts that nobody can have labelled in a split of labelled texts."""
    if reading.opened.unlabelled and split != POOL:
        raise InputError(
            f"texts for {split} are labelled",
            value=f"{reading.name}, a file of plain text, which says nothing of entities",
            next_step="Import it with --split pool to have it labelled, or name its format with --format.",
        )


def _check(store: Store, work: _Import) -> _Import:
    """Read the file to its end without storing anything."""
    for batch in work.batches():
        with store.read() as session:
            work.settled(session, batch)
    work.check_not_empty()
    return work


def _tried(store: Store, work: _Import) -> Imported:
    """What storing the file would count; the one transaction of it is rolled back."""
    with store.transaction() as tx:
        for batch in work.batches():
            work.store(tx, work.settled(tx.session, batch), True)
        work.check_not_empty()
        work.finish(tx)
    return work.result(dry_run=True)


def _store(store: Store, work: _Import, skip_bad: bool, progress: Callable[[int], None]) -> Imported:
    for batch in work.batches():
        with store.transaction() as tx:
            work.store(tx, work.settled(tx.session, batch), skip_bad)
            tx.commit()
        progress(work.records)
    work.check_not_empty()
    with store.transaction() as tx:
        work.finish(tx)
        tx.commit()
    return work.result()


@dataclass
class _Import:
    """One file on its way into the store.

    audited: whether its records are counted for the table that is shown. agreed: of each text of an archive, the file
    that labelled it first, and its entities there, or null where the text is in doubt there; None for a file of its
    own. every_text: whether a record is about every document with its text, where none of them has its id.
    """

    project: Project
    reading: Reading
    split: str
    audited: bool = True
    agreed: Seen | None = None
    every_text: bool = False
    records: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    votes: dict[str, list[StoredVote]] = field(default_factory=dict)
    voted_on: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.auditor = Auditor(self.reading.rule)

    def batches(self) -> Iterator[list[Record | Problem]]:
        """The records that obey the rules, in the project's labels, and the problems, a thousand at a time."""
        remaining = map(self._agreeing, self.reading.records())
        while batch := list(islice(remaining, BATCH)):
            self.records += len(batch)
            yield batch

    def settled(self, session: Session, batch: list[Record | Problem]) -> list[Record | Problem]:
        """The batch under ids that name no other text in the store; what breaks a rule is counted."""
        known = by_text(session, self.project.id, batch) if self.every_text else batch
        settled = settle_ids(session, self.project.id, known)
        for item in settled:
            if isinstance(item, Problem):
                self._note(item)
                continue
            if self.audited:
                self.auditor.add(item)
            for error in item.bad_votes:
                self._note(Problem(item.where, error, ""))
        return settled

    def _note(self, problem: Problem) -> None:
        self.problem_count += 1
        self.reasons[problem.error.rule] += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(problem)

    def store(self, tx: Transaction, batch: list[Record | Problem], skip_bad: bool) -> None:
        """The good records of a batch as documents, annotations and votes; the bad ones set aside or refused."""
        if not skip_bad:
            self.check_good()
        good = [item for item in batch if isinstance(item, Record)]
        added = add_documents(tx, self.project.id, map(_document, good), self.split)
        stored = list(zip(added.document_ids, good, strict=True))
        annotations = [(document, one) for document, record in stored for one in record.annotations]
        appended = append_annotations(tx, annotations)
        labelled = {document for document, _ in annotations}
        self.counts["revived"] += revive_documents(tx, self.project.id, labelled)
        self._count(added, appended)
        self._gather_votes(stored)
        self._set_aside(tx, stored, [item for item in batch if isinstance(item, Problem)])

    def check_good(self) -> None:
        """Raise RejectedFileError when anything so far breaks a rule."""
        if self.problem_count:
            raise RejectedFileError(self.reading.name, self.problems, self.problem_count)

    def check_not_empty(self) -> None:
        """Raise InputError for a file that holds nothing."""
        if not self.records:
            raise InputError("a file to import holds a record", value=self.reading.name, next_step="Check the file.")

    def finish(self, tx: Transaction) -> None:
        """Store the votes."""
        self._leave_taken_names_out(tx)
        if self.votes:
            replace_votes(tx, self.project.id, self._merged_votes(tx))

    def result(self, *, dry_run: bool = False) -> Imported:
        """The counts so far."""
        audit = self.auditor.result()
        return Imported(
            file=self.reading.name,
            format=self.reading.format,
            said=self.reading.said,
            audit=audit,
            records=self.records,
            votes=sum(map(len, self.votes.values())),
            sources={source: len(votes) for source, votes in sorted(self.votes.items())},
            splits=dict(self.splits),
            set_aside=dict(self.reasons + Counter(audit.set_aside)),
            bad=self.problem_count,
            problems=tuple(f"{one.where}: {one.error}" for one in self.problems),
            dry_run=dry_run,
            **self.counts,
        )

    def _agreeing(self, record: Record | Problem) -> Record | Problem:
        """The record; a problem where an earlier file of the archive says other entities of the same text.

        doccano packs a file for each person, and writes an empty list for what a person did not open.
        """
        said = believed(record) if self.agreed is not None and isinstance(record, Record) else None
        if self.agreed is None or isinstance(record, Problem) or said is None:
            return record
        spans = None if said.spans is None else sorted([span.start, span.end, span.label] for span in set(said.spans))
        place, before = self.agreed.setdefault(record.text, [self.reading.name, spans])
        if place == self.reading.name or before == spans:
            return record
        error = InputError(
            "the files of an archive say the same entities of one text",
            value=f"{_number_of(before)} in {place}, {_number_of(spans)} in {self.reading.name}",
            next_step="Unpack the archive, and import the file that is right.",
        )
        return Problem(record.where, error, record.text)

    def _count(self, added: AddedCounts, appended: AppendCounts) -> None:
        self.counts.update(
            added=added.added,
            known=added.known,
            labelled=appended.added,
            replaced=appended.replaced,
            unchanged=appended.unchanged,
            kept_elsewhere=len(added.kept_elsewhere),
            not_held_out=len(added.not_held_out),
        )
        self.splits.update(added.splits)

    def _gather_votes(self, stored: Iterable[tuple[int, Record]]) -> None:
        for document, record in stored:
            if record.votes is not None:
                self.voted_on.add(document)
            for vote in record.votes or ():
                self.votes.setdefault(vote.source, []).append(
                    StoredVote(document, vote.source, vote.span, IMPORTED_VOTE)
                )

    def _merged_votes(self, tx: Transaction) -> dict[str, list[StoredVote]]:
        """All votes of the file's sources: on its documents the new votes, on any other document the stored votes."""
        merged = {}
        for source, new in self.votes.items():
            stored = votes(tx.session, self.project.id, source)
            merged[source] = [vote for vote in stored if vote.document_id not in self.voted_on] + new
        return merged

    def _leave_taken_names_out(self, tx: Transaction) -> None:
        """Drop the votes under the name of a source that this project asks itself, which would drop them later."""
        for source in self.votes.keys() & _computed(votes(tx.session, self.project.id)):
            error = InputError(
                "votes made elsewhere come from a source with a name of its own",
                value=f"{source}, a source that this project asks itself",
                next_step="Rename the source in the file.",
            )
            for _ in self.votes.pop(source):
                self._note(Problem("its votes", error, ""))

    def _set_aside(self, tx: Transaction, stored: Iterable[tuple[int, Record]], problems: Iterable[Problem]) -> None:
        name = self.reading.name
        items = [
            NewSetAside(f"{name}, {record.where}", item.reason, item.payload, document)
            for document, record in stored
            for item in record.aside
        ]
        items += [NewSetAside(f"{name}, {item.where}", item.error.rule, item.payload) for item in problems]
        if items:
            save_set_aside(tx, self.project.id, items)


def _computed(cast: Iterable[StoredVote]) -> set[str]:
    """The sources of those votes that this project computed itself."""
    return {vote.source for vote in cast if vote.function_digest != IMPORTED_VOTE}


def _document(record: Record) -> NewDocument:
    return NewDocument(record.text, record.external_id, record.group, record.meta)


def _number_of(spans: Sequence[object] | None) -> str:
    return "in doubt" if spans is None else f"{len(spans):,}"

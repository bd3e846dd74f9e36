"""Sources of weak labels are asked about the project's texts, and what they say is stored.

Only what is new is asked: a source about the texts that came after the last one it was asked about, and a source that
changed about all texts. Texts never change and ids rise, so that one number for each source says how far it is. What is
asked is stored in batches, each in a transaction of its own. After a kill the next run goes on behind the last batch.

Every live document is asked about, those of the holdout, too: who learns from votes leaves these out.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TypeGuard

from loop.files.importing import IMPORTED_VOTE
from loop.settings.settings import Settings
from loop.weak.sources import declared_sources
from ner.errors import InputError
from ner.spans import Span
from store.database.columns import utc_now
from store.database.schema import Project, SourceRecord
from store.database.session import Store, Transaction
from store.documents import count_after, extent, groups_after, texts_between, texts_of_groups
from store.weak.sources import (
    SET_ASIDE,
    SourceVotes,
    add_group_votes,
    add_votes,
    enter_source,
    forget_sources,
    set_aside_source,
    weak_sources,
)
from store.weak.votes import StoredVote, count_voted, digests_of_votes, votes_on
from weak_labeling.apply import checked_spans, reason_of
from weak_labeling.loading import LoadedSources
from weak_labeling.source import BatchSource, Fault, NeighbourSource, TellingSource, TextSource, Vote, WeakSource
from weak_labeling.workers import TEXTS_AT_ONCE, AskedBatch, Batch, Workers, batches

logger = logging.getLogger(__name__)

IMPORTED = "import"  # the kind of a source whose votes were made elsewhere
# A source that is asked about many texts at once gets this many; if it fails on all of at least so many, it is down.
_BATCH, _DOWN_FROM = 32, 3
# The service asks a source that was set aside again after this long; a person's command asks it at once.
_ASKED_AGAIN_AFTER = timedelta(hours=1)
_FILES_OF_SOURCES = frozenset({".py", ".toml", ".txt", ".csv", ".tsv", ".json", ".jsonl"})
Answer = tuple[Span, ...] | Fault
Progress = Callable[[int], None]


@dataclass
class AskedSource:
    """What came of asking one source in one run. documents: it was asked about. votes: those that are new.

    faults: documents on which it failed. set_aside: why it was not asked any further; empty: it was.
    told: what the source itself tells of the run, a sentence each.
    """

    name: str
    kind: str
    documents: int = 0
    votes: int = 0
    faults: int = 0
    seconds: float = 0.0
    first_fault: str = ""
    set_aside: str = ""
    told: tuple[str, ...] = ()

    def add(self, said: SourceVotes, documents: int) -> None:
        """One more batch."""
        self.documents += documents
        self.votes += len(said.votes)
        self.faults += len(said.faults)
        self.seconds += said.seconds
        self.first_fault = self.first_fault or (said.faults[0] if said.faults else "")


@dataclass(frozen=True)
class WeaklyLabelled:
    """What one run did. documents: live ones; voted: those of them on which some source votes.

    gone: sources whose votes were deleted, since no file has them any more. problems: what keeps sources from being
    read; while there is one, nothing is deleted.
    """

    documents: int
    voted: int
    sources: tuple[AskedSource, ...]
    gone: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def asked(self) -> int:
        """The largest number of documents that one source was asked about."""
        return max((one.documents for one in self.sources), default=0)

    def complaints(self) -> Iterator[str]:
        """Sentences about what did not work."""
        yield from self.problems
        for one in self.sources:
            if one.set_aside:
                yield f"{one.name} was set aside: {one.set_aside}"
            if one.faults:
                texts = "1 text" if one.faults == 1 else f"{one.faults:,} texts"
                yield f"{one.name} failed on {texts}, first: {one.first_fault}"


@dataclass(frozen=True)
class AskedText:
    """What every source says of one text. faults: why a source said nothing, by source. told: what sources that are
    models tell of it, a sentence each. problems: what keeps sources from being read.
    """

    votes: tuple[Vote, ...]
    faults: Mapping[str, str]
    told: tuple[str, ...]
    problems: tuple[str, ...]


def label_weakly(
    store: Store,
    settings: Settings,
    project: Project,
    declared: LoadedSources | None = None,
    *,
    retry: bool = True,
    progress: Progress | None = None,
) -> WeaklyLabelled:
    """Ask the project's sources about what they were not asked about yet, and store what they say.

    The votes of a source that is gone from the files are deleted; votes that were imported stay. declared: the sources,
    where they are loaded already. retry: also ask sources that were set aside a short while ago. progress: called with
    the number of texts that are done. Raises InputError where no source can be read at all.
    """
    declared = declared or declared_sources(settings, project, store)
    gone = _enter(store, project, declared.sources, forget=not declared.problems)
    run = _Run(store, settings, project, declared.sources, retry, progress or (lambda _: None))
    run.ask_text_sources()
    run.ask_batch_sources()
    run.ask_neighbours()
    with store.read() as session:
        documents, voted = count_after(session, project.id, 0), count_voted(session, project.id)
    return WeaklyLabelled(documents, voted, tuple(run.asked.values()), gone, tuple(map(str, declared.problems)))


def is_up_to_date(store: Store, project: Project, declared: LoadedSources) -> bool:
    """Whether no source has to be asked about anything, and none is gone."""
    with store.read() as session:
        known = {one.name: one for one in weak_sources(session, project.id)}
        behind = any(
            one.name not in known
            or (not is_neighbour_source(one) and known[one.name].digest != one.digest)
            or (not _waits(known[one.name]) and count_after(session, project.id, known[one.name].applied_to))
            for one in declared.sources
        )
    names = {one.name for one in declared.sources}
    gone = not declared.problems and any(one.kind != IMPORTED and one.name not in names for one in known.values())
    return not behind and not gone


def what_sources_stand_on(store: Store, settings: Settings, project: Project) -> Hashable:
    """A value that changes when a source may have to be asked again: with the texts, the labels, the project's files of
    the kinds that sources are made of, and once in the time after which sources that were set aside are asked again.
    """
    with store.read() as session:
        texts = extent(session, project.id)
    near = (path for pattern in ("*", "*/*") for path in settings.home.glob(pattern))
    own = (path for path in (settings.weak_functions, settings.weak_file) if path is not None)
    paths = {*own, *(path for path in near if path.suffix.lower() in _FILES_OF_SOURCES)}
    found = [(path, path.stat()) for path in sorted(paths) if path.exists()]
    files = [(path, stat.st_mtime_ns, stat.st_size) for path, stat in found]
    hour = utc_now().timestamp() // _ASKED_AGAIN_AFTER.total_seconds()
    return texts, tuple(project.labels), tuple(files), hour


def _enter(store: Store, project: Project, sources: Sequence[WeakSource], *, forget: bool) -> tuple[str, ...]:
    """Take in the sources as they are declared now; gives the names of those that are forgotten.

    Sources of imported votes are taken in as well, so that they can be muted.
    """
    names = {one.name for one in sources}
    with store.transaction() as tx:
        imported = enter_imported(tx, project, names)
        known = {one.name for one in weak_sources(tx.session, project.id)}
        known |= digests_of_votes(tx.session, project.id).keys()
        gone = sorted(known - names - imported) if forget else []
        forget_sources(tx, project.id, gone)
        for one in sources:
            if not is_neighbour_source(one):
                enter_source(tx, project.id, one.name, one.kind, one.digest)
        tx.commit()
    return tuple(gone)


def enter_imported(tx: Transaction, project: Project, declared: Collection[str] = ()) -> set[str]:
    """Take in the sources whose votes were all imported, so that they can be muted; gives their names.

    declared: names that the project's files have, which are no imported sources.
    """
    cast = digests_of_votes(tx.session, project.id)
    imported = {name for name, digests in cast.items() if digests.keys() == {IMPORTED_VOTE} and name not in declared}
    for name in sorted(imported):
        enter_source(tx, project.id, name, IMPORTED, IMPORTED_VOTE)
    return imported


@dataclass
class _Run:
    store: Store
    settings: Settings
    project: Project
    sources: Sequence[WeakSource]
    retry: bool
    progress: Progress
    asked: dict[str, AskedSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.asked = {one.name: AskedSource(one.name, one.kind) for one in self.sources}

    def ask_text_sources(self) -> None:
        """Ask the sources that read a text by itself, in processes of their own."""
        sources = [one for one in self.sources if is_text_source(one)]
        starts = self._starts(sources)
        sources = [one for one in sources if one.name in starts]
        if not sources:
            return
        with self.store.read() as session:
            number = count_after(session, self.project.id, min(starts.values()))
        processes = max(1, min(_cores(), math.ceil(number / TEXTS_AT_ONCE)))
        limit = self.settings.weak.seconds_per_text
        given = self._batches([starts[one.name] for one in sources]) if number else ()
        with Workers(sources, self.project.labels, number=processes, limit=limit) as workers:
            done = 0
            for batch in workers.ask(given):
                self._take(sources, batch)
                done += len(batch.texts)
                self.progress(done)

    def _batches(self, starts: Sequence[int]) -> Iterator[Batch]:
        """Every text with the places of the sources that are still to be asked about it."""
        bounds: list[int | None] = [*sorted(set(starts)), None]
        for after, up_to in pairwise(bounds):
            assert after is not None
            places = tuple(place for place, start in enumerate(starts) if start <= after)
            yield from batches(self._texts(after, up_to), places)

    def _texts(self, after: int, up_to: int | None = None, number: int = TEXTS_AT_ONCE) -> Iterator[tuple[int, str]]:
        """(id, text) of the live documents in between, in order of id; only a page of them is in memory."""
        while True:
            with self.store.read() as session:
                page = texts_between(session, self.project.id, after, up_to, number=number)
            yield from page
            if len(page) < number:
                return
            after = page[-1][0]

    def _take(self, sources: Sequence[TextSource], batch: AskedBatch) -> None:
        for place, reason in batch.set_aside.items():
            self._set_aside(sources[place], reason)
        documents = [document for document, _ in batch.texts]
        self._keep(
            documents,
            {
                sources[place].name: said_of(sources[place], documents, given.answers, given.seconds)
                for place, given in batch.answers.items()
            },
        )

    def _keep(self, documents: Sequence[int], said: Mapping[str, SourceVotes]) -> None:
        """Store it. What a source says after a batch that it did not finish is not kept: it is asked again."""
        kept = [one for name, one in said.items() if not self.asked[name].set_aside]
        if not kept:
            return
        with self.store.transaction() as tx:
            add_votes(tx, self.project.id, documents, kept)
            tx.commit()
        for one in kept:
            self.asked[one.name].add(one, len(documents))

    def _set_aside(self, source: WeakSource, reason: str) -> None:
        if self.asked[source.name].set_aside:
            return
        self.asked[source.name].set_aside = reason
        with self.store.transaction() as tx:
            set_aside_source(tx, self.project.id, source.name, reason)
            tx.commit()

    def _starts(self, sources: Sequence[WeakSource]) -> dict[str, int]:
        """The id after which each source is asked, for the sources that are asked in this run."""
        with self.store.read() as session:
            known = {one.name: one for one in weak_sources(session, self.project.id)}
        return {one.name: known[one.name].applied_to for one in sources if self.retry or not _waits(known[one.name])}

    def ask_batch_sources(self) -> None:
        """Ask the sources that answer many texts at once, one source after another, in this process."""
        sources = [one for one in self.sources if is_batch_source(one)]
        for name, start in self._starts(sources).items():
            source = next(one for one in sources if one.name == name)
            for batch in batches(self._texts(start), (0,), number=_BATCH):
                if self.asked[name].set_aside:
                    break
                self._ask_at_once(source, batch)
                self.progress(self.asked[name].documents)
            if isinstance(source, TellingSource):
                self.asked[name].told = source.told()

    def _ask_at_once(self, source: BatchSource, batch: Batch) -> None:
        documents = [document for document, _ in batch.texts]
        begin = utc_now()
        answers = answers_of(source, [text for _, text in batch.texts], self.project.labels)
        seconds = (utc_now() - begin).total_seconds()
        failed = [answer.reason for answer in answers if isinstance(answer, Fault)]
        later = next(((place, one) for place, one in enumerate(answers) if isinstance(one, Fault) and one.later), None)
        if later is not None:
            end, fault = later  # the next run goes on from this text
            if end:
                self._keep(documents[:end], {source.name: said_of(source, documents[:end], answers[:end], seconds)})
            self._set_aside(source, fault.reason)
        elif len(failed) == len(answers) >= _DOWN_FROM:
            self._set_aside(source, f"it failed on {len(failed)} texts in a row: {failed[0]}")
        else:
            self._keep(documents, {source.name: said_of(source, documents, answers, seconds)})

    def ask_neighbours(self) -> None:
        """Ask the sources that go by the votes on the other texts of a group: last, when these votes are there."""
        for source in self.sources:
            if is_neighbour_source(source):
                self._ask_beside(source)

    def _ask_beside(self, source: NeighbourSource) -> None:
        """Ask about every group that has a new text; about all groups when another source changed."""
        with self.store.transaction() as tx:
            known = weak_sources(tx.session, self.project.id)
            heard = [one for one in known if one.kind != source.kind and one.muted_at is None]
            imported = {
                name: found.get(IMPORTED_VOTE) for name, found in digests_of_votes(tx.session, self.project.id).items()
            }
            state = [(one.name, one.digest, imported.get(one.name)) for one in heard]
            digest = hashlib.sha256(repr((source.digest, state)).encode()).hexdigest()
            start = enter_source(tx, self.project.id, source.name, source.kind, digest).applied_to
            tx.commit()
        names = {one.name for one in heard}
        first = start
        while True:
            with self.store.read() as session:
                page = groups_after(session, self.project.id, start, number=TEXTS_AT_ONCE)
                groups = texts_of_groups(session, self.project.id, {group for _, group in page})
            if not page:
                return
            # A group is asked about with the first of its new texts.
            due = [texts for texts in groups.values() if min(key for key, _ in texts if key > first) > start]
            said = self._said_beside(source, digest, due, names)
            with self.store.transaction() as tx:
                about = [key for texts in due for key, _ in texts]
                add_group_votes(tx, self.project.id, about, said, up_to=page[-1][0], documents=len(page))
                tx.commit()
            self.asked[source.name].add(said, len(page))
            start = page[-1][0]

    def _said_beside(
        self, source: NeighbourSource, digest: str, groups: Sequence[Sequence[tuple[int, str]]], heard: Collection[str]
    ) -> SourceVotes:
        keys = [key for texts in groups for key, _ in texts]
        cast: dict[int, list[Vote]] = {key: [] for key in keys}
        with self.store.read() as session:
            for vote in votes_on(session, keys):
                if vote.source in heard and vote.span.label in self.project.labels:
                    cast[vote.document_id].append(Vote(vote.span, vote.source))
        begin = utc_now()
        documents: list[int] = []
        answers: list[Answer] = []
        for texts in groups:
            documents += [key for key, _ in texts]
            given = [text for _, text in texts]
            beside = [cast[key] for key, _ in texts]
            answers += _answers(partial(source.find_beside, given, beside), given, self.project.labels)
        return said_of(source, documents, answers, (utc_now() - begin).total_seconds(), digest)


def ask_about(store: Store, settings: Settings, project: Project, text: str, muted: Collection[str] = ()) -> AskedText:
    """What every source says of one text that need not be stored.

    The text is a group of its own, for sources that go by the others' votes. muted: whom these do not heed.
    """
    declared = declared_sources(settings, project, store)
    answers: dict[str, Answer] = {}
    plain = [one for one in declared.sources if is_text_source(one)]
    with Workers(plain, project.labels, number=1, limit=settings.weak.seconds_per_text) as workers:
        for asked in workers.ask([Batch(((0, text),), tuple(range(len(plain))))] if plain else []):
            answers |= {plain[place].name: given.answers[0] for place, given in asked.answers.items()}
    for one in declared.sources:
        if is_batch_source(one):
            answers[one.name] = answers_of(one, [text], project.labels)[0]
    beside = [[vote for vote in _votes_of(answers) if vote.source not in muted]]
    for one in declared.sources:
        if is_neighbour_source(one):
            answers[one.name] = _answers(partial(one.find_beside, [text], beside), [text], project.labels)[0]
    faults = {name: said.reason for name, said in answers.items() if isinstance(said, Fault)}
    told = (f"{one.name}: {said}" for one in declared.sources if isinstance(one, TellingSource) for said in one.told())
    return AskedText(tuple(sorted(_votes_of(answers))), faults, tuple(told), tuple(map(str, declared.problems)))


def is_text_source(source: WeakSource) -> TypeGuard[TextSource]:
    """Whether it is asked about one text at a time."""
    return callable(source)


def is_batch_source(source: WeakSource) -> TypeGuard[BatchSource]:
    """Whether it is asked about many texts at once."""
    return hasattr(source, "find_all")


def is_neighbour_source(source: WeakSource) -> TypeGuard[NeighbourSource]:
    """Whether it goes by the votes of other sources."""
    return hasattr(source, "find_beside")


def answers_of(source: BatchSource, texts: Sequence[str], labels: Collection[str]) -> list[Answer]:
    """What it says of each text; a Fault for each text where it breaks a rule as a whole."""
    return _answers(partial(source.find_all, texts), texts, labels)


def said_of(
    source: WeakSource, documents: Sequence[int], answers: Sequence[Answer], seconds: float, digest: str = ""
) -> SourceVotes:
    """Answers as they are stored."""
    digest = digest or source.digest
    cast = [
        StoredVote(document, source.name, span, digest)
        for document, answer in zip(documents, answers, strict=True)
        if not isinstance(answer, Fault)
        for span in answer
    ]
    faults = [answer.reason for answer in answers if isinstance(answer, Fault)]
    return SourceVotes(source.name, digest, cast, seconds, faults)


def _answers(
    ask: Callable[[], Sequence[Iterable[Span] | Fault]], texts: Sequence[str], labels: Collection[str]
) -> list[Answer]:
    try:
        given = list(ask())
        if len(given) != len(texts):
            raise InputError(
                "a source answers every text that it is asked about", value=f"{len(given)} of {len(texts)}"
            )
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a model or a service does, the run goes on
        return [Fault(reason_of(error))] * len(texts)
    return [_checked(answer, text, labels) for answer, text in zip(given, texts, strict=True)]


def _checked(answer: Iterable[Span] | Fault, text: str, labels: Collection[str]) -> Answer:
    if isinstance(answer, Fault):
        return answer
    try:
        return checked_spans(answer, text, labels)
    except Exception as error:  # noqa: BLE001 - as above
        return Fault(reason_of(error))


def _votes_of(answers: Mapping[str, Answer]) -> list[Vote]:
    return [Vote(span, name) for name, said in answers.items() if not isinstance(said, Fault) for span in said]


def _waits(known: SourceRecord) -> bool:
    """Whether a source was set aside so lately that only a person asks it again."""
    aside = SET_ASIDE in known.faults and known.applied_at is not None
    return aside and utc_now() - (known.applied_at or utc_now()) < _ASKED_AGAIN_AFTER


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""The votes on a project's texts become labels, with the help of the gold there is.

Votes of muted sources, and votes for labels that the project no longer has, do not count. No gold of the holdout is
ever looked at.

The memory of a training does not grow with the texts that nobody has labelled: some of them are read, and what is asked
about more of them is answered page by page.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from sqlalchemy.orm import Session

from loop.settings.settings import Settings
from loop.training.dataset import WeakDocument
from loop.weak.applying import label_weakly
from loop.weak.sources import has_sources
from loop.weak.worth import UNLABELLED, VoteSample, without_votes
from ner.documents import content_hash
from ner.labels import LabelSet
from ner.spans import Span, unscored
from store.database.schema import Project
from store.database.session import Store
from store.documents import StoredDocument, stored_documents
from store.gold import LEARNED_FROM, GoldDocument, HeldOut, held_out, labelled, training_gold
from store.weak.sources import muted_sources
from store.weak.votes import count_voted, voted_first, votes, votes_on
from weak_labeling.aggregate.choosing import Aggregation, aggregate
from weak_labeling.aggregate.contract import Aggregated, Gold, VotedText
from weak_labeling.source import Vote

# Texts without gold that an aggregation learns from, and labels are made for, where nobody wants more of them.
MOST_UNLABELLED = 10_000
_PAGE = 1_000  # texts that are answered at once


@dataclass(frozen=True)
class VotedProject:
    """Texts of a project that may be learned from, with all votes on them, and the gold that may be learned from.

    muted: names of sources whose votes are among `texts`, and do not count. doubtful: ids of labelled documents on
    which somebody is still to decide. unannotated: the types that the gold of a document is silent on, by its id; there
    are no votes for them.
    """

    labels: LabelSet
    documents: tuple[StoredDocument, ...]
    texts: tuple[VotedText, ...]
    gold: Gold
    muted: frozenset[str]
    doubtful: frozenset[int]
    unannotated: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def counted(self, without: Collection[str] = ()) -> tuple[VotedText, ...]:
        """The texts with the votes that count, those of `without` left out, too."""
        out = self.muted | set(without)
        return tuple(without_votes(text, out) for text in self.texts)

    def aggregation(self) -> Aggregation:
        """The votes that count, aggregated by the method that the gold speaks for."""
        return aggregate(self.counted(), self.gold, self.labels)

    def sample(self, without: Collection[str] = ()) -> VoteSample:
        """The labelled texts and some others with a vote that counts, to measure sources on."""
        groups: dict[Hashable, str] = {one.document_id: one.group_key for one in self.documents}
        texts = self.counted(without)
        labelled = tuple(text for text in texts if text.key in self.gold)
        others = (text for text in texts if text.key not in self.gold and text.votes)
        by_chance = sorted(others, key=lambda text: content_hash(text.text))
        return VoteSample(
            self.labels,
            labelled,
            tuple(groups[text.key] for text in labelled),
            {text.key: self.gold[text.key] for text in labelled},
            tuple(by_chance[:UNLABELLED]),
        )


def voted_project(store: Store, project: Project, most: int | None) -> VotedProject:
    """Read it. Documents that share their text or their group with the holdout are left out.

    most: how many documents without gold are read, at most: those with a vote that counts first, and else by chance.
    None: all.
    """
    with store.read() as session:
        held, muted = held_out(session, project.id), muted_sources(session, project.id)
        doubtful = frozenset(one.document_id for one in labelled(session, project.id, LEARNED_FROM).doubtful)
        believed = training_gold(session, project.id).documents
        ids = None
        if most is not None:
            known = {one.document_id for one in believed} | doubtful
            ids = known.union(_drawn(session, project, held, muted, known, most))
        found = stored_documents(session, project.id, LEARNED_FROM, document_ids=ids)
        documents = tuple(one for one in found if one not in held)
        cast = _stored_votes(session, project, ids)
    silent = {one.document_id: one.unannotated for one in believed if one.unannotated}
    texts = tuple(_judgeable(_voted(one, cast), silent.get(one.document_id, frozenset())) for one in documents)
    gold: Gold = {one.document_id: one.spans for one in believed}
    return VotedProject(LabelSet(tuple(project.labels)), documents, texts, gold, muted, doubtful, silent)


def _drawn(
    session: Session, project: Project, held: HeldOut, muted: Collection[str], known: Collection[int], most: int
) -> Iterator[int]:
    """The ids of up to `most` documents that are neither held out nor among the known."""
    found = voted_first(session, project.id, LEARNED_FROM, project.labels, muted)
    return islice((row.id for row in found if row not in held and row.id not in known), most)


def weak_documents(
    store: Store, project: Project, without: Collection[int] = (), *, texts: int = 0
) -> list[WeakDocument]:
    """Documents that may be trained on and have a vote that counts, with what the votes say together: the labelled
    ones, and up to MOST_UNLABELLED others, drawn by chance.

    without: ids of documents whose gold is not looked at, since a model is judged on that gold. texts: how many others
    there have to be, where that is more.

    A document on which every source abstains says nothing, not even that it holds no entity. Left out are documents
    that share their text or their group with the holdout, and labelled documents in doubt: somebody is still to decide
    on them.
    """
    voted = voted_project(store, project, max(MOST_UNLABELLED, texts))
    voted = replace(voted, gold={key: spans for key, spans in voted.gold.items() if key not in without})
    return [
        WeakDocument(document.document_id, document.text, document.group_key, unscored(said.spans), said.soft)
        for document, text, said in _answers(voted)
        if text.votes and document.document_id not in voted.doubtful
    ]


def vote_on(
    store: Store, settings: Settings, project: Project, documents: Sequence[GoldDocument]
) -> tuple[tuple[Span, ...], ...]:
    """The spans that the votes say together of each of these documents, in order; () where nothing votes.

    The documents may be held out. The sources are first asked about what they were not asked about yet.
    """
    if has_sources(settings):
        label_weakly(store, settings, project)
    return tuple(unscored(said.spans) for said in said_together(store, project, documents))


def votes_stand(store: Store, settings: Settings, project: Project) -> bool:
    """Whether there are sources of weak labels, or votes of imported ones, to compare a model with."""
    if has_sources(settings):
        return True
    with store.read() as session:
        return count_voted(session, project.id) > 0


def said_together(
    store: Store, project: Project, documents: Sequence[StoredDocument | GoldDocument]
) -> Iterator[Aggregated]:
    """What the stored votes say together of each of these documents, in order, made as it is asked for; the documents
    may be held out.
    """
    voted = voted_project(store, project, MOST_UNLABELLED)
    done = voted.aggregation()
    for first in range(0, len(documents), _PAGE):
        page = documents[first : first + _PAGE]
        with store.read() as session:
            cast = _stored_votes(session, project, [one.document_id for one in page])
        yield from done.answers([without_votes(_voted(one, cast), voted.muted) for one in page])


def outcome_of(voted: VotedProject, text: VotedText) -> tuple[Aggregation, tuple[Span, ...]]:
    """The aggregation of the project, and what the votes that count say together of one more text, with scores."""
    done = voted.aggregation()
    return done, next(done.answers([without_votes(text, voted.muted)])).spans


def _answers(voted: VotedProject) -> Iterator[tuple[StoredDocument, VotedText, Aggregated]]:
    done = voted.aggregation()
    return zip(voted.documents, done.texts, done.answers(), strict=True)


def _stored_votes(session: Session, project: Project, ids: Collection[int] | None) -> dict[int, list[Vote]]:
    """The votes on these documents (None: on all) by document id, without those for labels that the project no longer
    has.
    """
    cast: dict[int, list[Vote]] = {}
    for vote in votes(session, project.id) if ids is None else votes_on(session, ids):
        if vote.span.label in project.labels:
            cast.setdefault(vote.document_id, []).append(Vote(vote.span, vote.source))
    return cast


def _judgeable(text: VotedText, unannotated: frozenset[str]) -> VotedText:
    """The text without votes for types that its gold is silent on: the gold can tell nothing about such votes."""
    if not unannotated:
        return text
    return replace(text, votes=tuple(vote for vote in text.votes if vote.span.label not in unannotated))


def _voted(document: StoredDocument | GoldDocument, cast: dict[int, list[Vote]]) -> VotedText:
    return VotedText(document.document_id, document.text, tuple(cast.get(document.document_id, ())))

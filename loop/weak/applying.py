"""Weak labels of a project: labelling functions vote on its texts, and the majority of the votes is learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from loop.files.importing import IMPORTED_VOTE
from loop.training.dataset import WeakDocument
from ner.spans import Span
from store.documents import stored_documents
from store.gold import LEARNED_FROM, GoldDocument, held_out, labelled
from store.schema import Project
from store.session import Store
from store.votes import StoredVote, replace_votes, votes
from weak_labeling.aggregate.majority import majority_vote
from weak_labeling.apply import apply_functions
from weak_labeling.functions import load_functions
from weak_labeling.source import Vote


@dataclass(frozen=True)
class WeaklyLabelled:
    """What `loop label` did: documents asked about, and documents with a vote; by function its votes, on how many
    documents it failed, and its first failure.
    """

    documents: int
    voted: int
    votes: Mapping[str, int]
    failures: Mapping[str, int]
    first_failures: Mapping[str, str]


def weak_documents(store: Store, project: Project) -> list[WeakDocument]:
    """The documents that may be trained on and have a vote, with the spans that most of their votes agree on.

    A document on which every function abstains says nothing, not even that it holds no entity. Left out are votes for
    labels that the project no longer has, documents that share their text or their group with the holdout, and labelled
    documents in doubt: somebody is still to decide on them.
    """
    with store.read() as session:
        held = held_out(session, project.id)
        doubtful = {item.document_id for item in labelled(session, project.id, LEARNED_FROM).doubtful}
        documents = [
            item
            for item in stored_documents(session, project.id, LEARNED_FROM)
            if item not in held and item.document_id not in doubtful
        ]
        cast = _stored_votes(session, project)
    return [
        WeakDocument(item.document_id, item.text, item.group_key, majority_vote(cast[item.document_id], item.text))
        for item in documents
        if item.document_id in cast
    ]


def vote_on(
    store: Store, project: Project, functions_file: Path | None, documents: Sequence[GoldDocument]
) -> tuple[tuple[Span, ...], ...]:
    """The spans that most votes agree on, for each of these documents in order; () where nothing votes.

    The votes are those that the functions of the file give now, which are not stored, and those in the store.
    """
    with store.read() as session:
        cast = _stored_votes(session, project)
    if functions_file is not None:
        texts = [(item.document_id, item.text) for item in documents]
        applied = apply_functions(load_functions(functions_file), texts, project.labels)
        for document, given in applied.votes.items():
            cast.setdefault(document, []).extend(given)
    return tuple(majority_vote(cast.get(item.document_id, ()), item.text) for item in documents)


def label_weakly(store: Store, project: Project, functions_file: Path) -> WeaklyLabelled:
    """Let the functions of a file vote on the pool and train; the new votes replace their earlier votes.

    The votes of functions that are gone from the file are deleted. Votes that came with imported records stay. Raises
    InputError for a file that does not run.
    """
    functions = load_functions(functions_file)
    with store.read() as session:
        documents = stored_documents(session, project.id, LEARNED_FROM)
    texts = [(document.document_id, document.text) for document in documents]
    applied = apply_functions(functions, texts, project.labels)
    digests = {function.name: function.digest for function in functions}
    cast: dict[str, list[StoredVote]] = {name: [] for name in digests}
    for document, given in applied.votes.items():
        for vote in given:
            cast[vote.source].append(StoredVote(document, vote.source, vote.span, digests[vote.source]))
    with store.transaction() as tx:
        known = {vote.source for vote in votes(tx.session, project.id) if vote.function_digest != IMPORTED_VOTE}
        replace_votes(tx, project.id, {**dict.fromkeys(known, ()), **cast})
        tx.commit()
    return WeaklyLabelled(
        documents=len(texts),
        voted=sum(bool(given) for given in applied.votes.values()),
        votes=dict(Counter(vote.source for given in cast.values() for vote in given)),
        failures=applied.failures_by_function(),
        first_failures={failure.function: failure.reason for failure in reversed(applied.failures)},
    )


def _stored_votes(session: Session, project: Project) -> dict[int, list[Vote]]:
    """The votes in the store by document id, without those for labels that the project no longer has."""
    cast: dict[int, list[Vote]] = {}
    for vote in votes(session, project.id):
        if vote.span.label in project.labels:
            cast.setdefault(vote.document_id, []).append(Vote(vote.span, vote.source))
    return cast

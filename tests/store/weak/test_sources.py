from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import update

from ner.spans import Span
from store.database.columns import utc_now
from store.database.schema import Document, Project
from store.database.session import Store
from store.documents import revive_documents
from store.errors import NotFoundError, RefusedError
from store.weak.answers import NewAnswer, keep_answers, known_answers
from store.weak.sources import (
    BY_THE_LOOP,
    SET_ASIDE,
    SourceVotes,
    add_votes,
    enter_source,
    forget_sources,
    muted_sources,
    set_aside_source,
    set_muted,
    weak_sources,
)
from store.weak.votes import StoredVote, votes
from tests.store import given


def vote(document: int, end: int = 5, digest: str = "one") -> StoredVote:
    return StoredVote(document, "words", Span(0, end, "OS"), digest)


def said(*votes: StoredVote, digest: str = "one", seconds: float = 0.0, faults: Sequence[str] = ()) -> SourceVotes:
    return SourceVotes("words", digest, votes, seconds, faults)


@given.on_both
def test_a_source_is_asked_about_texts_once_and_anew_when_it_changes(store: Store, project: Project) -> None:
    first, second = given.documents(store, project.id, ["Gnome on Fedora", "Debian"])
    with store.transaction() as tx:
        enter_source(tx, project.id, "words", "pattern", "one")
        add_votes(tx, project.id, [first], [said(vote(first), seconds=0.5, faults=["too slow\0"])])
        tx.commit()
    with store.transaction() as tx:
        enter_source(tx, project.id, "words", "pattern", "one")
        set_aside_source(tx, project.id, "words", "it took too long")
        assert weak_sources(tx.session, project.id)[0].faults[SET_ASIDE] == "it took too long"
        add_votes(tx, project.id, [second], [said(vote(second), seconds=0.25, faults=["raised"])])
        tx.commit()
    with store.read() as session:
        (row,) = weak_sources(session, project.id)
        assert (row.applied_to, row.documents, row.seconds) == (second, 2, 0.75)
        assert row.faults == {"count": 2, "first": "too slow\N{SYMBOL FOR NULL}"}
        assert votes(session, project.id) == [vote(first), vote(second)]
    with store.transaction() as tx:
        changed = enter_source(tx, project.id, "words", "pattern", "two")
        assert (changed.applied_to, changed.documents, changed.faults) == (0, 0, {})
        add_votes(tx, project.id, [first], [said(vote(first, 4, "two"), digest="two")])
        assert votes(tx.session, project.id) == [vote(first, 4, "two"), vote(second)]  # until it is asked about that
        with pytest.raises(NotFoundError, match="Another process"):
            add_votes(tx, project.id, [second], [said()])
        forget_sources(tx, project.id, ["words"])
        assert votes(tx.session, project.id) == [] == weak_sources(tx.session, project.id)


def test_a_vote_outside_of_what_was_asked_is_refused(store: Store, project: Project) -> None:
    first, second = given.documents(store, project.id, ["Gnome", "Debian"])
    with store.transaction() as tx, pytest.raises(RefusedError, match="asked about"):
        enter_source(tx, project.id, "words", "pattern", "one")
        add_votes(tx, project.id, [first], [said(vote(second))])


def test_a_muting_ends_with_the_digest_it_was_decided_on_unless_a_person_muted(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        for name in ("by loop", "by person", "kept by person"):
            enter_source(tx, project.id, name, "pattern", "one")
        set_muted(tx, project.id, "by loop", True, BY_THE_LOOP, {"without": 0.9, "with": 0.5})
        set_muted(tx, project.id, "by person", True, "lead")
        set_muted(tx, project.id, "kept by person", True, BY_THE_LOOP)
        assert set_muted(tx, project.id, "kept by person", False, "lead").muted_by == "lead"
        assert muted_sources(tx.session, project.id) == {"by loop", "by person"}
        for name in ("by loop", "by person", "kept by person"):
            enter_source(tx, project.id, name, "pattern", "two")
        assert muted_sources(tx.session, project.id) == {"by person"}
        assert [one.muted_by for one in weak_sources(tx.session, project.id)] == [None, "lead", None]


def test_a_source_that_nobody_knows_cannot_be_muted(store: Store, project: Project) -> None:
    with store.transaction() as tx, pytest.raises(NotFoundError, match="Known sources: none"):
        set_muted(tx, project.id, "words", True, "lead")


@given.on_both
def test_an_answer_is_kept_once_for_each_project(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    with store.transaction() as tx:
        assert keep_answers(tx, project.id, [NewAnswer("k", "[]", 0.5, 12, 3, 0.001), NewAnswer("k", "{}", 0.5)]) == 1
        assert keep_answers(tx, project.id, [NewAnswer("k", "other", 9.0), NewAnswer("l", "[1]", 0.1)]) == 1
        assert keep_answers(tx, other.id, [NewAnswer("k", "theirs", 1.0)]) == 1
        tx.commit()
    with store.read() as session:
        known = known_answers(session, project.id, ["k", "l", "m"])
        assert {key: row.answer for key, row in known.items()} == {"k": "{}", "l": "[1]"}
        assert known_answers(session, other.id, ["k"])["k"].answer == "theirs"


def test_a_document_that_comes_back_is_asked_about_again(store: Store, project: Project) -> None:
    ids = given.documents(store, project.id, ["Gnome", "Debian", "Fedora"])
    with store.transaction() as tx:
        for name, up_to in (("ahead", ids[2]), ("behind", ids[0])):
            enter_source(tx, project.id, name, "pattern", "one")
            add_votes(tx, project.id, [up_to], [SourceVotes(name, "one", [])])
        tx.session.execute(update(Document).where(Document.id == ids[1]).values(deleted_at=utc_now()))
        assert revive_documents(tx, project.id, ids) == 1
        tx.commit()
    with store.read() as session:
        assert [one.applied_to for one in weak_sources(session, project.id)] == [ids[0], ids[0]]

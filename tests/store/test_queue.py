from __future__ import annotations

import pytest
from sqlalchemy import select, update

from ner.spans import Span
from store.database.columns import utc_now
from store.database.schema import Hint, Project
from store.database.session import Store
from store.errors import NotFoundError, StoreError
from store.predictions import (
    NewPrediction,
    is_of_votes,
    predictions,
    ranks,
    save_predictions,
    save_ranks,
    votes_version,
)
from store.projects import link
from store.runs import HINTS_KEPT, add_hint, handle_hints, pending_hints
from store.weak.votes import StoredVote, replace_votes, votes
from tests.store import given

SPAN = Span(0, 5, "SOFTWARE")


def test_predictions_come_back_with_their_scores(store: Store, project: Project) -> None:
    one, two = given.documents(store, project.id, ["Gnome", "Fedora"])
    version = given.candidate(store, project.id)
    scored = Span(0, 5, "SOFTWARE", 0.75)
    with store.transaction() as tx:
        assert (
            save_predictions(tx, version, [NewPrediction(one, 0.25, (scored,)), NewPrediction(two, 0.5, (), True)]) == 2
        )
        tx.commit()
    with store.read() as session:
        found = predictions(session, version)
    assert list(found) == [one, two]
    assert (found[one].score, found[one].spans, found[one].holdout) == (0.25, (scored,), False)
    assert (found[two].score, found[two].spans, found[two].holdout) == (0.5, (), True)


def test_publishing_again_replaces_that_models_predictions_and_no_others(store: Store, project: Project) -> None:
    one, two = given.documents(store, project.id, ["Gnome", "Fedora"])
    old, new = given.candidate(store, project.id), given.candidate(store, project.id)
    with store.transaction() as tx:
        for version in (old, new):
            save_predictions(tx, version, [NewPrediction(one, 0.1, (SPAN,)), NewPrediction(two, 0.2, (SPAN,))])
        save_predictions(tx, new, [NewPrediction(two, 0.9, ()), NewPrediction(two, 0.8, ())])
        tx.commit()
    with store.read() as session:
        assert [row.score for row in predictions(session, old).values()] == [0.1, 0.2]
        assert [row.score for row in predictions(session, new).values()] == [0.1, 0.8]


def test_a_queue_comes_back_in_its_order_and_is_replaced_whole(store: Store, project: Project) -> None:
    one, two, three = given.documents(store, project.id, ["a", "b", "c"])
    version, other = given.candidate(store, project.id), given.candidate(store, project.id)
    with store.transaction() as tx:
        save_ranks(tx, other, [(two, 0.5)])
        save_ranks(tx, version, [(one, 0.1), (two, 0.2), (three, 0.3)])
        save_ranks(tx, version, [(three, 0.05), (one, 0.4)])
        tx.commit()
    with store.read() as session:
        assert [(row.document_id, row.confidence, row.rank) for row in ranks(session, version)] == [
            (three, 0.05, 0),
            (one, 0.4, 1),
        ]
        assert [row.document_id for row in ranks(session, other)] == [two]


def test_an_unknown_model_has_no_predictions_to_save(store: Store, project: Project) -> None:
    for save in (save_predictions, save_ranks):
        with pytest.raises(NotFoundError, match="nobody"), store.transaction() as tx:
            save(tx, "nobody-0001", [])


def test_agreed_votes_predict_and_order_a_queue_under_a_version_that_no_model_has(
    store: Store, project: Project
) -> None:
    (one,) = given.documents(store, project.id, ["Gnome"])
    version = votes_version("0123456789abcdef")
    assert (version, is_of_votes(version), is_of_votes("votes-0001"), is_of_votes(None)) == (
        "votes-01234567",
        True,
        False,
        False,
    )
    with store.transaction() as tx:
        save_predictions(tx, version, [NewPrediction(one, 0.25, (SPAN,))])
        save_ranks(tx, version, [(one, 0.25)])
        tx.commit()
    with store.read() as session:
        assert (predictions(session, version)[one].spans, len(ranks(session, version))) == ((SPAN,), 1)


def test_a_prediction_of_an_unknown_document_is_refused(store: Store, project: Project) -> None:
    version = given.candidate(store, project.id)
    with pytest.raises(StoreError, match="keys"), store.transaction() as tx:
        save_predictions(tx, version, [NewPrediction(99, 0.5, ())])
        tx.commit()


def test_hints_wait_until_they_are_handled(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        link(tx, project.id, "http://one", 7)
        first, second = (add_hint(tx, 7, action) for action in ("ANNOTATION_CREATED", "TASKS_DELETED"))
        stranger = add_hint(tx, 8, "ANNOTATION_CREATED")
        tx.commit()
    with store.transaction() as tx:
        assert [(hint.id, hint.project_id) for hint in pending_hints(tx.session, 7)] == [
            (first, project.id),
            (second, project.id),
        ]
        assert [(hint.id, hint.project_id) for hint in pending_hints(tx.session, 8)] == [(stranger, None)]
        handle_hints(tx, [first])
        tx.commit()
    with store.transaction() as tx:
        assert [hint.id for hint in pending_hints(tx.session, 7)] == [second]
        handle_hints(tx, [second, stranger])
        assert pending_hints(tx.session, 7) == pending_hints(tx.session, 8) == []


def test_hints_of_yesterday_are_forgotten_and_no_id_is_given_twice(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        link(tx, project.id, "http://one", 7)
        ids = [add_hint(tx, 7, "ANNOTATION_CREATED") for _ in range(3)]
        tx.session.execute(update(Hint).values(received_at=utc_now() - 2 * HINTS_KEPT))
        handle_hints(tx, ids)
        assert list(tx.session.scalars(select(Hint.id))) == ids[2:]
        assert add_hint(tx, 7, "ANNOTATION_CREATED") > ids[2]


def test_a_hint_about_an_id_that_two_servers_use_is_kept(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    with store.transaction() as tx:
        link(tx, project.id, "http://one", 7)
        link(tx, other.id, "http://two", 7)
        add_hint(tx, 7, "ANNOTATION_CREATED")
        assert [hint.project_id for hint in pending_hints(tx.session, 7)] == [None]


def test_votes_of_a_source_are_replaced_whole_and_those_of_others_stay(store: Store, project: Project) -> None:
    one, two = given.documents(store, project.id, ["Gnome on Fedora", "Debian"])
    first = StoredVote(one, "gazetteer", SPAN, "digest-1")
    regex = StoredVote(one, "regex", Span(9, 15, "OS"), "digest-2")
    changed = StoredVote(two, "gazetteer", Span(0, 6, "OS"), "digest-3")
    with store.transaction() as tx:
        assert replace_votes(tx, project.id, {"gazetteer": [first, first], "regex": [regex]}) == 2
        assert votes(tx.session, project.id) == [first, regex]
        assert replace_votes(tx, project.id, {"gazetteer": [changed]}) == 1
        assert votes(tx.session, project.id) == [regex, changed]
        assert votes(tx.session, project.id, "gazetteer") == [changed]
        assert replace_votes(tx, project.id, {"regex": []}) == 0
        assert votes(tx.session, project.id) == [changed]


def test_votes_of_other_projects_stay(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    (key,) = given.documents(store, other.id, ["Gnome"])
    vote = StoredVote(key, "gazetteer", SPAN, "digest")
    with store.transaction() as tx:
        replace_votes(tx, other.id, {"gazetteer": [vote]})
        replace_votes(tx, project.id, {"gazetteer": []})
        assert votes(tx.session, other.id) == [vote]
        assert votes(tx.session, project.id) == []


def test_a_vote_is_stored_under_the_source_it_is_given_for(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["Gnome"])
    with pytest.raises(StoreError, match="source"), store.transaction() as tx:
        replace_votes(tx, project.id, {"regex": [StoredVote(key, "gazetteer", SPAN, "digest")]})

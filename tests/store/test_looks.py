"""The ledger of looks, and what becomes of a holdout that is spent."""

from __future__ import annotations

from datetime import datetime

import pytest

from store.annotations import LABEL_STUDIO
from store.database.columns import utc_now
from store.database.schema import HOLDOUT, POOL, TRAIN, HoldoutEpoch, Project
from store.database.session import Store
from store.documents import NewDocument, add_documents, stored_documents
from store.errors import RefusedError
from store.gold import count_fresh_gold
from store.holdout import HoldoutTerms, Rotated, count_looks, looks_of, not_blind, rotate, spend_look, terms_of
from store.predictions import NewPrediction, confirm_predictions, save_predictions
from store.registry import TrainedOn
from store.splits import current_epoch, draws_holdout, epoch_salt, split_sizes
from tests.store import given

TERMS = HoldoutTerms(0.05, 2, "even")
GOLD = "a" * 64
MORE_GOLD = "b" * 64


def part(schedule: str, total: float, looks: int, number: int) -> float:
    del schedule, number
    return total / looks


def look(store: Store, project: Project, version: str, gold: str = GOLD, terms: HoldoutTerms = TERMS) -> int:
    """The number of the committed look."""
    with store.transaction() as tx:
        epoch = current_epoch(tx.session, project.id)
        spent = spend_look(tx, project.id, epoch, version, gold, default=terms, alpha_of=part)
        tx.commit()
    return spent.number


def rotated(store: Store, project: Project) -> Rotated | None:
    with store.transaction() as tx:
        done = rotate(tx, project.id)
        tx.commit()
    return done


def in_split(store: Store, project: Project, split: str) -> set[str]:
    with store.read() as session:
        return {item.external_id for item in stored_documents(session, project.id, [split])}


def test_each_model_on_each_state_of_the_gold_is_one_look(store: Store, project: Project) -> None:
    first, second = given.candidate(store, project.id), given.candidate(store, project.id)
    assert [look(store, project, first), look(store, project, first)] == [1, 1]
    assert look(store, project, second) == 2
    with pytest.raises(RefusedError, match="holdout 1 has judged as many"):
        look(store, project, first, MORE_GOLD)
    with store.read() as session:
        assert [(row.model, row.alpha) for row in looks_of(session, project.id, 1)] == [(first, 0.025), (second, 0.025)]


def test_the_terms_are_those_of_the_first_look(store: Store, project: Project) -> None:
    look(store, project, given.candidate(store, project.id))
    later = HoldoutTerms(0.5, 100, "decreasing")
    look(store, project, given.candidate(store, project.id), terms=later)
    with store.read() as session:
        assert terms_of(session, project.id, 1, later) == TERMS
        assert terms_of(session, project.id, 2, later) == later


def test_a_look_that_is_not_committed_was_none(store: Store, project: Project) -> None:
    version = given.candidate(store, project.id)
    with store.transaction() as tx:
        spend_look(tx, project.id, 1, version, GOLD, default=TERMS, alpha_of=part)
    with store.read() as session:
        assert count_looks(session, project.id, 1) == 0


def test_a_spent_holdout_goes_into_training_and_the_next_is_drawn_from_what_nobody_has_seen(
    store: Store, project: Project
) -> None:
    held = given.documents(store, project.id, [f"held {n}" for n in range(5)], HOLDOUT)
    given.documents(store, project.id, [f"train {n}" for n in range(5)], TRAIN)
    pool = given.documents(store, project.id, [f"pool {n}" for n in range(300)], POOL)
    drawn_at_first = in_split(store, project, HOLDOUT)
    stays = sorted(in_split(store, project, POOL))
    ids = dict(zip([f"pool {n}" for n in range(300)], pool, strict=True))
    labelled, trained = stays[:40], stays[40:80]
    for name in labelled:
        given.annotated(store, ids[name], given.annotation((0, 4, "OS")))
    version = given.candidate(store, project.id)
    given.trained_on(store, version, *(TrainedOn(ids[name], None, "train", "weak") for name in trained))
    look(store, project, version)
    done = rotated(store, project)
    assert done is not None
    assert held
    eligible = stays[80:]
    assert (done.epoch, done.retired, done.eligible, done.barred, done.carried) == (
        2,
        len(drawn_at_first),
        len(eligible),
        80,
        0,
    )
    now = in_split(store, project, HOLDOUT)
    with store.read() as session:
        keys = {item.external_id: item.group_key for item in stored_documents(session, project.id)}
        assert current_epoch(session, project.id) == 2
    second = epoch_salt(given.SALT, 2)
    assert now == {name for name in eligible if draws_holdout(second, keys[name], project.holdout_share)}
    assert done.drawn == len(now) > 0
    assert drawn_at_first <= in_split(store, project, TRAIN)


def test_new_documents_are_drawn_by_the_draw_of_the_holdout_that_stands(store: Store, project: Project) -> None:
    given.documents(store, project.id, ["held"], HOLDOUT)
    given.documents(store, project.id, [f"pool {n}" for n in range(50)], POOL)
    look(store, project, given.candidate(store, project.id))
    assert rotated(store, project) is not None
    with store.transaction() as tx:
        new = [NewDocument(f"late {n}", external_id=f"late {n}", group=f"late {n}") for n in range(200)]
        add_documents(tx, project.id, new)
        tx.commit()
    second = epoch_salt(given.SALT, 2)
    late = {name for name in in_split(store, project, HOLDOUT) if name.startswith("late")}
    assert late == {f"late {n}" for n in range(200) if draws_holdout(second, f"late {n}", project.holdout_share)}


def test_what_joined_after_the_last_look_is_carried_into_the_next_holdout(store: Store, project: Project) -> None:
    given.documents(store, project.id, ["judged"], HOLDOUT)
    look(store, project, given.candidate(store, project.id))
    given.documents(store, project.id, ["fresh"], HOLDOUT)
    done = rotated(store, project)
    assert done is not None
    assert (done.carried, done.retired, done.drawn) == (1, 1, 0)
    assert in_split(store, project, HOLDOUT) == {"fresh"}
    assert in_split(store, project, TRAIN) == {"judged"}


def test_where_no_other_holdout_can_be_drawn_the_old_one_stays(store: Store, project: Project) -> None:
    given.documents(store, project.id, ["judged"], HOLDOUT)
    look(store, project, given.candidate(store, project.id))
    assert rotated(store, project) is None
    with store.read() as session:
        assert split_sizes(session, project.id)[HOLDOUT] == 1
        epoch = session.get(HoldoutEpoch, (project.id, 1))
        assert epoch is not None
        assert epoch.retired_at is None


def test_a_group_is_drawn_whole_or_not_at_all(store: Store, project: Project) -> None:
    given.documents(store, project.id, ["judged"], HOLDOUT)
    with store.transaction() as tx:
        new = [
            NewDocument(f"text {group} {n}", external_id=f"{group} {n}", group=f"thread {group}")
            for group in range(60)
            for n in range(3)
        ]
        add_documents(tx, project.id, new)
        tx.commit()
    look(store, project, given.candidate(store, project.id))
    rotated(store, project)
    now = in_split(store, project, HOLDOUT)
    threads = {name.split()[0] for name in now}
    assert threads
    assert len(now) == 3 * len(threads)


def test_too_small_a_judge_is_not_worth_the_one_that_is_given_up(store: Store, project: Project) -> None:
    for document in given.documents(store, project.id, [f"judged {n}" for n in range(9)], HOLDOUT):
        given.annotated(store, document, given.annotation((0, 4, "OS")))
    look(store, project, given.candidate(store, project.id))
    given.documents(store, project.id, [f"fresh {n}" for n in range(4)], HOLDOUT)
    assert rotated(store, project) is None  # 4 for 9
    given.documents(store, project.id, ["fresh, too"], HOLDOUT)
    with store.transaction() as tx:
        assert rotate(tx, project.id, least=6) is None
        assert rotate(tx, project.id, least=5) is not None


def test_what_was_retired_is_new_to_a_training(store: Store, project: Project) -> None:
    for document in given.documents(store, project.id, ["judged", "judged, too"], HOLDOUT):
        given.annotated(store, document, given.annotation((0, 4, "OS")))
    look(store, project, given.candidate(store, project.id))
    given.documents(store, project.id, ["fresh"], HOLDOUT)
    trained_at = utc_now()
    with store.read() as session:
        assert count_fresh_gold(session, project.id, trained_at) == 0
    assert rotated(store, project) is not None
    with store.read() as session:
        assert count_fresh_gold(session, project.id, trained_at) == 2


@pytest.mark.parametrize("shown", ["a model's", "votes-01234567"])
def test_what_was_labelled_with_a_pre_label_in_sight_is_no_gold_of_a_holdout_that_was_drawn_since(
    store: Store, project: Project, shown: str
) -> None:
    given.documents(store, project.id, ["judged"], HOLDOUT)
    pool = given.documents(store, project.id, [f"pool {n}" for n in range(40)], POOL)
    judged = given.candidate(store, project.id)
    version = shown if shown != "a model's" else judged
    with store.transaction() as tx:
        save_predictions(tx, version, [NewPrediction(document, 0.5, ()) for document in pool])
        tx.commit()
    look(store, project, judged)
    before = utc_now()
    assert rotated(store, project) is not None
    with store.read() as session:
        drawn = [item.document_id for item in stored_documents(session, project.id, [HOLDOUT])]
    early, between, unconfirmed, late = drawn[:4]
    labelled(store, early, before)
    labelled(store, between, utc_now())
    with store.transaction() as tx:
        save_predictions(tx, version, [NewPrediction(document, 0.5, (), holdout=True) for document in drawn])
        tx.commit()
    labelled(store, unconfirmed, utc_now())
    with store.transaction() as tx:
        assert confirm_predictions(tx, version, drawn) == len(drawn)
        assert confirm_predictions(tx, version, drawn) == 0
        tx.commit()
    labelled(store, late, utc_now())
    with store.read() as session:
        assert not_blind(session, project.id) == {early, between, unconfirmed}


def labelled(store: Store, document: int, at: datetime) -> None:
    """An annotation in Label Studio that was begun at that time."""
    given.annotated(store, document, given.annotation((0, 4, "OS"), source=LABEL_STUDIO, source_created_at=at))

"""Held-out tasks are known, scored without the model, and foreseen before they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loop.sync.tasks import ReadTask, read_task
from ml_backend.holdout import Holdout, fingerprint, place_unseen, read_holdout
from ml_backend.payload import Asked, Limits, read_tasks
from ner.label_studio.label_config import LabelConfig
from store.database.schema import HOLDOUT
from store.documents import stored_documents
from store.predictions import NewPrediction, save_predictions
from store.projects import project_by_id
from store.tasks import upsert_tasks
from tests.ml_backend.given import CONFIG, Home, make_home
from tests.store.given import move

TEXTS = {number: f"text {number}" for number in range(1, 41)}


@pytest.fixture
def half_held(tmp_path: Path) -> Home:
    made = make_home(tmp_path, share=0.5)
    made.pulled(TEXTS)
    return made


def held_tasks(home: Home) -> set[int | None]:
    with home.store.read() as session:
        return {doc.ls_task_id for doc in stored_documents(session, home.project_id, [HOLDOUT])}


def look(home: Home, version: str | None = None) -> Holdout:
    with home.store.read() as session:
        return read_holdout(session, project_by_id(session, home.project_id), version)


def test_a_stored_task_is_held_as_the_store_says(half_held: Home) -> None:
    holdout, held = look(half_held), held_tasks(half_held)
    assert 0 < len(held) < len(TEXTS)
    assert {task for task in TEXTS if holdout.is_held(task)} == held


def test_a_task_that_is_not_stored_is_unknown(half_held: Home) -> None:
    assert look(half_held).is_held(999) is None


def test_a_held_task_keeps_the_score_that_was_published_for_it(half_held: Home) -> None:
    version = half_held.model()
    with half_held.store.transaction() as tx:
        docs = stored_documents(tx.session, half_held.project_id)
        save_predictions(tx, version, [NewPrediction(doc.document_id, 0.25, (), doc.split == HOLDOUT) for doc in docs])
        tx.commit()
    task = min(task for task in held_tasks(half_held) if task is not None)
    assert look(half_held, version).score(Asked("x", task, None)) == 0.25
    assert look(half_held, "another").score(Asked("x", task, None)) != 0.25


def test_a_task_that_was_drawn_after_its_prediction_does_not_tell_how_sure_the_model_was(half_held: Home) -> None:
    version = half_held.model()
    with half_held.store.transaction() as tx:
        docs = stored_documents(tx.session, half_held.project_id)
        save_predictions(tx, version, [NewPrediction(doc.document_id, 0.25, ()) for doc in docs])
        tx.commit()
    task = min(task for task in held_tasks(half_held) if task is not None)
    assert look(half_held, version).held[task] is None


def test_a_score_that_was_never_published_falls_among_the_published_ones() -> None:
    ladder = Holdout(ladder=(0.2, 0.4, 0.6), salt="s")
    drawn = {ladder.score(Asked(f"text {n}", n, None)) for n in range(100)}
    assert drawn == {0.2, 0.4, 0.6}


def test_a_score_without_any_published_is_spread_over_0_to_1_and_repeats() -> None:
    drawn = sorted(Holdout(salt="s").score(Asked(f"text {n}", n, None)) for n in range(1000))
    assert all(abs(score - rank / 1000) < 0.06 for rank, score in enumerate(drawn))
    assert drawn == sorted(Holdout(salt="s").score(Asked(f"text {n}", n, None)) for n in range(1000))


def test_an_unseen_task_is_foreseen_as_the_next_pull_places_it(half_held: Home) -> None:
    new = {number: f"unseen {number}" for number in range(100, 140)}
    with half_held.store.read() as session:
        asked = [Asked(text, task, None) for task, text in new.items()]
        foreseen = place_unseen(session, half_held.project_id, asked)
    half_held.pulled(new)
    held = held_tasks(half_held)
    assert foreseen == [task in held for task in new]
    assert len(set(foreseen)) == 2


def test_an_unseen_task_is_foreseen_by_the_group_that_a_pull_reads(half_held: Home) -> None:
    groups = ["post-1", 5, " ", "\ud800", "x" * 10_000, "a\0b", ["no group"], None, True]
    tasks: list[dict[str, Any]] = [
        {"id": 1000 + number, "data": {"body": f"unseen {number}"}, "meta": {"doc": "a note"}, "annotations": []}
        for number in range(10 * len(groups))
    ]
    for number, one in enumerate(tasks):
        one["data"] |= {"doc": [groups[number % len(groups)], f"{groups[number % len(groups)]}{number}"][number % 2]}
    config = LabelConfig.parse(CONFIG)
    asked = read_tasks(tasks, config, Limits(1000, 1000))
    with half_held.store.read() as session:
        foreseen = place_unseen(session, half_held.project_id, asked)
    read = [read_task(one, config) for one in tasks]
    with half_held.store.transaction() as tx:
        upsert_tasks(tx, half_held.project_id, [one.document for one in read if isinstance(one, ReadTask)])
        tx.commit()
    held = held_tasks(half_held)
    assert foreseen == [one["id"] in held for one in tasks]
    assert len(set(foreseen)) == 2


def test_the_fingerprint_changes_when_a_split_or_a_publication_does(half_held: Home) -> None:
    version = half_held.model()
    seen = []

    def note() -> None:
        with half_held.store.read() as session:
            seen.append(fingerprint(session, half_held.project_id, version))

    note()
    half_held.pulled({500: "one more"})
    note()
    with half_held.store.transaction() as tx:
        docs = stored_documents(tx.session, half_held.project_id, ["pool"])
        move(tx, [docs[0].document_id], HOLDOUT)
        tx.commit()
    note()
    with half_held.store.transaction() as tx:
        save_predictions(tx, version, [NewPrediction(docs[1].document_id, 0.5, ())])
        tx.commit()
    note()
    assert len(set(seen)) == 4

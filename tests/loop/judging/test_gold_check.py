"""Corrupted annotations are found by models that were really trained on them; honest annotations show no sign."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loop.judging.ask import JudgingError
from loop.judging.gold_check import check_gold
from loop.promotion.attempt import Attempt
from loop.promotion.promote import promote_candidate
from loop.quality.corruption import GoldCheck
from loop.training.retrain import retrain
from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.schema import Model, Project
from store.database.session import Store, open_store
from store.projects import project_by_name, set_label_config
from store.registry import model
from tests.loop import tiny
from tests.loop.tiny import Placement
from tests.store.empty import new_store

pytestmark = pytest.mark.usefixtures("judged_here")
HONEST, CARELESS = "7", "9"
OPEN = [f"{text}, says {n}" for n, (text, _) in enumerate(tiny.corpus(60))]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.encoder(tmp_path_factory.mktemp("encoder"))


def placement(folder: Path, encoder: Path) -> Placement:
    return Placement(folder / "models", tiny.train_settings(encoder), tiny.PROMOTION.changed(unlabelled=60))


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A project whose model in service has learned its types, with open texts in the pool."""
    folder = tmp_path_factory.mktemp("served")
    opened = new_store(folder / "store.db")
    made = tiny.project(opened)
    tiny.put(opened, made, [(f"{text}?", spans) for text, spans in tiny.corpus(30)], "holdout")
    tiny.put(opened, made, tiny.corpus(40))
    tiny.texts(opened, made, OPEN, "pool")
    there = placement(folder, encoder)
    retrain(opened, there, made)
    assert promote_candidate(opened, there, made, who="test").attempt.gold_check is None
    opened.close()
    return folder


@pytest.fixture
def placed(tmp_path: Path, trained_once: Path, encoder: Path) -> Placement:
    shutil.copytree(trained_once, tmp_path / "copy")
    return placement(tmp_path / "copy", encoder)


@pytest.fixture
def store(placed: Placement) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{placed.model_dir.parent / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def desk(store: Store) -> Project:
    with store.read() as session:
        return project_by_name(session, "Desk")


def annotate(
    store: Store,
    desk: Project,
    who: str,
    texts: int,
    *,
    switched: bool = False,
    versions: bool = False,
    renamed: dict[str, str] | None = None,
) -> None:
    """New gold by this person; a careless one calls everything SOFTWARE. versions: the last word is a VERSION."""
    labelled = [(f"{text} {who}", spans) for text, spans in tiny.corpus(texts)]
    ids = tiny.texts(store, desk, [text for text, _ in labelled])
    names = {"OS": "SOFTWARE"} if switched else renamed or {}
    given = [tuple(Span(s.start, s.end, names.get(s.label, s.label)) for s in spans) for _, spans in labelled]
    if versions:
        ends = [len(text) for text, _ in labelled]
        given = [(*spans, Span(end - len(who), end, "VERSION")) for spans, end in zip(given, ends, strict=True)]
    made = [NewAnnotation(source=FILE, source_id="1", result=[], spans=spans, creator=who) for spans in given]
    with store.transaction() as tx:
        append_annotations(tx, list(zip(ids, made, strict=True)))
        tx.commit()


def judged(store: Store, desk: Project, placed: Placement) -> tuple[Attempt, GoldCheck]:
    retrain(store, placed, desk)
    attempt = promote_candidate(store, placed, desk, who="test").attempt
    assert attempt.gold_check is not None
    return attempt, attempt.gold_check


@pytest.mark.training
def test_labels_that_one_annotator_switched_are_found_and_the_annotator_is_named(
    store: Store, desk: Project, placed: Placement
) -> None:
    annotate(store, desk, HONEST, 20)
    annotate(store, desk, CARELESS, 140, switched=True)
    attempt, check = judged(store, desk, placed)
    assert (check.since, check.annotations) == ("desk-0001", 160)
    assert 40 <= check.texts <= len(OPEN)  # some of them were drawn into the holdout
    assert [(one.who, one.annotations, one.warns) for one in check.annotators] == [
        (CARELESS, 140, True),
        (HONEST, 20, False),
    ]
    found = {one.name: one for one in check.shifts}
    assert found["OS"].warns
    assert found["OS"].candidate <= found["OS"].served / 2
    told = " ".join(attempt.risks)
    assert "Annotator 9: " in told
    assert "160 annotations are new since desk-0001: 140 by 9, 20 by 7." in told


@pytest.mark.training
def test_an_honest_batch_shows_no_sign(store: Store, desk: Project, placed: Placement) -> None:
    annotate(store, desk, HONEST, 40)
    annotate(store, desk, CARELESS, 40)
    attempt, check = judged(store, desk, placed)
    assert not check.warns
    assert not any("Annotator" in risk for risk in attempt.risks)


@pytest.mark.training
def test_a_type_that_came_since_the_last_good_model_is_no_sign(store: Store, desk: Project, placed: Placement) -> None:
    with store.transaction() as tx:
        desk = set_label_config(tx, desk.id, tiny.CONFIG, ["OS", "SOFTWARE", "VERSION"])
        tx.commit()
    annotate(store, desk, HONEST, 60, versions=True)
    annotate(store, desk, CARELESS, 60)
    _, check = judged(store, desk, placed)
    assert check.since == "desk-0001"
    assert not check.warns
    assert [one.name for one in check.shifts] == ["OS", "SOFTWARE"]


@pytest.mark.training
def test_a_type_that_takes_regions_from_another_one_is_no_sign_against_its_annotator(
    store: Store, desk: Project, placed: Placement
) -> None:
    with store.transaction() as tx:
        desk = set_label_config(tx, desk.id, tiny.CONFIG, ["OS", "SOFTWARE", "KERNEL"])
        tx.commit()
    annotate(store, desk, HONEST, 60, renamed={"OS": "KERNEL"})
    annotate(store, desk, CARELESS, 60)
    _, check = judged(store, desk, placed)
    assert [(one.who, one.texts, one.warns) for one in check.annotators] == [(HONEST, 60, False), (CARELESS, 60, False)]


def test_a_model_that_cannot_be_asked_leaves_the_annotations_unchecked(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise JudgingError("a model answers", value="nothing")

    monkeypatch.setattr("loop.judging.gold_check.ask_served", silent)
    with store.read() as session:
        served = model(session, "desk-0001")
    other = Model(version="desk-0002", path=served.path)
    assert check_gold(store, placed, desk, other, served, 1) is None

"""Decisions on tables of scores, and promotions of real bundles that look words up."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loop.commands.cycle import who
from loop.evaluate import Scores, score
from loop.promote import decide, promote_candidate, rollback
from ner.errors import BundleError
from ner.labels import LabelSet
from ner.spans import Span
from store import registry
from store.errors import RefusedError, RunHeldError
from store.registry import finish_model, models, promotions, start_model
from store.runs import begin_run
from store.schema import Project
from store.scores import scores
from store.session import Store, open_store
from tests.fakes import tiny_bundle
from tests.loop import tiny
from tests.loop.tiny import Placement

LABELS = LabelSet(tiny.LABELS)
GOLD = [
    ("windows and excel", (Span(0, 7, "OS"), Span(12, 17, "SOFTWARE"))),
    ("ubuntu", (Span(0, 6, "OS"),)),
    ("nothing", ()),
]
ALL = {"windows": "OS", "excel": "SOFTWARE", "ubuntu": "OS"}
TWO = {"windows": "OS", "excel": "SOFTWARE"}


@dataclass
class Raising:
    error: Exception

    def __call__(self) -> str:
        raise self.error


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def desk(store: Store) -> Project:
    """A project with three gold documents in its holdout, one of them without an entity."""
    made = tiny.project(store)
    tiny.put(store, made, list(GOLD), "holdout")
    return made


@pytest.fixture
def placed(tmp_path: Path) -> Placement:
    return Placement(tmp_path / "models")


def candidate(store: Store, project: Project, placed: Placement, words: Mapping[str, str], **manifest: Any) -> str:
    """A candidate whose bundle tags these words."""
    with store.transaction() as tx:
        run = begin_run(tx, project.id, "retrain")
        model = start_model(
            tx, project.id, run_id=run.id, encoder="tiny", seed=1, settings={}, libraries={}, data_fingerprint="0" * 64
        )
        (placed.model_dir / model.path).parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle(placed.model_dir / model.path, project.labels, words, version=model.version, **manifest)
        finish_model(tx, model.version, files={})
        tx.commit()
    return model.version


def in_service(store: Store, project: Project) -> str | None:
    with store.read() as session:
        found = registry.promoted(session, project.id)
    return found.version if found else None


def states(store: Store, project: Project) -> list[str]:
    with store.read() as session:
        return [model.state for model in models(session, project.id)]


def table(right: int, wrong: int, gold: int) -> Scores:
    """Scores with so many right and wrong predictions for so many gold spans."""
    true = [Span(n, n + 1, "OS") for n in range(gold)]
    found = [*true[:right], *(Span(100 + n, 101 + n, "OS") for n in range(wrong))]
    return score([true], [found], LABELS)


@pytest.mark.parametrize(
    ("new", "old", "promote"),
    [((3, 0, 4), (2, 0, 4), True), ((2, 0, 4), (3, 0, 4), False), ((2, 0, 4), (2, 0, 4), False)],
)
def test_the_higher_micro_f1_wins_and_ties_lose(
    new: tuple[int, int, int], old: tuple[int, int, int], promote: bool
) -> None:
    decision = decide(table(*new), table(*old))
    assert decision.promote is promote
    assert decision.figures["difference"] == table(*new).micro.f1 - table(*old).micro.f1
    assert f"{table(*old).micro.f1:.4f}" in decision.reason


def test_the_first_model_is_promoted_unless_it_gets_nothing_right() -> None:
    assert decide(table(1, 0, 4), None).promote
    refused = decide(table(0, 2, 4), None)
    assert not refused.promote
    assert "micro-F1 is 0 on a holdout with 4 entities" in refused.reason


def test_without_gold_the_first_model_is_promoted_and_no_later_one_can_be_judged() -> None:
    assert decide(table(0, 1, 0), None).promote
    later = decide(table(0, 0, 0), table(0, 0, 0))
    assert not later.promote
    assert later.reason.startswith("cannot be judged")


def test_a_better_candidate_goes_into_service_with_both_tables_kept(
    store: Store, desk: Project, placed: Placement
) -> None:
    first = candidate(store, desk, placed, TWO)
    assert promote_candidate(store, placed, desk, who="lead").decision.promote
    second = candidate(store, desk, placed, ALL)
    result = promote_candidate(store, placed, desk, who="lead")
    assert (result.version, result.previous, result.decision.promote) == (second, first, True)
    assert in_service(store, desk) == second
    assert states(store, desk) == ["retired", "promoted"]
    with store.read() as session:
        micro = {
            version: next(row for row in scores(session, version, "holdout") if row.entity_type == "micro")
            for version in (first, second)
        }
        [_, decision] = promotions(session, desk.id)
    assert (micro[first].f1, micro[second].f1) == (2 * 2 / (2 + 3), 1.0)
    assert (decision.action, decision.who, decision.previous) == ("promote", "lead", first)
    assert decision.figures["difference"] == 1.0 - 4 / 5


def test_a_candidate_that_is_no_better_is_rejected_with_the_figures_and_the_incumbent_serves_on(
    store: Store, desk: Project, placed: Placement
) -> None:
    first = candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    second = candidate(store, desk, placed, {"windows": "OS", "ubuntu": "OS"})
    result = promote_candidate(store, placed, desk, who="lead")
    assert not result.decision.promote
    assert in_service(store, desk) == first
    assert states(store, desk) == ["promoted", "rejected"]
    with store.read() as session:
        decision = promotions(session, desk.id)[-1]
    assert (decision.action, decision.version) == ("reject", second)
    assert decision.figures["candidate"]["OS"]["f1"] == 1.0
    assert decision.figures["incumbent"]["SOFTWARE"]["f1"] == 1.0


def test_a_holdout_without_gold_promotes_the_first_and_rejects_the_next(store: Store, placed: Placement) -> None:
    empty = tiny.project(store)
    candidate(store, empty, placed, TWO)
    assert promote_candidate(store, placed, empty, who="lead").decision.promote
    candidate(store, empty, placed, ALL)
    refused = promote_candidate(store, placed, empty, who="lead")
    assert "cannot be judged" in refused.decision.reason
    assert states(store, empty) == ["promoted", "rejected"]


def test_a_first_model_that_is_wrong_about_everything_is_rejected(
    store: Store, desk: Project, placed: Placement
) -> None:
    candidate(store, desk, placed, {"and": "OS"})
    assert not promote_candidate(store, placed, desk, who="lead").decision.promote
    assert in_service(store, desk) is None


@pytest.mark.parametrize("damage", ["bytes", "labels"])
def test_a_candidate_whose_bundle_is_refused_fails_and_the_incumbent_serves_on(
    store: Store, desk: Project, placed: Placement, damage: str
) -> None:
    first = candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    second = candidate(store, desk, placed, ALL)
    if damage == "bytes":
        (placed.model_dir / "desk" / second / "model.onnx").write_bytes(b"no graph")
    else:
        desk.labels = ["OS", "SOFTWARE", "ERROR"]
    with pytest.raises(BundleError):
        promote_candidate(store, placed, desk, who="lead")
    assert in_service(store, desk) == first
    assert states(store, desk) == ["promoted", "failed"]


def test_an_incumbent_that_cannot_be_loaded_does_not_stand_in_the_way(
    store: Store, desk: Project, placed: Placement
) -> None:
    first = candidate(store, desk, placed, ALL)
    promote_candidate(store, placed, desk, who="lead")
    (placed.model_dir / "desk" / first / "model.onnx").unlink()
    second = candidate(store, desk, placed, TWO)
    result = promote_candidate(store, placed, desk, who="lead")
    assert f"the incumbent {first} is refused" in result.decision.reason
    assert in_service(store, desk) == second


def test_the_newest_candidate_is_judged_unless_another_is_named(store: Store, desk: Project, placed: Placement) -> None:
    versions = [candidate(store, desk, placed, TWO) for _ in range(3)]
    assert promote_candidate(store, placed, desk, versions[0], who="lead").version == versions[0]
    assert promote_candidate(store, placed, desk, who="lead").version == versions[2]


def test_no_candidate_or_one_of_another_state_is_refused_by_name(
    store: Store, desk: Project, placed: Placement
) -> None:
    with pytest.raises(RefusedError, match="needs a candidate"):
        promote_candidate(store, placed, desk, who="lead")
    version = candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    with pytest.raises(RefusedError, match=f"{version} is promoted"):
        promote_candidate(store, placed, desk, version, who="lead")
    with pytest.raises(RefusedError, match="desk-0009 is not a model"):
        promote_candidate(store, placed, desk, "desk-0009", who="lead")


def test_who_decides_is_a_user_by_name_or_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "lead")
    assert who() == "lead"
    for error in (KeyError("uid not found"), OSError("No username set in the environment")):
        monkeypatch.setattr("getpass.getuser", Raising(error))
        assert who() == f"uid {os.getuid()}"


def test_two_promotions_of_a_project_do_not_run_at_once(store: Store, desk: Project, placed: Placement) -> None:
    candidate(store, desk, placed, TWO)
    with store.transaction() as tx:
        begin_run(tx, desk.id, "promote")
        tx.commit()
    with pytest.raises(RunHeldError):
        promote_candidate(store, placed, desk, who="lead")


def test_a_model_that_went_into_service_during_the_evaluation_stops_the_promotion(
    store: Store, desk: Project, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = candidate(store, desk, placed, TWO), candidate(store, desk, placed, ALL)

    def meanwhile(*scored: Scores | None) -> Any:
        with store.transaction() as tx:
            registry.promote(tx, desk.id, first, reason="by hand", who="another")
            tx.commit()
        return decide(*scored)  # type: ignore[arg-type]

    monkeypatch.setattr("loop.promote.decide", meanwhile)
    with pytest.raises(RefusedError, match=f"{first} went into service meanwhile"):
        promote_candidate(store, placed, desk, second, who="lead")
    with store.read() as session:
        assert scores(session, second, "holdout") == []
    assert states(store, desk) == ["promoted", "candidate"]


def test_a_rollback_puts_the_earlier_model_back_once_its_bundle_is_verified(
    store: Store, desk: Project, placed: Placement
) -> None:
    first, second = (candidate(store, desk, placed, words) for words in (TWO, ALL))
    for version in (first, second):
        promote_candidate(store, placed, desk, version, who="lead")
    damaged = placed.model_dir / "desk" / first / "labels.json"
    whole = damaged.read_bytes()
    damaged.write_bytes(b"[]")
    with pytest.raises(BundleError):
        rollback(store, placed, desk, who="lead", reason="misses versions")
    assert in_service(store, desk) == second
    damaged.write_bytes(whole)
    assert rollback(store, placed, desk, who="lead", reason="misses versions").version == first
    assert in_service(store, desk) == first


def test_a_rollback_to_a_model_of_other_labels_is_refused_naming_both_lists(
    store: Store, desk: Project, placed: Placement
) -> None:
    candidate(store, desk, placed, TWO)
    promote_candidate(store, placed, desk, who="lead")
    desk.labels = ["OS", "SOFTWARE", "ERROR"]
    second = candidate(store, desk, placed, ALL)
    promote_candidate(store, placed, desk, who="lead")
    with pytest.raises(BundleError) as refused:
        rollback(store, placed, desk, who="lead", reason="misses versions")
    assert f"model {list(tiny.LABELS)}, project {desk.labels}" in str(refused.value)
    assert refused.value.exit_code == 9
    assert in_service(store, desk) == second
    assert states(store, desk) == ["retired", "promoted"]

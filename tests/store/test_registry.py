from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from store import registry
from store.database.schema import HOLDOUT, Project
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.errors import NotFoundError, RefusedError
from store.gold import gold
from store.projects import create_project, project_by_id
from store.registry import (
    TrainedOn,
    TypeScore,
    fail_model,
    finish_model,
    lineage,
    model,
    models,
    promote,
    promoted,
    promotions,
    reject,
    rollback,
    save_scores,
    save_training_items,
    scores,
    trained_on,
)
from tests.store import given

DECISION = {"reason": "better", "who": "ana"}


def candidates(store: Store, project: Project, count: int) -> list[str]:
    return [given.candidate(store, project.id) for _ in range(count)]


def serve(store: Store, project: Project, *versions: str) -> None:
    for version in versions:
        with store.transaction() as tx:
            promote(tx, project.id, version, **DECISION)
            tx.commit()


def back(store: Store, project: Project, to: str | None = None) -> str:
    with store.transaction() as tx:
        version = rollback(tx, project.id, reason="worse in service", who="ben", to=to).version
        tx.commit()
    return version


def state(store: Store, version: str) -> str:
    with store.read() as session:
        return model(session, version).state


def serving(store: Store, project: Project) -> str | None:
    with store.read() as session:
        found = promoted(session, project.id)
        return None if found is None else found.version


def test_versions_are_numbered_by_project(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    assert candidates(store, project, 2) == ["it-support-0001", "it-support-0002"]
    assert candidates(store, other, 1) == ["other-0001"]


def test_a_number_is_never_given_again(store: Store, project: Project) -> None:
    first = given.candidate(store, project.id, finished=False)
    with store.transaction() as tx:
        fail_model(tx, first, "loss is not finite")
        tx.commit()
    assert given.candidate(store, project.id) == "it-support-0002"


def test_a_model_remembers_what_made_it(store: Store, project: Project) -> None:
    version = given.candidate(store, project.id)
    with store.read() as session:
        found = model(session, version)
    assert (found.state, found.encoder, found.seed, found.parent) == ("candidate", "minilm", 13, None)
    assert (found.settings, found.libraries) == ({"rank": 16}, {"torch": "2.13.0"})
    assert (found.files, found.path) == ({"model.onnx": "f" * 64}, "it-support/it-support-0001")


def test_a_model_in_training_is_no_candidate_until_its_folder_is_whole(store: Store, project: Project) -> None:
    version = given.candidate(store, project.id, finished=False)
    assert state(store, version) == "training"
    with pytest.raises(RefusedError, match="is training"):
        serve(store, project, version)
    with store.transaction() as tx:
        finish_model(tx, version, files={}, figures={"parity": 0.1})
        with pytest.raises(RefusedError, match="is candidate"):
            finish_model(tx, version, files={})
        tx.commit()
    assert state(store, version) == "candidate"


@pytest.mark.parametrize(("interrupted", "ends"), [(False, "failed"), (True, "interrupted")])
@pytest.mark.parametrize("force", [False, True])
def test_a_model_that_ended_badly_is_never_promoted(
    store: Store, project: Project, interrupted: bool, ends: str, force: bool
) -> None:
    version = given.candidate(store, project.id)
    with store.transaction() as tx:
        fail_model(tx, version, "parity \0 broken", interrupted=interrupted)
        tx.commit()
    with pytest.raises(RefusedError, match=f"is {ends}. Train another"), store.transaction() as tx:
        promote(tx, project.id, version, **DECISION, force=force)
    assert serving(store, project) is None


def test_a_promotion_moves_the_pointer_and_retires_the_incumbent(store: Store, project: Project) -> None:
    one, two = candidates(store, project, 2)
    serve(store, project, one, two)
    assert serving(store, project) == two
    assert (state(store, one), state(store, two)) == ("retired", "promoted")
    with store.read() as session:
        rows = promotions(session, project.id)
        assert len(models(session, project.id, ["promoted"])) == 1
    assert [(row.version, row.previous, row.action, row.forced) for row in rows] == [
        (one, None, "promote", False),
        (two, one, "promote", False),
    ]
    assert (rows[0].reason, rows[0].who) == ("better", "ana")


def test_a_promotion_that_is_not_committed_moves_nothing(store: Store, project: Project) -> None:
    one, two = candidates(store, project, 2)
    serve(store, project, one)
    with store.transaction() as tx:
        promote(tx, project.id, two, **DECISION)
    assert serving(store, project) == one
    assert (state(store, one), state(store, two)) == ("promoted", "candidate")
    with store.read() as session:
        assert len(promotions(session, project.id)) == 1


def test_a_promotion_that_fails_half_way_moves_nothing(
    store: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = candidates(store, project, 2)
    serve(store, project, one)
    monkeypatch.setattr(registry, "PROMOTED", None)
    with pytest.raises(Exception, match="state"):
        serve(store, project, two)
    assert serving(store, project) == one
    assert state(store, one) == "promoted"


def test_an_unknown_version_is_not_promoted(store: Store, project: Project) -> None:
    with pytest.raises(NotFoundError, match="it-support-0009") as caught:
        serve(store, project, "it-support-0009")
    assert caught.value.exit_code == 3


def test_a_model_of_another_project_is_not_promoted(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    with pytest.raises(RefusedError, match="other-0001 is not of 'IT Support'"):
        serve(store, project, given.candidate(store, other.id))


def test_a_model_in_service_is_not_promoted_again(store: Store, project: Project) -> None:
    (one,) = candidates(store, project, 1)
    with pytest.raises(RefusedError, match="is in service"):
        serve(store, project, one, one)


def test_rejected_and_retired_models_are_promoted_only_by_force_and_it_shows(store: Store, project: Project) -> None:
    one, two, rejected = candidates(store, project, 3)
    serve(store, project, one, two)
    with store.transaction() as tx:
        row = reject(tx, project.id, rejected, reason="0.70 against 0.71", who="loop", figures={"f1": 0.7})
        assert (row.action, row.previous, row.figures) == ("reject", two, {"f1": 0.7})
        tx.commit()
    for version in (one, rejected):
        with pytest.raises(RefusedError, match="force it"):
            serve(store, project, version)
        with store.transaction() as tx:
            assert promote(tx, project.id, version, **DECISION, force=True).forced
            tx.commit()
        assert serving(store, project) == version


def test_a_rejection_leaves_the_incumbent(store: Store, project: Project) -> None:
    one, two = candidates(store, project, 2)
    serve(store, project, one)
    with store.transaction() as tx:
        reject(tx, project.id, two, reason="ties lose", who="loop")
        with pytest.raises(RefusedError, match="only a candidate is rejected"):
            reject(tx, project.id, one, reason="no", who="loop")
        tx.commit()
    assert serving(store, project) == one
    assert state(store, two) == "rejected"


@pytest.mark.parametrize("missing", [{"reason": " ", "who": "ana"}, {"reason": "better", "who": ""}])
def test_a_decision_names_its_maker_and_reason(store: Store, project: Project, missing: dict[str, Any]) -> None:
    (one,) = candidates(store, project, 1)
    with pytest.raises(RefusedError, match="who made it and why"), store.transaction() as tx:
        promote(tx, project.id, one, **missing)


def test_a_rollback_goes_one_back_and_a_second_one_two_back(store: Store, project: Project) -> None:
    one, two, three = candidates(store, project, 3)
    serve(store, project, one, two, three)
    assert back(store, project) == two
    assert (state(store, two), state(store, three)) == ("promoted", "retired")
    assert back(store, project) == one
    assert serving(store, project) == one
    with pytest.raises(RefusedError, match="is the first"):
        back(store, project)


def test_a_rollback_after_a_rollback_and_a_promotion_skips_what_was_withdrawn(store: Store, project: Project) -> None:
    one, two, three = candidates(store, project, 3)
    serve(store, project, one, two)
    back(store, project)
    serve(store, project, three)
    assert back(store, project) == one


def test_a_rollback_to_a_version_goes_there_and_forgets_what_came_after(store: Store, project: Project) -> None:
    one, two, three = candidates(store, project, 3)
    serve(store, project, one, two, three)
    assert back(store, project, to=one) == one
    with pytest.raises(RefusedError, match="is the first"):
        back(store, project)


def test_a_rollback_can_be_taken_back_by_naming_the_version(store: Store, project: Project) -> None:
    one, two = candidates(store, project, 2)
    serve(store, project, one, two)
    assert [back(store, project), back(store, project, to=two), back(store, project)] == [one, two, one]


def test_a_rollback_without_anything_in_service_is_refused(store: Store, project: Project) -> None:
    candidates(store, project, 1)
    with pytest.raises(RefusedError, match=r"a rollback needs a model in service: got none\. .*loop promote"):
        back(store, project)


def test_a_rollback_goes_only_to_what_was_in_service(store: Store, project: Project) -> None:
    one, two, never = candidates(store, project, 3)
    serve(store, project, one, two)
    with pytest.raises(RefusedError, match=f"Such are: {one}"):
        back(store, project, to=never)
    with pytest.raises(RefusedError, match="in service"):
        back(store, project, to=two)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(moves=st.lists(st.booleans(), max_size=8))
def test_promotions_and_rollbacks_behave_as_a_stack(store: Store, moves: list[bool]) -> None:
    """True promotes a new candidate, False rolls back."""
    with store.transaction() as tx:
        project = create_project(tx, "P", label_config="", labels=[])
        stack: list[str] = []
        for up in moves:
            if up:
                stack.append(given.candidate_in(tx, project.id))
                promote(tx, project.id, stack[-1], **DECISION)
            elif len(stack) > 1:
                stack.pop()
                assert rollback(tx, project.id, reason="r", who="w").version == stack[-1]
            else:
                with pytest.raises(RefusedError):
                    rollback(tx, project.id, reason="r", who="w")
            assert project_by_id(tx.session, project.id).promoted_version == (stack[-1] if stack else None)
            in_service = models(tx.session, project.id, ["promoted"])
            assert [found.version for found in in_service] == stack[-1:]


def test_lineage_runs_from_a_model_to_its_first_ancestor(store: Store, project: Project) -> None:
    first = given.candidate(store, project.id)
    second = given.candidate(store, project.id, parent=first)
    third = given.candidate(store, project.id, parent=second)
    given.candidate(store, project.id)
    with store.read() as session:
        assert [found.version for found in lineage(session, third)] == [third, second, first]


def test_a_parent_is_a_model_of_the_same_project(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    stranger = given.candidate(store, other.id)
    for parent, error in ((stranger, RefusedError), ("it-support-0099", NotFoundError)):
        with pytest.raises(error):
            given.candidate(store, project.id, parent=parent)


def test_a_model_says_exactly_which_annotation_versions_it_was_trained_on(store: Store, project: Project) -> None:
    one, two, three = given.documents(store, project.id, ["one", "two", "three"])
    given.annotated(store, one, given.annotation((0, 3, "OS")))
    given.annotated(store, two, given.annotation((0, 3, "OS")))
    with store.read() as session:
        versions = {item.document_id: item.annotation_version_id for item in gold(session, project.id)}
    version = given.candidate(store, project.id)
    items = [
        TrainedOn(one, versions[one], "train", "gold"),
        TrainedOn(two, versions[two], "dev", "gold"),
        TrainedOn(three, None, "train", "weak"),
    ]
    given.trained_on(store, version, *items)
    given.annotated(store, one, given.annotation((0, 2, "OS")))
    with store.read() as session:
        assert trained_on(session, version) == items


def test_nothing_of_the_holdout_is_recorded_as_trained_on(store: Store, project: Project) -> None:
    (held,) = given.documents(store, project.id, ["held"], HOLDOUT)
    with store.transaction() as tx:
        same = NewDocument("held", external_id="twin", group="other")
        (twin,) = add_documents(tx, project.id, [same], "train").document_ids
        tx.commit()
    version = given.candidate(store, project.id)
    for key in (held, twin):
        with pytest.raises(RefusedError, match="training_gold"):
            given.trained_on(store, version, TrainedOn(key, None, "train", "weak"))


@pytest.mark.parametrize(
    "item", [(1, None, "train", "gold"), (1, 1, "train", "weak"), (1, None, "test", "weak"), (1, None, "dev", "silver")]
)
def test_a_training_item_that_makes_no_sense_is_refused(store: Store, project: Project, item: Any) -> None:
    version = given.candidate(store, project.id)
    with pytest.raises(RefusedError), store.transaction() as tx:
        save_training_items(tx, version, [TrainedOn(*item)])


def test_documents_of_another_project_are_not_trained_on(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    (key,) = given.documents(store, other.id, ["text"])
    with pytest.raises(RefusedError, match="documents of its project"):
        given.trained_on(store, given.candidate(store, project.id), TrainedOn(key, None, "train", "weak"))


def test_scores_are_those_of_the_latest_evaluation(store: Store, project: Project) -> None:
    version = given.candidate(store, project.id)
    first = [TypeScore("OS", 1.0, 0.5, 2 / 3, 2, 1, 1), TypeScore("micro", 1.0, 0.5, 2 / 3, 2, 1, 1)]
    second = [TypeScore("OS", 1.0, 1.0, 1.0, 2, 2, 2), TypeScore("micro", 1.0, 1.0, 1.0, 2, 2, 2)]
    for evaluation, name in ((first, "before"), (second, "after")):
        with store.transaction() as tx:
            save_scores(tx, version, HOLDOUT, evaluation, name)
            tx.commit()
    with store.read() as session:
        assert scores(session, version, HOLDOUT) == second
        assert scores(session, version, "dev.jsonl") == []


def test_scores_of_an_unknown_model_are_refused(store: Store, project: Project) -> None:
    with pytest.raises(NotFoundError), store.transaction() as tx:
        save_scores(tx, "nobody-0001", HOLDOUT, [], "f")


def test_a_candidate_is_held_or_superseded_and_nothing_in_service_moves(store: Store, project: Project) -> None:
    one, two, three = candidates(store, project, 3)
    serve(store, project, one)
    with store.transaction() as tx:
        registry.hold(tx, project.id, two, **DECISION)
        registry.supersede(tx, project.id, two, by=three, who="ana")
        for done in (registry.hold, registry.reject):
            with pytest.raises(RefusedError, match=f"{two} is superseded"):
                done(tx, project.id, two, **DECISION)
        tx.commit()
    assert [state(store, version) for version in (one, two, three)] == ["promoted", "superseded", "candidate"]
    with store.read() as session:
        assert [(row.action, row.reason) for row in promotions(session, project.id)][1:] == [
            ("hold", "better"),
            ("supersede", f"superseded by {three}"),
        ]
    with store.transaction() as tx:
        with pytest.raises(RefusedError, match="only a candidate is promoted"):
            promote(tx, project.id, two, **DECISION)
        assert promote(tx, project.id, two, force=True, **DECISION).forced


def test_a_model_is_put_back_unless_a_rollback_took_it_out(store: Store, project: Project) -> None:
    one, two, three = candidates(store, project, 3)
    serve(store, project, one, two)
    with store.transaction() as tx:
        put = registry.put_back(tx, project.id, one, **DECISION)
        assert (put.action, put.version, put.previous) == ("put back", one, two)
        tx.commit()
    assert (state(store, one), state(store, two)) == ("promoted", "retired")
    serve(store, project, three)
    assert back(store, project) == one
    for version in (one, three):  # in service; taken out by the rollback
        with store.transaction() as tx, pytest.raises(RefusedError, match="is put back"):
            registry.put_back(tx, project.id, version, **DECISION)
    assert back(store, project) == two
    with store.transaction() as tx, pytest.raises(RefusedError, match="is put back"):
        registry.put_back(tx, project.id, one, **DECISION)  # it served first, too, but a person rolled it back since

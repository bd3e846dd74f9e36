"""Publishing to a Label Studio in memory: what is sent, in which order, and what survives a kill or a refusal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from loop.label_studio.client import LabelStudioError, format_time
from loop.sync.publish import publish
from loop.sync.pull import pull
from loop.sync.queue import plan
from ner.errors import ConfigError
from ner.models.bundle import load_bundle
from ner.spans import Span
from ner.tagger import Tagger
from store.database.columns import utc_now
from store.database.schema import Project
from store.database.session import Store
from store.documents import StoredDocument, stored_documents
from store.gold import count_unpublished
from store.holdout import HoldoutTerms, not_blind, rotate, spend_look
from store.predictions import predictions, ranks
from store.projects import create_project, link
from tests.fakes import CONFIG, FakeLabelStudio, tiny_bundle
from tests.store import given

WORDS = {"excel": "SOFTWARE", "windows": "OS"}
CERTAINTY = {f"w{n}": n / 20 for n in range(1, 20)}


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(CONFIG, [f"excel w{n} windows" for n in range(19, 0, -1)])


def made_project(store: Store, server: FakeLabelStudio, holdout_share: float = 0.0) -> Project:
    with store.transaction() as tx:
        project = create_project(
            tx, "it", label_config=CONFIG, labels=["SOFTWARE", "OS"], holdout_share=holdout_share, salt="s"
        )
        link(tx, project.id, server.url, 1)
        tx.commit()
    pull(store, server, project)
    return project


def promoted_tagger(
    store: Store, project: Project, folder: Path, labels: tuple[str, ...] = ("SOFTWARE", "OS")
) -> Tagger:
    version = given.promoted(store, project.id)
    path = tiny_bundle(folder / version, labels, WORDS, certainty=CERTAINTY, version=version)
    return Tagger(load_bundle(path))


def queue_of(server: FakeLabelStudio) -> list[str]:
    """The texts in the order in which one annotator is offered them, each submitted empty."""
    texts = []
    while (task := server.next_task(1)) is not None:
        texts.append(task["data"]["text"])
        server.submit_annotation(task["id"], {"result": []})
    return texts


def test_the_least_confident_is_offered_first_and_shown_with_its_regions(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server)
    counts = publish(store, server, project, promoted_tagger(store, project, tmp_path))
    assert (counts.open, counts.sent, counts.created, counts.activated) == (19, 19, 19, True)
    offered = server.next_task(1)
    assert offered is not None
    (shown,) = offered["predictions"]
    assert [region["value"]["labels"] for region in shown["result"]] == [["SOFTWARE"], ["OS"]]
    assert server.settings["sampling"] == "Uncertainty sampling"
    assert queue_of(server) == [f"excel w{n} windows" for n in range(1, 20)]


def test_all_goes_in_one_call_and_again_sends_nothing(store: Store, server: FakeLabelStudio, tmp_path: Path) -> None:
    project = made_project(store, server)
    tagger = promoted_tagger(store, project, tmp_path)
    publish(store, server, project, tagger)
    again = publish(store, server, project, tagger)
    assert (again.sent, again.carried, again.changed) == (0, 19, False)
    assert server.calls.count("import_predictions") == 1


def test_only_new_tasks_are_sent_when_the_model_did_not_change(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server)
    tagger = promoted_tagger(store, project, tmp_path)
    publish(store, server, project, tagger)
    server.import_tasks(1, [{"data": {"text": "windows w3 again"}}])
    pull(store, server, project)
    counts = publish(store, server, project, tagger)
    assert (counts.sent, counts.carried, counts.activated) == (1, 19, False)
    with store.read() as session:
        assert len(predictions(session, tagger.version)) == len(ranks(session, tagger.version)) == 20


def test_labelled_and_deleted_tasks_get_nothing(store: Store, server: FakeLabelStudio, tmp_path: Path) -> None:
    project = made_project(store, server)
    tagger = promoted_tagger(store, project, tmp_path)
    done, gone = sorted(server.tasks)[:2]
    server.annotate(done, [])
    del server.tasks[gone]
    pull(store, server, project)
    assert publish(store, server, project, tagger).sent == 17


def test_a_task_deleted_since_the_pull_is_noticed_and_the_rest_is_sent(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server)
    tagger = promoted_tagger(store, project, tmp_path)
    del server.tasks[sorted(server.tasks)[5]]
    counts = publish(store, server, project, tagger)
    assert (counts.deleted, counts.open, counts.created) == (1, 18, 18)


def test_a_refusal_for_another_reason_is_not_repeated(store: Store, server: FakeLabelStudio, tmp_path: Path) -> None:
    project = made_project(store, server)
    tagger = promoted_tagger(store, project, tmp_path)
    server.fail("import_predictions", status=400)
    with pytest.raises(LabelStudioError):
        publish(store, server, project, tagger)
    assert server.calls.count("import_predictions") == 1


def test_predictions_that_the_server_drops_are_an_error_and_the_next_run_sends_only_those(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server)
    tagger = promoted_tagger(store, project, tmp_path)
    server.lost_predictions = 4
    with pytest.raises(LabelStudioError, match="15 of 19 created"):
        publish(store, server, project, tagger)
    assert server.settings["model_version"] is None
    server.lost_predictions = 0
    counts = publish(store, server, project, tagger)
    assert (counts.sent, counts.carried, counts.activated) == (4, 15, True)


# What a publish does in this order; a kill comes before one of these, or when the last predictions have arrived.
MOMENTS = ("import_predictions", "arrived", "update_project", "confirm_predictions")


def publish_killed(store: Store, server: FakeLabelStudio, project: Project, tagger: Tagger, moment: str) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        if moment == "arrived":
            server.after["import_predictions"] = killed
        elif moment == "confirm_predictions":
            patch.setattr("loop.sync.publish.confirm_predictions", killed)
        else:
            patch.setattr(server, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            publish(store, server, project, tagger)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_publish_that_is_killed_at_any_moment_is_completed_by_the_next_without_doubling(
    store: Store, server: FakeLabelStudio, tmp_path: Path, moment: str
) -> None:
    project = made_project(store, server, holdout_share=0.3)
    tagger = promoted_tagger(store, project, tmp_path)
    publish_killed(store, server, project, tagger, moment)
    with store.read() as session:
        assert count_unpublished(session, project.id, tagger.version) == 19
    counts = publish(store, server, project, tagger)
    assert counts.sent == (19 if moment == "import_predictions" else 0)
    assert counts.activated is (moment != "confirm_predictions")
    assert server.settings["model_version"] == tagger.version
    assert all(len(task["predictions"]) == 1 for task in server.tasks.values())
    with store.read() as session:
        shown, queue = predictions(session, tagger.version), ranks(session, tagger.version)
        stored = stored_documents(session, project.id)
    by_task = {document.ls_task_id: shown[document.document_id].score for document in stored}
    assert by_task == {key: task["predictions"][0]["score"] for key, task in server.tasks.items()}
    assert [row.rank for row in queue] == list(range(19))


def rotated(store: Store, project: Project, version: str) -> list[StoredDocument]:
    """Spend the holdout and draw the next one; its documents."""
    with store.transaction() as tx:
        terms = HoldoutTerms(0.05, 1, "even")
        spend_look(tx, project.id, 1, version, "0" * 64, default=terms, alpha_of=lambda *_: 0.05)
        assert rotate(tx, project.id) is not None
        tx.commit()
    with store.read() as session:
        return stored_documents(session, project.id, ["holdout"])


def annotated_from_prelabel(server: FakeLabelStudio, task_id: int) -> None:
    (shown,) = server.tasks[task_id]["predictions"]
    moment = format_time(utc_now())
    server.annotate(task_id, shown["result"], parent_prediction=shown["id"], created_at=moment)


def sighted(store: Store, project: Project) -> set[int]:
    with store.read() as session:
        return not_blind(session, project.id)


def test_what_a_killed_publish_has_shown_is_not_blind_when_its_document_is_drawn(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server, holdout_share=0.3)
    tagger = promoted_tagger(store, project, tmp_path)
    publish_killed(store, server, project, tagger, "arrived")
    drawn = rotated(store, project, tagger.version)[0]
    assert drawn.ls_task_id is not None
    annotated_from_prelabel(server, drawn.ls_task_id)
    pull(store, server, project)
    assert sighted(store, project) == {drawn.document_id}
    publish(store, server, project, tagger)
    assert sighted(store, project) == {drawn.document_id}


def test_what_a_killed_publish_has_shown_is_taken_back_when_its_document_is_drawn(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server, holdout_share=0.3)
    tagger = promoted_tagger(store, project, tmp_path)
    publish_killed(store, server, project, tagger, "arrived")
    drawn = {document.ls_task_id: document.document_id for document in rotated(store, project, tagger.version)}
    publish(store, server, project, tagger)
    for task_id, task in server.tasks.items():
        (shown,) = task["predictions"]
        assert bool(shown["result"]) is (task_id not in drawn)
    for task_id in filter(None, drawn):
        annotated_from_prelabel(server, task_id)
    pull(store, server, project)
    assert sighted(store, project) == set()


def test_a_task_opened_before_it_was_drawn_and_submitted_later_is_not_blind(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server, holdout_share=0.3)
    tagger = promoted_tagger(store, project, tmp_path)
    publish(store, server, project, tagger)
    opened = {task_id: task["predictions"][0]["result"] for task_id, task in server.tasks.items()}
    one, other, *_ = rotated(store, project, tagger.version)
    publish(store, server, project, tagger)
    for document, origin in ((one, "prediction-changed"), (other, "manual")):
        assert document.ls_task_id is not None
        result = [{**region, "origin": origin} for region in opened[document.ls_task_id]]
        server.annotate(document.ls_task_id, result, created_at=format_time(utc_now()))
    pull(store, server, project)
    assert sighted(store, project) == {one.document_id}


@pytest.mark.parametrize("edited", ["before it was drawn", "after it was drawn"])
def test_a_text_that_was_edited_on_the_way_to_the_next_holdout_is_not_blind_while_its_pre_label_stands(
    store: Store, server: FakeLabelStudio, tmp_path: Path, edited: str
) -> None:
    project = made_project(store, server, holdout_share=0.3)
    tagger = promoted_tagger(store, project, tmp_path)
    publish(store, server, project, tagger)

    def edit(task_ids: Iterable[int]) -> None:
        for task_id in task_ids:
            server.edit(task_id, text=f"windows of task {task_id}", id=f"task {task_id}", doc=f"group {task_id}")
        pull(store, server, project)

    if edited == "before it was drawn":
        edit(server.tasks)
    drawn = rotated(store, project, tagger.version)
    early, late, *_ = [document.ls_task_id for document in drawn if document.ls_task_id is not None]
    if edited == "after it was drawn":
        edit([early, late])
    server.annotate(early, [], created_at=format_time(utc_now()))
    pull(store, server, project)
    publish(store, server, project, tagger)
    annotated_from_prelabel(server, late)
    pull(store, server, project)
    with store.read() as session:
        documents = {item.ls_task_id: item.document_id for item in stored_documents(session, project.id, ["holdout"])}
    assert sighted(store, project) == {documents[early]}


@pytest.mark.parametrize("moment", ["delete_prediction", *MOMENTS])
def test_a_kill_while_pre_labels_are_taken_back_makes_nobody_blind_too_early(
    store: Store, server: FakeLabelStudio, tmp_path: Path, moment: str
) -> None:
    project = made_project(store, server, holdout_share=0.3)
    tagger = promoted_tagger(store, project, tmp_path)
    publish(store, server, project, tagger)
    first, *others = rotated(store, project, tagger.version)
    server.settings["sampling"] = "Sequential sampling"  # so that there is something to activate
    publish_killed(store, server, project, tagger, moment)
    assert first.ls_task_id is not None
    server.annotate(first.ls_task_id, [], created_at=format_time(utc_now()))
    pull(store, server, project)
    publish(store, server, project, tagger)
    for document in others:
        assert document.ls_task_id is not None
        (shown,) = server.tasks[document.ls_task_id]["predictions"]
        assert shown["result"] == []
        annotated_from_prelabel(server, document.ls_task_id)
    pull(store, server, project)
    assert sighted(store, project) == {first.document_id}


@pytest.mark.parametrize("moment", ["delete_prediction", *MOMENTS])
def test_after_a_kill_on_the_way_to_the_next_holdout_every_task_shows_what_the_store_says(
    store: Store, server: FakeLabelStudio, tmp_path: Path, moment: str
) -> None:
    project = made_project(store, server, holdout_share=0.3)
    tagger = promoted_tagger(store, project, tmp_path)
    publish(store, server, project, tagger)
    drawn = {document.ls_task_id for document in rotated(store, project, tagger.version)}
    server.settings["sampling"] = "Sequential sampling"  # so that there is something to activate
    publish_killed(store, server, project, tagger, moment)
    publish(store, server, project, tagger)
    with store.read() as session:
        noted, stored = predictions(session, tagger.version), stored_documents(session, project.id)
    for document in stored:
        (shown,) = server.tasks[document.ls_task_id or 0]["predictions"]
        row = noted[document.document_id]
        assert row.holdout is (document.ls_task_id in drawn)
        assert bool(shown["result"]) is bool(row.spans) is not row.holdout


def test_a_prediction_of_the_backend_is_kept_in_the_pool_and_replaced_in_the_holdout(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server, holdout_share=0.3)
    tagger = promoted_tagger(store, project, tmp_path)
    with store.read() as session:
        stored = stored_documents(session, project.id)
    by_split = {document.split: document for document in stored}
    region = {"from_name": "label", "to_name": "text", "type": "labels"}
    region |= {"value": {"start": 0, "end": 5, "labels": ["SOFTWARE"]}}
    answer = {"result": [region], "score": 0.25, "model_version": tagger.version}
    server.import_predictions(1, [{"task": one.ls_task_id, **answer} for one in by_split.values()])
    assert publish(store, server, project, tagger).sent == 18
    with store.read() as session:
        known = predictions(session, tagger.version)
    kept, held = (known[by_split[split].document_id] for split in ("pool", "holdout"))
    assert (kept.score, kept.spans, kept.holdout) == (0.25, (Span(0, 5, "SOFTWARE"),), False)
    assert (held.spans, held.holdout) == ((), True)
    (shown,) = server.tasks[by_split["holdout"].ls_task_id or 0]["predictions"]
    assert shown["result"] == []


def test_the_holdout_is_met_evenly_and_never_pre_labelled(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    server.import_tasks(1, [{"data": {"text": f"excel w{n % 19 + 1} number {n}"}} for n in range(181)])
    project = made_project(store, server, holdout_share=0.2)
    publish(store, server, project, promoted_tagger(store, project, tmp_path))
    with store.read() as session:
        held = {item.text for item in stored_documents(session, project.id) if item.split == "holdout"}
    for task in server.tasks.values():
        assert bool(task["predictions"][0]["result"]) == (task["data"]["text"] not in held)
    order = queue_of(server)
    for quarter in range(4):
        met = sum(text in held for text in order[quarter * 50 : (quarter + 1) * 50])
        assert abs(met - len(held) / 4) <= 2


def test_earlier_versions_stay_and_no_longer_show(store: Store, server: FakeLabelStudio, tmp_path: Path) -> None:
    project = made_project(store, server)
    publish(store, server, project, promoted_tagger(store, project, tmp_path))
    second = promoted_tagger(store, project, tmp_path)
    assert publish(store, server, project, second).sent == 19
    offered = server.next_task(1)
    assert offered is not None
    assert [shown["model_version"] for shown in offered["predictions"]] == [second.version]
    assert {len(task["predictions"]) for task in server.tasks.values()} == {2}


def test_with_no_open_task_the_version_is_left_alone(store: Store, server: FakeLabelStudio, tmp_path: Path) -> None:
    for task_id in server.tasks:
        server.annotate(task_id, [])
    project = made_project(store, server)
    counts = publish(store, server, project, promoted_tagger(store, project, tmp_path))
    assert (counts.open, counts.sent, server.settings["model_version"]) == (0, 0, None)


def test_a_model_with_labels_that_the_config_lacks_is_refused_before_anything_is_sent(
    store: Store, server: FakeLabelStudio, tmp_path: Path
) -> None:
    project = made_project(store, server)
    tagger = promoted_tagger(store, project, tmp_path, ("SOFTWARE", "OS", "PERSON"))
    with pytest.raises(ConfigError, match="PERSON"):
        publish(store, server, project, tagger)
    assert "import_predictions" not in server.calls


def test_progress_counts_what_is_tagged(store: Store, server: FakeLabelStudio, tmp_path: Path) -> None:
    project = made_project(store, server)
    told: list[tuple[int, int]] = []
    publish(
        store,
        server,
        project,
        promoted_tagger(store, project, tmp_path),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (19, 19)


def test_a_plan_of_nothing_is_empty() -> None:
    assert plan([], [], [0.5], "salt") == []

"""Publishing to the real server: what is shown, and in which order tasks are offered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loop.label_studio.client import LabelStudioClient, LabelStudioError
from loop.sync.publish import publish, still_stands
from loop.sync.pull import pull
from store.database.session import Store, open_store
from store.documents import StoredDocument, stored_documents
from store.holdout import HoldoutTerms, not_blind, rotate, spend_look
from store.predictions import predictions
from tests.server.linked import Linked, make_linked, region

WORDS = {"excel": "SOFTWARE", "windows": "OS"}
CERTAINTY = {f"w{n}": n / 40 for n in range(1, 40)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield store
    store.close()


@pytest.fixture
def linked(store: Store, client: LabelStudioClient) -> Linked:
    return make_linked(store, client, "publish", holdout_share=0.4)


def offered(linked: Linked, client: LabelStudioClient, count: int) -> list[tuple[str, list[str], float]]:
    """(text, labels shown, score) of the next tasks in the order in which one annotator is offered them."""
    met = []
    for _ in range(count):
        task = client.next_task(linked.ls_id)
        assert task is not None
        (shown,) = task["predictions"]
        labels = [part["value"]["labels"][0] for part in shown["result"]]
        met.append((task["data"]["text"], labels, shown["score"]))
        client.submit_annotation(int(task["id"]), {"result": []})
    return met


def test_tasks_are_offered_by_confidence_with_the_holdout_spread_among_them(linked: Linked, tmp_path: Path) -> None:
    linked.add(f"excel w{n} windows" for n in range(24, 0, -1))
    pull(linked.store, linked.client, linked.project)
    tagger = linked.promoted_tagger(tmp_path, WORDS, CERTAINTY)
    counts = publish(linked.store, linked.client, linked.project, tagger)
    assert (counts.open, counts.created, counts.activated) == (24, 24, True)
    with linked.store.read() as session:
        stored = stored_documents(session, linked.project.id)
        planned = predictions(session, tagger.version)
    held = {document.text for document in stored if document.split == "holdout"}
    assert 4 <= len(held) <= 14

    met = offered(linked, linked.client, 24)
    assert [score for _, _, score in met] == sorted(score for _, _, score in met)
    pool = [text for text, _, _ in met if text not in held]
    assert pool == sorted(pool, key=lambda text: int(text.split()[1][1:]))
    assert all((labels == []) == (text in held) for text, labels, _ in met)
    half = sum(text in held for text, _, _ in met[:12])
    assert abs(half - len(held) / 2) <= 1.5
    scores = {document.text: planned[document.document_id].score for document in stored}
    assert {text: score for text, _, score in met} == pytest.approx(scores)
    assert linked.client.next_task(linked.ls_id) is None


def test_two_annotators_walk_the_same_order_in_turn(
    linked: Linked, second_client: LabelStudioClient, tmp_path: Path
) -> None:
    linked.add(f"excel w{n} windows" for n in range(8, 0, -1))
    pull(linked.store, linked.client, linked.project)
    publish(linked.store, linked.client, linked.project, linked.promoted_tagger(tmp_path, WORDS, CERTAINTY))
    met = [offered(linked, client, 1)[0] for _ in range(4) for client in (linked.client, second_client)]
    assert [score for _, _, score in met] == sorted(score for _, _, score in met)


def test_a_new_version_shows_alone_and_the_old_predictions_stay(linked: Linked, tmp_path: Path) -> None:
    ids = linked.add(f"excel w{n} windows" for n in range(6, 0, -1))
    pull(linked.store, linked.client, linked.project)
    first = linked.promoted_tagger(tmp_path, WORDS, CERTAINTY)
    publish(linked.store, linked.client, linked.project, first)
    second = linked.promoted_tagger(tmp_path, {"excel": "SOFTWARE"}, CERTAINTY)
    assert publish(linked.store, linked.client, linked.project, second).created == 6
    assert linked.client.model_versions(linked.ls_id) == {first.version: 6, second.version: 6}
    task = linked.client.next_task(linked.ls_id)
    assert task is not None
    assert [shown["model_version"] for shown in task["predictions"]] == [second.version]
    assert len(linked.task(ids[0])["predictions"]) == 2


def test_again_sends_nothing_and_new_tasks_alone_are_sent(linked: Linked, tmp_path: Path) -> None:
    linked.add(f"excel w{n} windows" for n in range(6, 0, -1))
    pull(linked.store, linked.client, linked.project)
    tagger = linked.promoted_tagger(tmp_path, WORDS, CERTAINTY)
    publish(linked.store, linked.client, linked.project, tagger)
    assert not publish(linked.store, linked.client, linked.project, tagger).changed
    linked.add(["windows w3 again"])
    pull(linked.store, linked.client, linked.project)
    counts = publish(linked.store, linked.client, linked.project, tagger)
    assert (counts.sent, counts.carried, counts.activated) == (1, 6, False)


def test_what_was_sent_before_a_kill_is_not_sent_again(
    linked: Linked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked.add(f"excel w{n} windows" for n in range(6, 0, -1))
    pull(linked.store, linked.client, linked.project)
    tagger = linked.promoted_tagger(tmp_path, WORDS, CERTAINTY)
    with monkeypatch.context() as patched:
        patched.setattr(linked.client, "update_project", _killed)
        with pytest.raises(KeyboardInterrupt):
            publish(linked.store, linked.client, linked.project, tagger)
    counts = publish(linked.store, linked.client, linked.project, tagger)
    assert (counts.sent, counts.carried, counts.activated) == (0, 6, True)
    assert linked.client.model_versions(linked.ls_id) == {tagger.version: 6}


def test_what_a_killed_publish_has_sent_is_taken_back_from_the_next_holdout(
    linked: Linked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = linked.add([f"excel {n} stopped on windows" for n in range(40)])
    pull(linked.store, linked.client, linked.project)
    tagger = linked.promoted_tagger(tmp_path, WORDS, CERTAINTY)
    with monkeypatch.context() as patched:
        patched.setattr(linked.client, "update_project", _killed)
        with pytest.raises(KeyboardInterrupt):
            publish(linked.store, linked.client, linked.project, tagger)
    _draw_the_next_holdout(linked, tagger.version)
    second = {document.ls_task_id for document in held_out(linked)}
    annotated, *others = [task_id for task_id in ids if task_id in second]
    (shown,) = linked.task(annotated)["predictions"]
    linked.client.submit_annotation(annotated, {"result": shown["result"], "parent_prediction": shown["id"]})
    pull(linked.store, linked.client, linked.project)

    publish(linked.store, linked.client, linked.project, tagger)
    for task_id in others:
        (shown,) = linked.task(task_id)["predictions"]
        assert shown["result"] == []
        linked.annotate(task_id, (0, 5, "SOFTWARE"))
    pull(linked.store, linked.client, linked.project)
    by_id = {document.document_id: document.ls_task_id for document in held_out(linked)}
    with linked.store.read() as session:
        assert [by_id[key] for key in not_blind(session, linked.project.id)] == [annotated]


def _draw_the_next_holdout(linked: Linked, version: str) -> None:
    with linked.store.transaction() as tx:
        terms = HoldoutTerms(0.05, 1, "even")
        spend_look(tx, linked.project.id, 1, version, "0" * 64, default=terms, alpha_of=lambda *_: 0.05)
        assert rotate(tx, linked.project.id) is not None
        tx.commit()


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_task_deleted_since_the_pull_does_not_stop_the_rest(linked: Linked, tmp_path: Path) -> None:
    ids = linked.add(f"excel w{n} windows" for n in range(6, 0, -1))
    pull(linked.store, linked.client, linked.project)
    linked.act("delete_tasks", ids[2:4])
    counts = publish(linked.store, linked.client, linked.project, linked.promoted_tagger(tmp_path, WORDS, CERTAINTY))
    assert (counts.deleted, counts.created) == (2, 4)


def test_predictions_of_another_control_are_dropped_by_the_server_and_that_is_an_error(
    linked: Linked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked.add(f"excel w{n} windows" for n in range(6, 0, -1))
    pull(linked.store, linked.client, linked.project)
    wrong = [region(0, 5, "SOFTWARE") | {"from_name": "other"}]
    monkeypatch.setattr("loop.sync.publish.to_result", lambda spans, text, config: wrong if spans else [])
    with pytest.raises(LabelStudioError, match="of 6 created"):
        publish(linked.store, linked.client, linked.project, linked.promoted_tagger(tmp_path, WORDS, CERTAINTY))
    assert not linked.client.project(linked.ls_id)["model_version"]


def test_names_that_hold_one_another_are_told_apart(linked: Linked) -> None:
    ids = linked.add(f"number {n}" for n in range(4))
    carried = {ids[0]: ["it-0001", "it-0002"], ids[1]: ["git-0001"], ids[2]: ["it-00010", "it-0001"]}
    sent = [
        {"task": task_id, "result": [], "score": 0.5, "model_version": version}
        for task_id, versions in carried.items()
        for version in versions
    ]
    linked.client.import_predictions(linked.ls_id, sent)
    versions = linked.client.model_versions(linked.ls_id)
    assert linked.client.open_tasks_without(linked.ls_id, "it-0001", versions) == {ids[1], ids[3]}
    assert linked.client.open_tasks_without(linked.ls_id, "it-0002", versions) == set(ids) - {ids[0]}


def test_predictions_and_settings_that_people_took_away_are_noticed_and_put_back(
    linked: Linked, tmp_path: Path
) -> None:
    ids = linked.add(f"excel w{n} windows" for n in range(1, 7))
    pull(linked.store, linked.client, linked.project)
    tagger = linked.promoted_tagger(tmp_path, WORDS, CERTAINTY)

    def published() -> int:
        return publish(linked.store, linked.client, linked.project, tagger).created

    def stands() -> bool:
        return still_stands(linked.client, linked.project, tagger.version, 6)

    assert published() == 6
    assert stands()
    linked.act("delete_tasks_predictions", ids[:2])
    assert not stands()
    assert published() == 2
    assert stands()
    linked.act("delete_tasks_predictions", ids)  # which clears the project's model version too
    assert published() == 6
    assert stands()
    linked.client.update_project(linked.ls_id, sampling="Sequential sampling")
    assert not stands()
    assert published() == 0
    assert stands()


def test_a_text_edited_after_publishing_gets_the_prediction_of_its_own_words(linked: Linked, tmp_path: Path) -> None:
    edited, other = linked.add(["excel stopped on windows", "windows again"])
    pull(linked.store, linked.client, linked.project)
    tagger = linked.promoted_tagger(tmp_path, WORDS, CERTAINTY)
    publish(linked.store, linked.client, linked.project, tagger)
    before = linked.task(other)["predictions"]

    linked.client.http.patch(f"/api/tasks/{edited}/", {"data": {"text": "on windows, the new excel stopped"}})
    pull(linked.store, linked.client, linked.project)
    counts = publish(linked.store, linked.client, linked.project, tagger)
    assert (counts.sent, counts.created, counts.carried) == (1, 1, 1)
    (shown,) = linked.task(edited)["predictions"]
    held = {document.text for document in held_out(linked)}
    expected = [] if "on windows, the new excel stopped" in held else [(3, 10), (20, 25)]
    assert [(part["value"]["start"], part["value"]["end"]) for part in shown["result"]] == expected
    assert linked.task(other)["predictions"] == before
    assert linked.client.project(linked.ls_id)["model_version"] == tagger.version
    assert publish(linked.store, linked.client, linked.project, tagger).sent == 0


def test_a_next_holdout_loses_its_pre_labels_and_what_is_retired_gets_some(linked: Linked, tmp_path: Path) -> None:
    ids = linked.add([f"excel {n} stopped on windows" for n in range(40)])
    pull(linked.store, linked.client, linked.project)
    tagger = linked.promoted_tagger(tmp_path, WORDS, CERTAINTY)
    publish(linked.store, linked.client, linked.project, tagger)
    first = {document.ls_task_id for document in held_out(linked)}
    _draw_the_next_holdout(linked, tagger.version)
    second = {document.ls_task_id for document in held_out(linked)}
    assert first
    assert second
    assert not first & second

    counts = publish(linked.store, linked.client, linked.project, tagger)
    assert (counts.sent, counts.holdout) == (len(first | second), len(second))
    for task_id in ids:
        (shown,) = linked.task(task_id)["predictions"]
        assert bool(shown["result"]) is (task_id not in second)
    assert publish(linked.store, linked.client, linked.project, tagger).sent == 0


def held_out(linked: Linked) -> list[StoredDocument]:
    with linked.store.read() as session:
        return stored_documents(session, linked.project.id, ["holdout"])

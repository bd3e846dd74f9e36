"""Pull from the real server: what it really does with changes, bulk actions, deletions and broken data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loop.label_studio.client import LabelStudioClient, LabelStudioError
from loop.sync.pull import UNSERVABLE, pull
from ner.label_studio.results import MALFORMED, NOT_A_SPAN, OUTSIDE_CONFIG, OUTSIDE_TEXT, TEXT_REFUSED
from ner.spans import Span
from store.annotations import history
from store.database.session import Store, open_store
from store.documents import count_open, stored_documents
from store.gold import gold
from store.tasks import live_task_ids
from tests.fakes import CONFIG
from tests.server.linked import Linked, StopsAfter, make_linked, region
from tests.server.real_label_studio import RealLabelStudio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield store
    store.close()


@pytest.fixture
def linked(store: Store, client: LabelStudioClient) -> Linked:
    return make_linked(store, client, "pull")


def gold_spans(linked: Linked) -> list[tuple[Span, ...]]:
    with linked.store.read() as session:
        return [item.spans for item in gold(session, linked.project.id)]


def test_annotations_arrive_with_lead_time_and_parent_and_again_nothing_is_stored(linked: Linked) -> None:
    task_id, *_ = linked.add(f"Excel number {n} crashed" for n in range(7))
    linked.client.import_predictions(
        linked.ls_id, [{"task": task_id, "result": [], "score": 0.5, "model_version": "v"}]
    )
    parent = linked.task(task_id)["predictions"][0]["id"]
    linked.annotate(task_id, (0, 5, "SOFTWARE"), parent_prediction=parent, lead_time=12.5)
    counts = pull(linked.store, linked.client, linked.project, page_size=3)
    assert (counts.new, counts.versions) == (7, 1)
    with linked.store.read() as session:
        (item,) = gold(session, linked.project.id)
        (version,) = history(session, item.document_id)
    assert (item.spans, version.lead_time, version.parent_prediction) == ((Span(0, 5, "SOFTWARE"),), 12.5, parent)
    assert not pull(linked.store, linked.client, linked.project, page_size=3).changed


def test_updates_skips_ground_truth_and_deletions_are_each_seen(
    linked: Linked, second_client: LabelStudioClient
) -> None:
    first, second, third, *_ = linked.add(f"Excel number {n} crashed" for n in range(5))
    made = linked.annotate(first, (0, 5, "SOFTWARE"))
    linked.annotate(second, (0, 5, "SOFTWARE"), was_cancelled=True)
    truth = linked.annotate(third, (0, 5, "OS"), ground_truth=True)
    second_client.submit_annotation(third, {"result": [region(0, 5, "SOFTWARE")]})
    counts = pull(linked.store, linked.client, linked.project)
    assert (counts.annotations, counts.skipped, counts.ground_truth, counts.several_annotators) == (4, 1, 1, 1)
    assert gold_spans(linked) == [(Span(0, 5, "SOFTWARE"),), (Span(0, 5, "OS"),)]
    linked.client.http.patch(f"/api/annotations/{made['id']}/", {"result": [region(0, 12, "OS")]})
    linked.client.http.delete(f"/api/annotations/{truth['id']}/")
    again = pull(linked.store, linked.client, linked.project)
    assert (again.versions, again.removed) == (1, 1)
    assert gold_spans(linked) == [(Span(0, 12, "OS"),), (Span(0, 5, "SOFTWARE"),)]


def test_a_draft_is_no_annotation(linked: Linked) -> None:
    (task_id,) = linked.add(["Excel crashed"])
    linked.client.http.post(f"/api/tasks/{task_id}/drafts", {"result": [region(0, 5, "SOFTWARE")], "lead_time": 1})
    assert pull(linked.store, linked.client, linked.project).annotations == 0


def test_a_bulk_deletion_of_annotations_stamps_all_tasks_alike_and_is_read_whole(linked: Linked) -> None:
    ids = linked.add(f"Excel number {n} crashed" for n in range(8))
    for task_id in ids:
        linked.annotate(task_id, (0, 5, "SOFTWARE"))
    pull(linked.store, linked.client, linked.project)
    linked.act("delete_tasks_annotations", ids[:7])
    assert len({linked.task(task_id)["updated_at"] for task_id in ids[:7]}) == 1
    assert pull(linked.store, linked.client, linked.project, page_size=3).removed == 7
    assert len(gold_spans(linked)) == 1


def test_deleted_tasks_are_noticed_though_new_ones_make_up_the_number(linked: Linked) -> None:
    ids = linked.add(f"Excel number {n} crashed" for n in range(6))
    pull(linked.store, linked.client, linked.project)
    linked.act("delete_tasks", ids[1:3])
    linked.add(["one", "two"])
    counts = pull(linked.store, linked.client, linked.project)
    assert (counts.new, counts.deleted) == (2, 2)
    with linked.store.read() as session:
        assert live_task_ids(session, linked.project.id) == set(linked.task_ids())


def test_what_nothing_on_the_server_checks_is_set_aside_by_reason_and_keeps_its_text_out_of_gold(
    linked: Linked,
) -> None:
    first, second, third, good = linked.add(f"Excel number {n} crashed" for n in range(4))
    linked.annotate(first, (0, 5, "PERSON"), (0, 999, "OS"), (6, 12, "OS"))
    linked.client.submit_annotation(second, {"result": [{"value": None}, {"type": "relation", "from_id": "a"}]})
    linked.client.submit_annotation(third, {"result": [region(5, 2, "OS") | {"value": {"start": "x", "labels": "OS"}}]})
    linked.annotate(good, (6, 12, "OS"))
    linked.client.http.post(f"/api/projects/{linked.ls_id}/import", [{"data": {"text": "  "}}])
    counts = pull(linked.store, linked.client, linked.project)
    assert counts.set_aside == {OUTSIDE_CONFIG: 1, OUTSIDE_TEXT: 1, MALFORMED: 2, NOT_A_SPAN: 1, TEXT_REFUSED: 1}
    assert gold_spans(linked) == [(Span(6, 12, "OS"),)]


def test_a_lone_surrogate_that_breaks_the_servers_pages_is_isolated(linked: Linked) -> None:
    linked.add([*(f"Excel number {n}" for n in range(5)), "broken \ud800 text", "Word"])
    with pytest.raises(LabelStudioError, match="500"):
        linked.client.http.get("/api/tasks", {"project": linked.ls_id, "fields": "all"})
    counts = pull(linked.store, linked.client, linked.project)
    assert (counts.new, counts.unservable, counts.set_aside) == (6, 1, {UNSERVABLE: 1})
    assert not pull(linked.store, linked.client, linked.project).changed


def test_an_edited_text_is_a_new_document(linked: Linked) -> None:
    (task_id,) = linked.add(["Excel crashed"])
    linked.annotate(task_id, (0, 5, "SOFTWARE"))
    pull(linked.store, linked.client, linked.project)
    linked.client.http.patch(f"/api/tasks/{task_id}/", {"data": {"text": "Wordy crashed"}})
    assert pull(linked.store, linked.client, linked.project).edited == 1
    assert gold_spans(linked) == []
    with linked.store.read() as session:
        assert [item.text for item in stored_documents(session, linked.project.id)] == ["Wordy crashed"]


def test_a_label_config_changed_on_the_server_is_taken_over(linked: Linked) -> None:
    (task_id,) = linked.add(["Excel crashed"])
    linked.annotate(task_id, (0, 5, "SOFTWARE"))
    pull(linked.store, linked.client, linked.project)
    linked.client.update_project(linked.ls_id, label_config=CONFIG.replace("OS", "HARDWARE"))
    counts = pull(linked.store, linked.client, linked.project)
    assert (counts.config_changed, counts.labels_added, counts.labels_removed) == (True, ("HARDWARE",), ("OS",))


def test_a_personal_token_does_as_well(linked: Linked, label_studio: RealLabelStudio) -> None:
    linked.add(["Excel crashed"])
    token = str(linked.client.http.post("/api/token/", {})["token"])
    personal = LabelStudioClient(label_studio.url, token)
    assert personal.whoami()["email"] == label_studio.first.email
    assert pull(linked.store, personal, linked.project).new == 1


def test_a_server_stopped_in_the_middle_of_a_pull_loses_and_doubles_nothing(
    linked: Linked, label_studio: RealLabelStudio
) -> None:
    ids = linked.add(f"Excel number {n} crashed" for n in range(12))
    for task_id in ids[:6]:
        linked.annotate(task_id, (0, 5, "SOFTWARE"))
    impatient = StopsAfter(label_studio, pages=2)
    try:
        with pytest.raises(LabelStudioError, match="Start Label Studio"):
            pull(linked.store, impatient, linked.project, page_size=3)
    finally:
        label_studio.start()
    with linked.store.read() as session:
        assert 0 < len(stored_documents(session, linked.project.id)) < 12
    pull(linked.store, linked.client, linked.project, page_size=3)
    with linked.store.read() as session:
        items = gold(session, linked.project.id)
        assert live_task_ids(session, linked.project.id) == set(ids)
        assert [len(history(session, item.document_id)) for item in items] == [1] * 6


def test_tasks_that_another_overlap_opens_again_are_open_here_too(linked: Linked) -> None:
    ids = linked.add(f"Excel number {n} crashed" for n in range(4))
    for task_id in ids[:2]:
        linked.annotate(task_id, (0, 5, "SOFTWARE"))
    assert _open_after_pull(linked) == 2
    linked.client.update_project(linked.ls_id, maximum_annotations=2)
    assert not linked.task(ids[0])["is_labeled"]
    assert _open_after_pull(linked) == 4
    linked.client.update_project(linked.ls_id, maximum_annotations=1)
    assert _open_after_pull(linked) == 2


def _open_after_pull(linked: Linked) -> int:
    pull(linked.store, linked.client, linked.project)
    with linked.store.read() as session:
        return count_open(session, linked.project.id)

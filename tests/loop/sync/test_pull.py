"""Pull against a Label Studio in memory: what is stored, what is set aside, and what survives a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from loop.label_studio.client import LabelStudioError
from loop.sync.pages import OVERLAP, Watermark, advanced, start_from
from loop.sync.pull import UNSERVABLE, PullCounts, note_deletions, pull
from loop.sync.tasks import MALFORMED_ANNOTATION, TEXT_CHANGED
from ner.errors import ConfigError, InputError
from ner.label_studio.results import BLANK, INVERTED, MALFORMED, OUTSIDE_CONFIG, OUTSIDE_TEXT, TEXT_REFUSED
from ner.spans import Span
from store.annotations import history, list_set_aside
from store.counts import Doubts, project_counts
from store.database.schema import AnnotationVersion, Document, Project
from store.database.session import Store
from store.documents import count_open, open_documents, stored_documents
from store.errors import RunHeldError
from store.gold import gold
from store.projects import create_project, link, project_by_id, set_label_map
from store.runs import last_run, tracked
from store.tasks import live_task_ids
from tests.fakes import CONFIG, FakeLabelStudio


def region(start: int, end: int, label: str = "SOFTWARE") -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": [label]}
    return {"id": f"r{start}", "from_name": "label", "to_name": "text", "type": "labels", "value": value}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loop.sync.pages._PAUSE_SECONDS", 0.0)


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(CONFIG, [f"Excel number {n} crashed" for n in range(10)])


@pytest.fixture
def project(store: Store, server: FakeLabelStudio) -> Project:
    with store.transaction() as tx:
        made = create_project(tx, "p", label_config=CONFIG, labels=["SOFTWARE", "OS"], holdout_share=0.0)
        link(tx, made.id, server.url, 1)
        tx.commit()
    return made


def first(server: FakeLabelStudio, n: int = 0) -> int:
    return sorted(server.tasks)[n]


def versions(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count(AnnotationVersion.id))) or 0


def document_of(store: Store, task_id: int) -> int:
    with store.read() as session:
        return session.scalars(select(Document.id).where(Document.ls_task_id == task_id)).one()


def gold_spans(store: Store, project: Project) -> list[tuple[Span, ...]]:
    with store.read() as session:
        return [item.spans for item in gold(session, project.id)]


def test_new_tasks_become_documents_and_their_annotations_versions(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.annotate(first(server), [region(0, 5)], lead_time=7.5, parent_prediction=99)
    counts = pull(store, server, project, page_size=4)
    assert (counts.new, counts.versions, counts.annotations) == (10, 1, 1)
    (version,) = _history(store, server)
    assert (version.spans, version.lead_time) == ((Span(0, 5, "SOFTWARE"),), 7.5)
    assert (version.parent_prediction, version.creator) == (99, "1")


def _history(store: Store, server: FakeLabelStudio, n: int = 0) -> list[AnnotationVersion]:
    document = document_of(store, first(server, n))
    with store.read() as session:
        return history(session, document)


def test_a_second_pull_stores_nothing_and_reads_only_the_overlap(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.annotate(first(server), [region(0, 5)])
    pull(store, server, project)
    again = pull(store, server, project)
    assert not again.changed
    assert versions(store) == 1


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 10, 11])
def test_every_page_size_reads_everything(
    store: Store, server: FakeLabelStudio, project: Project, page_size: int
) -> None:
    for n in range(10):
        server.annotate(first(server, n), [region(0, 5)])
    pull(store, server, project, page_size=page_size)
    assert (len(gold_spans(store, project)), versions(store)) == (10, 10)


def test_updated_annotations_get_a_further_version_and_the_latest_is_gold(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    made = server.annotate(first(server), [region(0, 5)])
    pull(store, server, project)
    server.update_annotation(first(server), made["id"], result=[region(0, 5), region(13, 14, "OS")])
    assert pull(store, server, project).versions == 1
    assert gold_spans(store, project) == [(Span(0, 5, "SOFTWARE"), Span(13, 14, "OS"))]
    assert [version.sequence for version in _history(store, server)] == [1, 2]


def test_a_deleted_annotation_is_marked_and_its_versions_stay(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.annotate(first(server), [region(0, 5)])
    pull(store, server, project)
    server.delete_annotations(first(server))
    assert pull(store, server, project).removed == 1
    assert gold_spans(store, project) == []
    assert [version.deleted for version in _history(store, server)] == [False, True]


@pytest.mark.parametrize("page_size", [2, 3, 5, 10, 50])
def test_a_bulk_action_that_stamps_more_tasks_than_a_page_alike_is_read_whole(
    store: Store, server: FakeLabelStudio, project: Project, page_size: int
) -> None:
    for n in range(10):
        server.annotate(first(server, n), [region(0, 5)])
    pull(store, server, project)
    server.delete_annotations(*sorted(server.tasks)[:9])
    server.annotate(first(server), [])
    assert pull(store, server, project, page_size=page_size).removed == 9
    assert gold_spans(store, project) == [(), (Span(0, 5, "SOFTWARE"),)]


def test_a_task_updated_while_pages_are_read_is_neither_lost_nor_doubled(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.after["tasks"] = lambda: server.annotate(first(server), [region(0, 5)])  # type: ignore[assignment]
    pull(store, server, project, page_size=3)
    assert (len(gold_spans(store, project)), versions(store)) == (1, 1)


def test_a_failure_in_the_middle_keeps_the_pages_before_it_and_the_next_pull_goes_on(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    for n in range(10):
        server.annotate(first(server, n), [region(0, 5)])

    def break_down() -> None:
        server.after["tasks"] = lambda: server.fail("tasks")

    server.after["tasks"] = break_down
    with pytest.raises(LabelStudioError):
        pull(store, server, project, page_size=3)
    with store.read() as session:
        assert len(stored_documents(session, project.id)) == 5
        assert last_run(session, project.id, "pull", state="failed") is not None
    counts = pull(store, server, project, page_size=3)
    assert counts.new == 5
    assert (len(gold_spans(store, project)), versions(store)) == (10, 10)


def test_deleted_tasks_are_noticed_by_number_and_their_documents_stay_out_of_gold(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.annotate(first(server), [region(0, 5)])
    pull(store, server, project)
    del server.tasks[first(server)], server.tasks[first(server, 3)]
    assert pull(store, server, project).deleted == 2
    assert gold_spans(store, project) == []
    with store.read() as session:
        assert live_task_ids(session, project.id) == set(server.tasks)


def test_a_deletion_hidden_by_a_new_task_is_noticed_too(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    pull(store, server, project)
    del server.tasks[first(server, 4)]
    server.import_tasks(1, [{"data": {"text": "one more"}}])
    counts = pull(store, server, project)
    assert (counts.new, counts.deleted) == (1, 1)


def test_ids_are_not_listed_while_the_numbers_agree(store: Store, server: FakeLabelStudio, project: Project) -> None:
    pull(store, server, project)
    server.annotate(first(server), [])
    server.calls.clear()
    pull(store, server, project)
    assert "task_ids" not in server.calls


def test_a_task_that_no_page_showed_is_found_by_number(store: Store, server: FakeLabelStudio, project: Project) -> None:
    late = server.tasks.pop(first(server))
    pull(store, server, project)
    late["updated_at"] = late["updated_at"].replace("2026", "2025")
    server.tasks[late["id"]] = late
    assert pull(store, server, project).new == 1


def test_a_full_pull_reads_all_and_compares_ids(store: Store, server: FakeLabelStudio, project: Project) -> None:
    pull(store, server, project)
    counts = pull(store, server, project, full=True)
    assert (counts.tasks, counts.new, counts.changed) == (10, 0, False)
    assert "task_ids" in server.calls


def test_note_deletions_marks_what_is_gone(store: Store, server: FakeLabelStudio, project: Project) -> None:
    pull(store, server, project)
    del server.tasks[first(server, 2)]
    assert note_deletions(store, server, project) == 1


def test_a_skip_is_stored_and_is_no_gold(store: Store, server: FakeLabelStudio, project: Project) -> None:
    server.annotate(first(server), [region(0, 5)], was_cancelled=True)
    assert pull(store, server, project).skipped == 1
    assert gold_spans(store, project) == []
    with store.read() as session:
        assert len(open_documents(session, project.id)) == 10


def test_ground_truth_and_several_annotators_are_counted_and_ground_truth_wins(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.annotate(first(server), [region(0, 5)], ground_truth=True)
    server.annotate(first(server), [], completed_by=2)
    counts = pull(store, server, project)
    assert (counts.ground_truth, counts.several_annotators, counts.annotations) == (1, 1, 2)
    assert gold_spans(store, project) == [(Span(0, 5, "SOFTWARE"),)]


@pytest.mark.parametrize(
    ("result", "reasons"),
    [
        ([region(0, 5), region(9, 9)], {BLANK: 1}),
        ([region(0, 5), region(0, 12)], {"region overlaps another": 1}),
        ([region(0, 5), {"type": "relation", "from_id": "a", "to_id": "b"}], {"not a span region": 1}),
    ],
)
def test_what_cannot_be_learned_from_is_set_aside_by_reason_and_the_rest_is_learned(
    store: Store, server: FakeLabelStudio, project: Project, result: list[Any], reasons: dict[str, int]
) -> None:
    server.annotate(first(server), result)
    counts = pull(store, server, project)
    assert counts.set_aside == reasons
    ((spans),) = gold_spans(store, project)
    assert len(spans) == 1
    with store.read() as session:
        kept = list_set_aside(session, project.id)
    assert [item.reason for item in kept] == [reason for reason, times in reasons.items() for _ in range(times)]


@pytest.mark.parametrize(
    ("wrong", "reason", "labels"),
    [
        (region(0, 5, "PERSON"), OUTSIDE_CONFIG, {"PERSON": 1}),
        (region(3, 9999), OUTSIDE_TEXT, {}),
        (region(9, 7), INVERTED, {}),
        ({"value": None}, MALFORMED, {}),
        ("x", MALFORMED, {}),
    ],
)
def test_a_text_of_which_something_was_not_understood_is_in_doubt_and_no_gold(
    store: Store, server: FakeLabelStudio, project: Project, wrong: Any, reason: str, labels: dict[str, int]
) -> None:
    made = server.annotate(first(server), [region(0, 5), wrong])
    counts = pull(store, server, project)
    assert counts.set_aside == {reason: 1}
    assert counts.doubts == Doubts(1, {reason: 1}, labels)
    assert gold_spans(store, project) == []
    assert [version.spans for version in _history(store, server)] == [None]
    with store.read() as session:
        assert count_open(session, project.id) == 9
    server.update_annotation(first(server), made["id"], result=[region(0, 5)])
    counts = pull(store, server, project)
    assert (counts.versions, counts.doubts) == (1, Doubts())
    assert gold_spans(store, project) == [(Span(0, 5, "SOFTWARE"),)]


def mapped(store: Store, project: Project, **label_map: str) -> None:
    with store.transaction() as tx:
        set_label_map(tx, project.id, label_map)
        tx.commit()


def test_a_changed_label_map_has_everything_read_again(
    store: Store, server: FakeLabelStudio, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loop.sync.pages.OVERLAP", timedelta(0))
    server.annotate(first(server), [region(0, 5, "App"), region(13, 14, "OS")])
    for n in range(1, 10):
        server.annotate(first(server, n), [region(0, 5)])
    assert pull(store, server, project).doubts.labels == {"App": 1}
    assert not pull(store, server, project).label_map_changed
    mapped(store, project, App="SOFTWARE")
    counts = pull(store, server, project)
    assert (counts.label_map_changed, counts.tasks, counts.versions, counts.doubts) == (True, 10, 1, Doubts())
    both = (Span(0, 5, "SOFTWARE"), Span(13, 14, "OS"))
    assert gold_spans(store, project)[0] == both
    assert not pull(store, server, project).label_map_changed
    mapped(store, project)
    assert pull(store, server, project).doubts.labels == {"App": 1}
    assert len(gold_spans(store, project)) == 9


def test_a_pull_that_was_cut_short_under_a_new_map_goes_on_with_that_map(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    for n in range(10):
        server.annotate(first(server, n), [region(0, 5, "App")])
    pull(store, server, project)
    mapped(store, project, App="SOFTWARE")
    real, pages = server.tasks_page, iter(range(2))

    def cut(*args: Any, **fields: Any) -> Any:
        if next(pages, None) is None:
            raise LabelStudioError("the server answers", value="cut")
        return real(*args, **fields)

    server.tasks_page = cut  # type: ignore[method-assign]
    with pytest.raises(LabelStudioError):
        pull(store, server, project, page_size=3)
    server.tasks_page = real  # type: ignore[method-assign]
    pull(store, server, project, page_size=3)
    assert len(gold_spans(store, project)) == 10


def test_offsets_in_another_unit_are_converted_where_the_repeated_words_prove_it(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.import_tasks(1, [{"data": {"text": "\N{WRENCH}\N{WRENCH} Excel on Fedora"}}])
    value = {"start": 5, "end": 10, "text": "Excel", "labels": ["SOFTWARE"]}  # in UTF-16 units
    server.annotate(max(server.tasks), [region(0, 1) | {"value": value}])
    counts = pull(store, server, project)
    assert (counts.converted, counts.doubts) == ({"UTF-16 units": 1}, Doubts())
    assert gold_spans(store, project) == [(Span(3, 8, "SOFTWARE"),)]


def test_the_first_pull_of_a_newer_release_reads_everything_again(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    """Earlier releases stored a part of an annotation as if it were the whole; no map is remembered of them."""
    server.annotate(first(server), [region(0, 5)])
    pull(store, server, project)
    with store.transaction() as tx:
        tx.session.execute(update(Project).values(pulled_label_map=None))
        tx.commit()
    counts = pull(store, server, project)
    assert (counts.tasks, counts.versions, counts.label_map_changed) == (10, 0, False)


@pytest.mark.parametrize("result", [None, "text", {"a": 1}, 5])
def test_a_result_that_is_no_list_is_kept_and_never_learned(
    store: Store, server: FakeLabelStudio, project: Project, result: object
) -> None:
    server.annotate(first(server), result)
    pull(store, server, project)
    assert gold_spans(store, project) == []
    with store.read() as session:
        assert [item.payload for item in list_set_aside(session, project.id)] == [result]


def test_entries_that_are_no_annotations_are_set_aside(store: Store, server: FakeLabelStudio, project: Project) -> None:
    server.annotate(first(server), [region(0, 5)], lead_time="slow", completed_by={"id": 4, "email": "x@y"})
    server.tasks[first(server)]["annotations"] += [None, "x", {"result": []}]
    assert pull(store, server, project).set_aside == {MALFORMED_ANNOTATION: 3}
    (version,) = _history(store, server)
    assert (version.lead_time, version.creator) == (None, "4")


@pytest.mark.parametrize("data", [{"text": ""}, {"text": " \n"}, {"text": None}, {"other": "x"}, {"text": "a\0b"}, {}])
def test_a_task_without_a_text_is_set_aside_and_the_others_are_stored(
    store: Store, server: FakeLabelStudio, project: Project, data: dict[str, Any]
) -> None:
    server.import_tasks(1, [{"data": data}])
    counts = pull(store, server, project)
    assert (counts.new, counts.refused, counts.set_aside) == (10, 1, {TEXT_REFUSED: 1})
    server.calls.clear()
    pull(store, server, project)
    assert "task_ids" not in server.calls


def test_a_number_and_a_list_are_texts_as_the_page_shows_them(store: Store, project: Project) -> None:
    server = FakeLabelStudio(CONFIG)
    server.import_tasks(1, [{"data": {"text": 3.0, "id": "n"}}, {"data": {"text": ["Excel", "crashed"]}}])
    for task_id in server.tasks:
        server.annotate(task_id, [region(0, 1)])
    assert pull(store, server, project).set_aside == {}
    with store.read() as session:
        documents = stored_documents(session, project.id)
    assert {document.text for document in documents} == {"3", "Excel,crashed"}


def test_the_text_is_found_in_a_nested_field_and_the_rest_is_meta(store: Store) -> None:
    config = CONFIG.replace("$text", "$data.body")
    server = FakeLabelStudio(config)
    server.import_tasks(1, [{"data": {"data": {"body": "Excel crashed", "by": "form"}, "team": "A"}}])
    server.annotate(next(iter(server.tasks)), [region(0, 5)])
    with store.transaction() as tx:
        made = create_project(tx, "nested", label_config=config, labels=["SOFTWARE", "OS"], holdout_share=0.0)
        link(tx, made.id, server.url, 1)
        tx.commit()
    assert pull(store, server, made).refused == 0
    with store.read() as session:
        (document,) = stored_documents(session, made.id)
    assert (document.text, document.meta) == ("Excel crashed", {"data": {"by": "form"}, "team": "A"})


def test_a_text_edited_into_an_empty_one_takes_its_document_away(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.annotate(first(server), [region(0, 5)])
    pull(store, server, project)
    server.edit(first(server), text=" ")
    assert pull(store, server, project).refused == 1
    assert gold_spans(store, project) == []


def test_an_edited_text_is_a_new_document_and_old_annotations_are_not_learned_on_it(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    made = server.annotate(first(server), [region(0, 5)])
    pull(store, server, project)
    server.edit(first(server), text="Word, not Excel, crashed")
    counts = pull(store, server, project)
    assert (counts.edited, counts.set_aside) == (1, {TEXT_CHANGED: 1})
    assert gold_spans(store, project) == []
    assert not pull(store, server, project).changed
    server.update_annotation(first(server), made["id"], result=[region(0, 4)])
    pull(store, server, project)
    assert gold_spans(store, project) == [(Span(0, 4, "SOFTWARE"),)]


def test_a_text_edited_back_has_its_annotations_back(store: Store, server: FakeLabelStudio, project: Project) -> None:
    text = server.tasks[first(server)]["data"]["text"]
    server.annotate(first(server), [region(0, 5)])
    pull(store, server, project)
    for edited in ("Word, not Excel, crashed", text):
        server.edit(first(server), text=edited)
        pull(store, server, project)
    assert gold_spans(store, project) == [(Span(0, 5, "SOFTWARE"),)]


def test_a_changed_label_config_is_taken_over_and_old_results_are_read_by_it(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.annotate(first(server), [region(0, 5), region(6, 12, "PLACE")])
    assert pull(store, server, project).set_aside == {OUTSIDE_CONFIG: 1}
    server.settings["label_config"] = CONFIG.replace("OS", "PLACE")
    counts = pull(store, server, project)
    assert (counts.config_changed, counts.labels_added, counts.labels_removed) == (True, ("PLACE",), ("OS",))
    assert gold_spans(store, project) == [(Span(0, 5, "SOFTWARE"), Span(6, 12, "PLACE"))]
    assert not pull(store, server, project).config_changed
    with store.read() as session:
        assert project_by_id(session, project.id).labels == ["SOFTWARE", "PLACE"]


def test_a_label_config_that_cannot_be_learned_from_is_refused_and_nothing_changes(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    pull(store, server, project)
    server.settings["label_config"] = "<View><Text name='text' value='$text'/></View>"
    with pytest.raises(InputError, match="Labels"):
        pull(store, server, project)
    with store.read() as session:
        assert project_by_id(session, project.id).label_config == CONFIG


@pytest.mark.parametrize("page_size", [1, 3, 10, 20])
def test_a_task_that_the_server_cannot_serve_is_named_and_the_others_are_read(
    store: Store, server: FakeLabelStudio, project: Project, page_size: int
) -> None:
    server.poisoned = {first(server, 4)}
    counts = pull(store, server, project, page_size=page_size)
    assert (counts.new, counts.set_aside[UNSERVABLE]) == (9, counts.unservable)
    server.poisoned.clear()
    assert pull(store, server, project, full=True).new == 1


def test_a_server_that_serves_no_task_at_all_is_an_error_not_a_project_of_bad_tasks(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.poisoned = set(server.tasks)
    with pytest.raises(LabelStudioError):
        pull(store, server, project)
    with store.read() as session:
        assert list_set_aside(session, project.id) == []


def test_a_task_that_could_not_be_served_is_read_once_the_server_can_and_counts_as_mended(
    store: Store, server: FakeLabelStudio, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loop.sync.pages.OVERLAP", timedelta(0))
    monkeypatch.setattr("loop.sync.pull.RETRY_AFTER", timedelta(0))
    pull(store, server, project)
    server.annotate(first(server), [region(0, 5)])
    server.poisoned = {first(server)}
    assert pull(store, server, project).unservable == 1
    pull(store, server, project)
    assert aside(store, project) == {UNSERVABLE: 1}
    server.poisoned = set()
    assert pull(store, server, project).versions == 1
    assert gold_spans(store, project) == [(Span(0, 5, "SOFTWARE"),)]
    assert aside(store, project) == {}


def test_a_task_that_cannot_be_served_is_asked_for_again_only_every_few_minutes(
    store: Store, server: FakeLabelStudio, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loop.sync.pages.OVERLAP", timedelta(0))
    server.poisoned = {first(server)}
    pull(store, server, project)

    def asked() -> int:
        server.calls.clear()
        pull(store, server, project)
        return server.calls.count("tasks")

    assert [asked(), asked(), asked()] == [2, 1, 1]


def test_what_was_set_aside_counts_no_more_once_it_is_mended_or_gone(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.edit(first(server), text=" ")
    server.edit(first(server, 1), text="")
    server.annotate(first(server, 2), [region(0, 5)], id="not a number")
    pull(store, server, project)
    assert aside(store, project) == {TEXT_REFUSED: 2, MALFORMED_ANNOTATION: 1}
    pull(store, server, project, full=True)
    assert aside(store, project) == {TEXT_REFUSED: 2, MALFORMED_ANNOTATION: 1}
    server.edit(first(server), text="fine now")
    server.delete_annotations(first(server, 2))
    pull(store, server, project)
    assert aside(store, project) == {TEXT_REFUSED: 1}
    del server.tasks[first(server, 1)]
    pull(store, server, project)
    assert aside(store, project) == {}


def aside(store: Store, project: Project) -> dict[str, int]:
    with store.read() as session:
        return dict(project_counts(session, project.id).set_aside)


@pytest.mark.parametrize("setting", ["maximum_annotations", "overlap_cohort_percentage", "skip_queue"])
def test_tasks_that_another_overlap_opens_are_open_here_too(
    store: Store, server: FakeLabelStudio, project: Project, setting: str
) -> None:
    server.annotate(first(server), [region(0, 5)])
    server.settings[setting] = 1
    assert not pull(store, server, project).overlap_changed
    with store.read() as session:
        assert count_open(session, project.id) == 9
    server.settings[setting] = 2
    server.tasks[first(server)]["is_labeled"] = False  # and its `updated_at` stays
    assert pull(store, server, project).overlap_changed
    with store.read() as session:
        assert count_open(session, project.id) == 10
    server.calls.clear()
    assert not pull(store, server, project).changed


def test_a_project_linked_elsewhere_is_refused(store: Store, server: FakeLabelStudio, project: Project) -> None:
    server.url = "http://elsewhere"
    with pytest.raises(ConfigError, match="loop connect"):
        pull(store, server, project)


def test_two_pulls_at_once_are_refused(store: Store, server: FakeLabelStudio, project: Project) -> None:
    with tracked(store, project.id, "pull"), pytest.raises(RunHeldError):
        pull(store, server, project)


def test_documents_imported_here_first_become_the_tasks_that_carry_their_ids(
    store: Store, server: FakeLabelStudio, project: Project
) -> None:
    server.import_tasks(1, [{"data": {"text": "from a file", "id": 17, "doc": "thread 3", "room": "B"}}])
    pull(store, server, project)
    with store.read() as session:
        (document,) = [d for d in stored_documents(session, project.id) if d.text == "from a file"]
    assert (document.external_id, document.group_key) == ("17", "thread 3")
    assert document.meta == {"id": 17, "doc": "thread 3", "room": "B"}


def test_the_look_back_ends_once_it_was_done_late_enough() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    first_pull = advanced(None, noon, began_at=noon, ended_at=noon + timedelta(seconds=5))
    assert start_from(first_pull).since == noon - OVERLAP
    soon = advanced(first_pull, noon, began_at=noon + timedelta(seconds=20), ended_at=noon + timedelta(seconds=21))
    assert not start_from(soon).strictly
    late = advanced(soon, noon, began_at=noon + timedelta(seconds=65), ended_at=noon + timedelta(seconds=66))
    assert (start_from(late).since, start_from(late).strictly) == (noon, True)
    moved = advanced(late, noon + OVERLAP, began_at=noon + 3 * OVERLAP, ended_at=noon + 3 * OVERLAP)
    assert not start_from(moved).strictly


def test_a_watermark_is_remembered_only_with_the_counts_that_belong_to_it() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    settled = Watermark(noon, noon, settled=True)
    assert Watermark.remembered(noon, settled.as_counts()) == settled
    assert Watermark.remembered(None, settled.as_counts()) is None
    other = Watermark.remembered(noon + OVERLAP, settled.as_counts())
    assert other is not None
    assert not other.settled


def test_counts_know_whether_anything_changed() -> None:
    assert not PullCounts(pages=3, tasks=50, annotations=50).changed
    assert PullCounts(removed=1).changed

"""A file goes into the store whole, or not at all where a record is bad; again it doubles nothing."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loop.cli.data import InputFormat, OutputFormat
from loop.files.exporting import OUTPUTS, ExportOptions, export_data
from loop.files.formats.known import AUTO, NAMES
from loop.files.importing import Imported, RejectedFileError, import_file
from loop.files.reading import Request
from loop.settings.template import config_of_labels
from ner.errors import ConfigError, InputError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import INVERTED
from ner.spans import Span
from store.annotations import history, list_set_aside
from store.counts import Doubts
from store.database.schema import AnnotationVersion, Project
from store.database.session import Store
from store.documents import NewDocument, stored_documents
from store.gold import gold
from store.projects import create_project, set_label_config, set_overlap
from store.tasks import live_task_ids, mark_deleted, upsert_tasks
from store.weak.votes import votes
from tests.store.empty import new_store


class Desk:
    """A new project in a store, and the folder that its files are written to."""

    def __init__(self, store: Store, folder: Path, labels: str = "SOFTWARE,OS") -> None:
        self.store, self.folder = store, folder
        config = config_of_labels(labels)
        with self.store.transaction() as tx:
            names, name = LabelConfig.parse(config).labels, secrets.token_hex(8)
            self.project: Project = create_project(tx, name, label_config=config, labels=names)
            tx.commit()

    def imported(self, name: str, content: str, split: str = "train", **options: Any) -> Imported:
        (self.folder / name).write_text(content, "utf-8")
        return self.imported_from(self.folder / name, split, **options)

    def imported_from(
        self,
        path: Path,
        split: str = "train",
        *,
        label_map: Mapping[str, str] | None = None,
        file_format: str = AUTO,
        **options: Any,
    ) -> Imported:
        request = Request(LabelConfig.parse(self.project.label_config), label_map, file_format)
        (done,) = import_file(self.store, self.project, path, split, request, **options)
        return done

    def lines(self, *records: dict[str, Any], **options: Any) -> Imported:
        return self.imported("in.jsonl", "".join(json.dumps(record) + "\n" for record in records), **options)

    def exported(self, file_format: str = "jsonl", **options: Any) -> str:
        out = self.folder / f"out.{file_format}"
        export_data(self.store, self.project, out, file_format, options=ExportOptions(**options))
        return out.read_text("utf-8")

    def gold(self) -> dict[str, tuple[Span, ...]]:
        with self.store.read() as session:
            return {item.external_id: item.spans for item in gold(session, self.project.id)}

    def history(self) -> list[AnnotationVersion]:
        """Every version of the annotations of the first document."""
        with self.store.read() as session:
            return history(session, stored_documents(session, self.project.id)[0].document_id)

    def count(self) -> int:
        with self.store.read() as session:
            return len(stored_documents(session, self.project.id))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for this module: no test looks beyond its own project."""
    store = new_store(tmp_path_factory.mktemp("store") / "loop.db")
    yield store
    store.close()


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Desk:
    return Desk(store, tmp_path)


EXCEL = {"id": "e", "text": "Excel hangs", "spans": [{"start": 0, "end": 5, "label": "SOFTWARE"}]}


def test_spans_become_ground_truth_and_a_record_without_them_stays_open(desk: Desk):
    result = desk.lines(EXCEL, {"id": "none", "text": "hello", "spans": []}, {"id": "open", "text": "hi"})
    assert (result.added, result.labelled, dict(result.splits)) == (3, 2, {"train": 3})
    assert desk.gold() == {"e": (Span(0, 5, "SOFTWARE"),), "none": ()}


def test_a_second_import_of_the_same_file_adds_nothing(desk: Desk):
    desk.lines(EXCEL, {"text": "no id"})
    again = desk.lines(EXCEL, {"text": "no id"})
    assert (again.added, again.known, again.labelled, again.unchanged) == (0, 2, 0, 1)
    assert len(desk.history()) == 1


def test_changed_spans_are_a_second_version_and_the_gold(desk: Desk):
    desk.lines(EXCEL)
    changed = desk.lines({**EXCEL, "spans": []})
    assert (changed.labelled, changed.replaced) == (1, 1)
    assert desk.gold() == {"e": ()}


def test_an_id_that_names_another_text_is_refused_with_its_line_or_set_aside(desk: Desk):
    desk.lines(EXCEL)
    records = {"id": "f", "text": "fine"}, {"id": "e", "text": "Word hangs"}
    with pytest.raises(RejectedFileError, match="line 2: a document's id names one text, for good: got e"):
        desk.lines(*records)
    assert desk.count() == 1
    result = desk.lines(*records, skip_bad=True)
    assert (result.added, result.set_aside) == (1, {"a document's id names one text, for good": 1})


@pytest.mark.parametrize("key", ["id", "doc"])
def test_an_id_that_no_store_can_hold_is_named_with_its_line_and_skip_bad_skips_it(desk: Desk, key: str):
    records = EXCEL, {"text": "Word hangs", key: "x" * 501}
    with pytest.raises(RejectedFileError, match=r"line 2: a .* is a string of 1 to 500 characters"):
        desk.lines(*records)
    assert desk.lines(*records, skip_bad=True).added == 1
    assert desk.lines({"text": "Word hangs", key: "x" * 500}).added == 1


def test_a_big_file_lets_others_write_between_its_batches_and_is_completed_when_cut_short(desk: Desk):
    records = [{"id": str(n), "text": f"text {n}", "spans": []} for n in range(2500)]

    def cut_short(read: int) -> None:
        with desk.store.transaction() as tx:  # would wait for ever if the import held the store
            set_overlap(tx, desk.project.id, {"read": read})
            tx.commit()
        if read == 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.lines(*records, progress=cut_short)
    assert desk.count() == 2000
    again = desk.lines(*records)
    assert (again.added, again.known, again.labelled, again.unchanged) == (500, 2000, 500, 2000)


def test_labels_for_a_text_whose_task_was_deleted_bring_it_back_and_a_bare_text_does_not(desk: Desk):
    desk.lines({"id": "e", "text": "Excel hangs"})
    with desk.store.transaction() as tx:
        upsert_tasks(tx, desk.project.id, [NewDocument("Excel hangs", "e", ls_task_id=7)])
        mark_deleted(tx, desk.project.id, [7])
        tx.commit()
    assert desk.lines({"id": "e", "text": "Excel hangs"}).revived == 0
    assert desk.gold() == {}
    assert desk.lines(EXCEL).revived == 1
    assert desk.gold() == {"e": (Span(0, 5, "SOFTWARE"),)}
    with desk.store.read() as session:
        assert live_task_ids(session, desk.project.id) == set()
    assert desk.lines(EXCEL).revived == 0


def test_a_pipe_is_imported_as_a_file_is(desk: Desk):
    path = desk.folder / "pipe.jsonl"
    os.mkfifo(path)
    writer = Thread(target=path.write_text, args=(json.dumps(EXCEL),))
    writer.start()
    assert desk.imported_from(path).added == 1
    writer.join()


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ({"text": ""}, "not empty"),
        ({"text": " \n"}, "not empty"),
        ({"text": "a\0b"}, "U+0000"),
        ({"text": "a\ud800"}, "lone surrogate"),
        ({"text": "x" * 10_000_000}, "at most 1,000,000 characters"),
        ({"id": "e", "text": "Excel hangs"}, "an id stands once in a file"),
    ],
)
def test_one_bad_record_keeps_the_whole_file_out_and_is_named_with_its_line(desk: Desk, bad: dict, rule: str):
    with pytest.raises(RejectedFileError) as refused:
        desk.lines(EXCEL, bad, {"text": "fine"})
    assert "in.jsonl, line 2: " in str(refused.value)
    assert rule in str(refused.value)
    assert refused.value.exit_code == 4
    assert len(str(refused.value)) < 2000
    assert desk.count() == 0


def test_the_first_five_bad_lines_are_named_and_the_others_counted(desk: Desk):
    with pytest.raises(RejectedFileError) as refused:
        desk.lines(*({"text": ""} for _ in range(2500)))
    assert [problem.where for problem in refused.value.problems] == [f"line {n}" for n in range(1, 6)]
    assert "2500 that do not" in str(refused.value)
    assert "and 2495 more" in str(refused.value)


def test_a_bad_record_behind_a_stored_batch_takes_the_batch_back(desk: Desk):
    with pytest.raises(RejectedFileError, match="line 1501"):
        desk.lines(*({"id": str(n), "text": f"text {n}"} for n in range(1500)), {"text": ""})
    assert desk.count() == 0


def test_skip_bad_stores_the_good_ones_and_sets_the_others_aside_with_their_reason(desk: Desk):
    result = desk.lines(EXCEL, {"text": ""}, {"id": "f", "text": "fine"}, skip_bad=True)
    assert (result.records, result.added) == (3, 2)
    assert result.set_aside == {"a text is not empty or blank": 1}
    with desk.store.read() as session:
        (kept,) = list_set_aside(session, desk.project.id)
        assert (kept.source_ref, kept.reason) == ("in.jsonl, line 2", "a text is not empty or blank")
    assert desk.lines(EXCEL, {"text": ""}, {"id": "f", "text": "fine"}, skip_bad=True).added == 0


def test_an_empty_file_and_a_missing_one_are_refused(desk: Desk):
    with pytest.raises(InputError, match="an empty file"):
        desk.imported("empty.jsonl", "\n\n")
    with pytest.raises(InputError, match="holds a record"):
        desk.imported("none.json", "[]")
    with pytest.raises(InputError, match="can be read"):
        desk.imported_from(desk.folder / "missing.jsonl")
    with pytest.raises(InputError, match="a folder"):
        desk.imported_from(desk.folder)


MAPPED = {
    "id": "m",
    "text": "Excel on Mac",
    "spans": [
        {"start": 0, "end": 5, "label": "Application"},
        {"start": 6, "end": 8, "label": "Keyword"},
        {"start": 9, "end": 12, "label": "OS"},
    ],
}


def test_a_label_that_is_in_neither_the_map_nor_the_project_keeps_its_text_out_until_the_map_names_it(desk: Desk):
    result = desk.lines(MAPPED, EXCEL, label_map={"Application": "SOFTWARE"})
    assert set(desk.gold()) == {"e"}
    assert result.audit.doubts == Doubts(1, {"label outside the config": 1}, {"Keyword": 1})
    assert {one.label: one.becomes for one in result.audit.labels}["Keyword"] is None
    result = desk.lines(MAPPED, EXCEL, label_map={"Application": "SOFTWARE", "Keyword": "O"})
    assert desk.gold()["m"] == (Span(0, 5, "SOFTWARE"), Span(9, 12, "OS"))
    assert (result.audit.in_doubt, result.set_aside) == (0, {"label mapped to O": 1})


def test_a_span_that_the_map_sets_aside_may_overlap_one_that_stays(desk: Desk):
    spans = [{"start": 0, "end": 5, "label": "Application"}, {"start": 0, "end": 11, "label": "Phrase"}]
    record = {"id": "m", "text": "Excel hangs", "spans": spans}
    desk.lines(record, label_map={"Application": "SOFTWARE", "Phrase": "O"})
    assert desk.gold() == {"m": (Span(0, 5, "SOFTWARE"),)}


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        ({"start": 2, "end": 1, "label": "OS"}, INVERTED),
        ({"start": 0, "end": 3, "label": "OS"}, "span outside the text"),
        ({"start": -1, "end": 1, "label": "OS"}, "span outside the text"),
        ({"start": 0, "end": 1, "label": "os"}, "label outside the config"),
        ({"start": 0, "end": 1}, "region without a label"),
        ({"start": None, "end": 1, "label": "OS"}, "malformed region"),
        ({"start": 0, "end": 1, "label": "OS", "text": "b"}, "words differ from the text at the offsets"),
    ],
)
def test_a_text_of_which_something_was_not_understood_is_not_gold(desk: Desk, span: dict, reason: str):
    result = desk.lines({"id": "d", "text": "ab", "spans": [{"start": 0, "end": 2, "label": "OS"}, span]}, EXCEL)
    assert set(desk.gold()) == {"e"}
    assert (result.added, result.audit.in_doubt, result.audit.doubts.by_reason) == (2, 1, {reason: 1})
    assert result.audit.examples[0].where == "line 1"


def test_a_map_to_a_label_that_the_project_lacks_is_a_configuration_error(desk: Desk):
    with pytest.raises(ConfigError, match="Application = APP"):
        desk.lines(EXCEL, label_map={"Application": "APP"})


def test_of_overlapping_spans_the_longest_is_gold_and_the_others_are_set_aside(desk: Desk):
    spans = [{"start": 6, "end": 11, "label": "OS"}, {"start": 0, "end": 11, "label": "SOFTWARE"}]
    result = desk.lines({"id": "n", "text": "Excel hangs", "spans": spans})
    assert desk.gold() == {"n": (Span(0, 11, "SOFTWARE"),)}
    assert result.set_aside == {"region overlaps another": 1}
    assert [len(version.result) for version in desk.history()] == [2]


def test_votes_of_a_record_are_stored_and_a_second_file_leaves_them_alone(desk: Desk):
    def voted(name: str) -> dict[str, Any]:
        weak = [{"start": 0, "end": 5, "label": "SOFTWARE", "source": "names"}]
        return {"id": name, "text": "Excel hangs", "weak": weak}

    assert desk.lines(voted("a")).votes == 1
    desk.lines(voted("b"))
    desk.lines(voted("b"))
    with desk.store.read() as session:
        assert len(votes(session, desk.project.id, "names")) == 2


def test_pool_documents_of_one_group_go_to_one_side_and_the_split_asked_for_is_kept(desk: Desk):
    records = [{"id": f"{g}-{n}", "doc": f"g{g}", "text": f"text {g} {n}"} for g in range(100) for n in range(3)]
    result = desk.lines(*records, split="pool")
    with desk.store.read() as session:
        stored = stored_documents(session, desk.project.id)
    sides = {(document.group_key, document.split) for document in stored}
    assert len(sides) == 100
    assert 0 < result.splits["holdout"] < 150
    assert desk.lines(*records, split="holdout").kept_elsewhere == result.splits["pool"]


def unique_votes(record: dict[str, Any]) -> set[tuple[Any, ...]]:
    return {tuple(vote[key] for key in ("source", "start", "end", "label")) for vote in record.get("weak", [])}


@pytest.mark.parametrize(("label", "said"), [("SOFTWARE", "1"), ("Unknown", "in doubt")])
def test_files_of_an_archive_that_contradict_each_other_are_refused(desk: Desk, label: str, said: str):
    path = desk.folder / "export.zip"
    people = {"alice.jsonl": [[0, 5, label]], "bob.jsonl": []}
    with zipfile.ZipFile(path, "w") as archive:
        for name, labels in people.items():
            archive.writestr(name, json.dumps({"id": 1, "text": "Excel hangs", "label": labels}) + "\n")
    request = Request(LabelConfig.parse(desk.project.label_config))
    with pytest.raises(
        RejectedFileError, match=rf"say the same entities of one text: got {said} in .*alice.jsonl, 0 in"
    ):
        import_file(desk.store, desk.project, path, "train", request)
    assert desk.count() == 0
    first, second = import_file(desk.store, desk.project, path, "train", request, skip_bad=True)
    assert (first.labelled, second.labelled) == (1, 0)
    assert list(desk.gold().values()) == ([(Span(0, 5, "SOFTWARE"),)] if label == "SOFTWARE" else [])


# Label Studio's export


def region(start: int, end: int, label: str, **more: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": [label]}
    return {"id": f"r{start}", "from_name": "label", "to_name": "text", "type": "labels", "value": value, **more}


def exported_task(number: int, *results: list[dict[str, Any]], **annotation: Any) -> dict[str, Any]:
    annotations = [
        {"id": 10 * number + place, "result": result, "completed_by": 1, "was_cancelled": False, **annotation}
        for place, result in enumerate(results)
    ]
    return {"id": number, "data": {"text": "Excel hangs"}, "annotations": annotations}


def test_each_annotation_of_an_export_is_kept_and_what_cannot_be_learned_from_is_set_aside(desk: Desk):
    good, odd = [region(0, 5, "SOFTWARE")], [region(0, 5, "Nope"), region(6, 99, "OS")]
    tasks = [exported_task(1, good, odd), exported_task(2), exported_task(3, good, was_cancelled=True)]
    result = desk.imported("export.json", json.dumps(tasks))
    assert (result.format, result.added, result.labelled) == ("label-studio", 3, 3)
    assert result.set_aside == {"label outside the config": 1, "span outside the text": 1}
    assert desk.imported("export.json", json.dumps(tasks)).labelled == 0
    assert "task:3" not in desk.gold()


def test_what_is_no_region_is_set_aside_and_keeps_its_text_out_of_gold(desk: Desk):
    odd = exported_task(1, ["x", 5, None, region(0, 5, "SOFTWARE")])
    assert desk.imported("odd.json", json.dumps([odd])).set_aside == {"malformed region": 3}
    assert desk.gold() == {}


def named_task(number: int, text: str, **data: Any) -> dict[str, Any]:
    return exported_task(number, [region(0, 5, "SOFTWARE")]) | {"data": {"text": text, **data}}


def test_exports_of_two_servers_whose_task_ids_clash_are_both_imported_and_again_add_nothing(desk: Desk):
    here, there = [named_task(1, "Excel hangs")], [named_task(1, "Excel froze"), named_task(2, "Excel slow")]
    for added in (1, 0):
        assert desk.imported("here.json", json.dumps(here)).added == added
        assert desk.imported("there.json", json.dumps(there)).added == 2 * added
    assert desk.imported("renamed-2026-11-21.json", json.dumps(there)).added == 0
    assert [name.partition("#")[0] for name in sorted(desk.gold())] == ["task:1", "task:1", "task:2"]


def test_the_tasks_of_an_imported_export_are_tied_to_it_whichever_name_it_got(desk: Desk):
    desk.lines({"id": "task:1", "text": "another text"})
    desk.imported("export.json", json.dumps([named_task(1, "Excel hangs"), named_task(2, "Excel slow")]))
    tasks = [NewDocument("Excel hangs", ls_task_id=1), NewDocument("Excel slow", ls_task_id=2)]
    with desk.store.transaction() as tx:
        stored = upsert_tasks(tx, desk.project.id, tasks)
        tx.commit()
    assert (stored.added, stored.known) == (0, 2)
    assert desk.count() == 3


def test_two_tasks_that_bear_one_name_are_two_documents_and_one_task_twice_is_a_problem(desk: Desk):
    twins = [named_task(1, "Excel hangs", id="a"), named_task(2, "Excel froze", id="a")]
    assert desk.imported("twins.json", json.dumps(twins)).added == 2
    assert [name.partition("#")[0] for name in sorted(desk.gold())] == ["a", "a"]
    for again in (twins, twins[::-1], twins[1:]):
        assert desk.imported("again.json", json.dumps(again)).added == 0
    with pytest.raises(RejectedFileError, match="an id stands once in a file"):
        desk.imported("twice.json", json.dumps([named_task(9, "Excel hangs"), named_task(9, "Excel hangs")]))


def test_an_export_that_grows_and_one_of_pulled_tasks_double_nothing(desk: Desk):
    one, other = named_task(1, "Excel hangs", id="a"), named_task(2, "Excel froze", id="a")
    assert desk.imported("first.json", json.dumps([other])).added == 1
    assert desk.imported("second.json", json.dumps([one, other])).added == 1
    with desk.store.transaction() as tx:
        pulled = [NewDocument(f"Excel {n}", external_id="q", ls_task_id=n) for n in (7, 8)]
        upsert_tasks(tx, desk.project.id, pulled)
        tx.commit()
    tasks = [named_task(n, f"Excel {n}", id="q") for n in (7, 8)]
    assert desk.imported("pulled.json", json.dumps(tasks)).added == 0
    assert desk.count() == 4


_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(
        ["Excel hangs", "label", "text", "labels", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
    )
)
_ANYTHING = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def _with(*names: str, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object of the right shape with anything under some of these keys; or under any of its keys; or anything."""
    anything = dict.fromkeys(names, _ANYTHING)
    shaped = st.fixed_dictionaries(fixed, optional=anything)
    loose = st.fixed_dictionaries({}, optional=anything | {name: value | _ANYTHING for name, value in fixed.items()})
    return shaped | loose | _ANYTHING


_REGION = _with("id", "from_name", "to_name", "type", "score", value=_with("start", "end", "labels", "text"))
_ANNOTATION = _with(
    *("completed_by", "lead_time", "was_cancelled", "ground_truth", "created_at", "updated_at", "parent_prediction"),
    id=st.integers(1, 5),
    result=st.lists(_REGION, max_size=3),
)
_DATA = _with("id", "doc", text=st.just("Excel hangs"))
_TASK = _with("meta", id=st.integers(1, 5), data=_DATA, annotations=st.lists(_ANNOTATION, max_size=2))


@settings(max_examples=100, deadline=None)
@given(st.lists(_TASK, max_size=3))
@example([exported_task(1, [], parent_prediction=2**63, lead_time=10**400, created_at="0001-01-01T00:00:00+14:00")])
@example([exported_task(1, ["x", 5, None], parent_prediction=True, lead_time=True, updated_at="9999-12-31T23-14:00")])
@example([{"id": 2**70, "data": {"text": "Excel hangs", "id": True, "doc": []}, "annotations": None}])
def test_any_json_as_an_export_is_imported_set_aside_or_refused_by_a_rule(store: Store, tasks: list[Any]):
    content = json.dumps([*tasks, named_task(99, "Excel froze")])
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(store, Path(folder))
        with suppress(RejectedFileError):
            desk.imported("odd.json", content)
        desk.imported("odd.json", content, skip_bad=True)
        assert desk.gold()["task:99"] == (Span(0, 5, "SOFTWARE"),)


_RECORD = _with(
    *("id", "doc", "meta"),
    text=st.just("Excel hangs"),
    spans=st.lists(_with("start", "end", label=st.just("OS")), max_size=2),
    weak=st.lists(_with("start", "end", "source", label=st.just("OS")), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_RECORD, max_size=3))
def test_any_json_as_json_lines_is_imported_set_aside_or_refused_by_a_rule(store: Store, records: list[Any]):
    content = "".join(json.dumps(record) + "\n" for record in [*records, EXCEL | {"text": "Excel froze", "id": "last"}])
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(store, Path(folder))
        with suppress(RejectedFileError):
            desk.imported("odd.jsonl", content)
        desk.imported("odd.jsonl", content, skip_bad=True)
        assert desk.gold()["last"] == (Span(0, 5, "SOFTWARE"),)


# Formats, in and out


def test_the_command_line_offers_every_format():
    assert {one.value for one in InputFormat} == set(NAMES)
    assert {one.value for one in OutputFormat} == set(OUTPUTS)


def test_an_unknown_format_is_refused_with_the_names_of_the_known_ones(desk: Desk):
    with pytest.raises(InputError, match=r"a format is one of auto, .*json.*: got yaml"):
        desk.lines(EXCEL, file_format="yaml")
    with pytest.raises(InputError, match="jsonl, conll, datasets, spacy, doccano, label-studio: got csv"):
        export_data(desk.store, desk.project, desk.folder / "out", "csv")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '{"text": "x"}', "jsonl"),
        ("a.txt", '{"text": "x"}', "jsonl"),
        ("a.json", ' [{"id": 1, "data": {"text": "x"}}]', "label-studio"),
        ("a.txt", "Excel B-SOFTWARE\nhangs O\n", "conll"),
        ("a.conll", "Excel B-SOFTWARE\nhangs O\n", "conll"),
        ("a.csv", "id,text,spans\n1,Excel hangs,[]\n", "csv"),
        ("a.txt", "text;spans\nExcel hangs;[]\n", "csv"),
    ],
)
def test_the_format_is_found_by_the_content_whatever_the_name(desk: Desk, name: str, content: str, expected: str):
    assert desk.imported(name, content).format == expected


def test_plain_text_goes_to_the_pool_alone(desk: Desk):
    assert desk.imported("a.txt", "Excel hangs\nWord, too\n", "pool").format == "text"
    for split in ("train", "holdout"):
        with pytest.raises(InputError, match=f"texts for {split} are labelled: got a.txt, a file of plain text"):
            desk.imported("a.txt", "Excel hangs\nWord, too\n", split)


def test_a_folder_of_datasets_that_was_exported_comes_back_the_same(desk: Desk):
    desk.lines({**EXCEL, "doc": "d", "meta": {"n": 1}}, {"id": "none", "text": " hello  you", "spans": []})
    export_data(desk.store, desk.project, desk.folder / "gold", "datasets")
    other = Desk(desk.store, desk.folder)
    result = other.imported_from(desk.folder / "gold")
    assert (result.format, result.added, result.labelled) == ("datasets", 2, 2)
    assert other.exported() == desk.exported()


def test_conll_comes_out_as_it_went_in(desk: Desk):
    content = "-DOCSTART-\tO\n\nExcel\tB-SOFTWARE\nhangs\tO\n\n-DOCSTART-\tO\n\nWindows\tB-OS\n10\tI-OS\n\n"
    desk.imported("in.conll", content)
    assert desk.exported("conll", plain=True) == content


def test_a_datasets_folder_holds_tokens_tags_and_spans_by_split(desk: Desk):
    import datasets

    desk.lines(EXCEL, {"id": "open", "text": "hi"})
    desk.lines({"id": "h", "text": "on Mac", "spans": [{"start": 3, "end": 6, "label": "OS"}]}, split="holdout")
    out = desk.folder / "ds"
    result = export_data(desk.store, desk.project, out, "datasets")
    loaded = datasets.load_from_disk(str(out))
    tags = loaded["train"].features["ner_tags"].feature
    assert (result.documents, result.left_out, set(loaded)) == (2, 1, {"train", "holdout"})
    assert loaded["train"]["tokens"][0] == ["Excel", "hangs"]
    assert [tags.int2str(tag) for tag in loaded["train"]["ner_tags"][0]] == ["B-SOFTWARE", "O"]
    assert loaded["holdout"]["spans"][0] == [{"start": 3, "end": 6, "label": "OS"}]
    with pytest.raises(InputError, match="no folder is overwritten"):
        export_data(desk.store, desk.project, out, "datasets")


@pytest.mark.parametrize("file_format", ["jsonl", "conll", "datasets"])
def test_gold_of_a_label_that_left_the_project_is_written_out(desk: Desk, file_format: str):
    desk.lines(EXCEL, {"id": "h", "text": "on Mac", "spans": [{"start": 3, "end": 6, "label": "OS"}]})
    with desk.store.transaction() as tx:
        desk.project = set_label_config(tx, desk.project.id, config_of_labels("SOFTWARE"), ["SOFTWARE"])
        tx.commit()
    out = desk.folder / f"left.{file_format}"
    assert export_data(desk.store, desk.project, out, file_format).spans == 2
    if file_format == "datasets":
        import datasets

        names = datasets.load_from_disk(str(out))["train"].features["ner_tags"].feature.names
        assert names == ["O", "B-SOFTWARE", "I-SOFTWARE", "B-OS", "I-OS"]


def test_an_export_that_fails_leaves_the_old_file_and_nothing_beside_it(desk: Desk):
    desk.lines(EXCEL)
    before = desk.exported()
    blocked = desk.folder / "no" / "out.jsonl"
    with pytest.raises(InputError, match="can be written to"):
        export_data(desk.store, desk.project, blocked, "jsonl")
    with pytest.raises(InputError, match="written to a file"):
        export_data(desk.store, desk.project, desk.folder, "jsonl")
    assert (desk.folder / "out.jsonl").read_text() == before
    assert not [path for path in desk.folder.iterdir() if path.name.endswith(".part")]


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@st.composite
def labelled_records(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records with ids of their own and spans that do not overlap, in the form that an export has."""
    records = []
    for number, text in enumerate(
        draw(st.lists(WORDS.filter(lambda word: not word.isspace()), min_size=1, max_size=6))
    ):
        record: dict[str, Any] = {"id": f"id {number}", "text": text}
        borders = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
        pairs = [
            (a, b) for a, b in zip(borders[::2], borders[1::2], strict=False) if text[a:b] == text[a:b].strip() != ""
        ]
        if draw(st.booleans()):
            label = st.sampled_from(["SOFTWARE", "OS"])
            record["spans"] = [{"start": a, "end": b, "label": draw(label)} for a, b in pairs]
        if draw(st.booleans()):
            record["doc"] = draw(WORDS.filter(str.strip))
        if draw(st.booleans()):
            record["meta"] = {"k": draw(WORDS)}
        records.append(record)
    return records


@settings(max_examples=25, deadline=None)
@given(labelled_records())
def test_json_lines_come_out_as_they_went_in(store: Store, records: list[dict[str, Any]]):
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(store, Path(folder))
        desk.lines(*records, split="pool")
        out = [json.loads(line) for line in desk.exported().split("\n") if line]
    assert out == records


@pytest.mark.parametrize("name", ["maintenance/orders", "ncbi-disease-weak/dev", "music-annotators/queries"])
def test_real_files_are_imported_whole_and_come_out_with_their_spans(
    store: Store, tmp_path: Path, shared_data: Path, name: str
):
    path = shared_data / f"{name}.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    kinds = Counter(span["label"] for record in records for span in record["spans"])
    desk = Desk(store, tmp_path, ",".join(kinds))
    result = desk.imported_from(path, "pool")
    out = [json.loads(line) for line in desk.exported().split("\n") if line]
    assert result.added == len(records)
    assert sum(result.splits.values()) == len(records)
    assert [(line["id"], line["text"]) for line in out] == [(record["id"], record["text"]) for record in records]
    aside = result.set_aside.get("region overlaps another", 0)
    assert sum(len(line["spans"]) for line in out) + aside == sum(kinds.values())
    assert result.votes == sum(len(unique_votes(record)) for record in records)

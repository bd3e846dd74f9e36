"""The store's texts and gold in every format: what an independent reader finds is what the store holds."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from loop.files import exporting
from loop.files.exporting import OUTPUTS, Exported, ExportOptions, export_data
from loop.files.writing.texts import StoredText
from loop.settings.template import config_of_labels
from ner.errors import InputError
from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import OUTSIDE_TEXT
from ner.spans import Span
from store.database.schema import Project
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.projects import create_project, set_label_config
from tests.store import given

GOLD = {
    "han": ("李雷昨天从成都飞往上海。", ((0, 2, "PER"), (5, 7, "LOC"))),
    "cut": ("Graz2019  is\r\nover", ((0, 4, "LOC"),)),
    "none": ("nothing here", ()),
}


@pytest.fixture
def project(store: Store) -> Project:
    """Three labelled texts, a text in doubt, and an unlabelled text."""
    with store.transaction() as tx:
        labels = ("PER", "LOC")
        made = create_project(tx, "desk", label_config=config_of_labels(",".join(labels)), labels=labels)
        texts = {name: text for name, (text, _) in GOLD.items()} | {"doubtful": "who knows", "open": "not yet"}
        added = add_documents(tx, made.id, [NewDocument(text, name) for name, text in texts.items()], "train")
        tx.commit()
    ids = dict(zip(texts, added.document_ids, strict=True))
    for name, (_, spans) in GOLD.items():
        given.annotated(store, ids[name], given.annotation(*spans))
    doubt = NotLearned(OUTSIDE_TEXT, {"value": {"start": 90, "end": 95, "labels": ["PER"]}})
    given.annotated(store, ids["doubtful"], given.annotation(spans=None, set_aside=[doubt]))
    return made


def exported(store: Store, project: Project, out: Path, file_format: str, **options: Any) -> Exported:
    return export_data(store, project, out, file_format, options=ExportOptions(**options))


@pytest.mark.parametrize("file_format", OUTPUTS)
def test_every_format_counts_what_it_holds_and_what_it_leaves_out(
    store: Store, project: Project, tmp_path: Path, file_format: str
):
    done = exported(store, project, tmp_path / "out", file_format)
    only_labelled, tokens = file_format in ("conll", "datasets"), file_format in ("conll", "datasets", "spacy")
    assert (done.documents, done.unlabelled, done.left_out) == ((3, 0, 2) if only_labelled else (5, 2, 0))
    assert (done.spans, done.in_doubt, done.cut_spans) == (3, 1, 1 if tokens else 0)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_the_formats_with_offsets_hold_the_gold_of_the_store(store: Store, project: Project, tmp_path: Path):
    found: dict[str, dict[str, Any]] = {"doccano": {}, "label-studio": {}}
    for file_format in found:
        exported(store, project, tmp_path / file_format, file_format)
    for line in (tmp_path / "doccano").read_text("utf-8").splitlines():
        one = json.loads(line)
        found["doccano"][one["id"]] = (one["text"], one.get("label"))
    for task in json.loads((tmp_path / "label-studio").read_text("utf-8")):
        values = [region["value"] for said in task.get("annotations", []) for region in said["result"]]
        spans = [[value["start"], value["end"], *value["labels"]] for value in values]
        found["label-studio"][task["meta"]["id"]] = (task["data"]["text"], spans if "annotations" in task else None)
    expected = {name: (text, [list(span) for span in spans]) for name, (text, spans) in GOLD.items()}
    expected |= {"doubtful": ("who knows", None), "open": ("not yet", None)}
    assert found == {"doccano": expected, "label-studio": expected}


def test_the_gold_as_predictions_is_no_annotation(store: Store, project: Project, tmp_path: Path):
    exported(store, project, tmp_path / "out", "label-studio", kind="predictions")
    tasks = json.loads((tmp_path / "out").read_text("utf-8"))
    assert not any("annotations" in task for task in tasks)
    assert [len(task["predictions"]) for task in tasks if "predictions" in task] == [1, 1, 1]


def test_spacy_trains_from_the_file(store: Store, project: Project, tmp_path: Path):
    import spacy
    from spacy.training import Corpus

    exported(store, project, tmp_path / "out.spacy", "spacy")
    examples = list(Corpus(tmp_path / "out.spacy")(spacy.blank("zh")))
    assert [example.reference.text for example in examples][:3] == [text for text, _ in GOLD.values()]
    assert examples[0].get_aligned_ner()[:7] == ["B-PER", "L-PER", "O", "O", "O", "B-LOC", "L-LOC"]


def test_an_export_that_breaks_off_leaves_the_file_that_was_there(store: Store, project: Project, tmp_path: Path):
    out = tmp_path / "out"
    exported(store, project, out, "label-studio")
    before = out.read_bytes()
    with store.transaction() as tx:
        fewer = set_label_config(tx, project.id, config_of_labels("PER"), ["PER"])
        tx.commit()
    with pytest.raises(InputError, match="LOC in han"):
        exported(store, fewer, out, "label-studio")
    assert out.read_bytes() == before
    assert list(tmp_path.glob(".out*")) == []


@pytest.mark.parametrize("file_format", ["jsonl", "conll", "doccano", "label-studio"])
def test_texts_are_written_while_they_are_read(
    store: Store, project: Project, tmp_path: Path, file_format: str, monkeypatch: pytest.MonkeyPatch
):
    """Ten times the texts take no more memory."""

    def endless(*_: object) -> Iterator[StoredText]:
        number = 0
        while True:
            yield StoredText(f"t{number}", "Anna lives in Graz. " * 10, (Span(0, 4, "PER"),), "train")
            number += 1

    peaks = []
    for texts in (200, 2_000):
        monkeypatch.setattr(exporting, "stored_texts", lambda *_, texts=texts: islice(endless(), texts))
        with traced() as peak:
            exported(store, project, tmp_path / "out", file_format)
        peaks.append(peak[0])
    assert peaks[1] < peaks[0] + 200_000


@contextmanager
def traced() -> Iterator[list[int]]:
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()

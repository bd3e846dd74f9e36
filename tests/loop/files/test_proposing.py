"""The label config that a file proposes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loop.files.proposing import Proposal, propose
from ner.errors import InputError

TEXT = "Ms Bol left Riga"


def region(control: str, target: str, start: int, end: int, label: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]}
    return {"from_name": control, "to_name": target, "type": "labels", "value": value}


def of(path: Path, content: object) -> Proposal:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return propose(path)


def names(found: Proposal) -> dict[str, tuple[str, ...]]:
    return {control.name: control.labels for control in found.config.controls}


def test_controls_object_and_nested_field_of_an_export_are_proposed_with_counts(tmp_path: Path):
    result = [region("people", "body", 3, 6, "PER"), region("places", "body", 12, 16, "LOC")]
    data = {"title": "A long headline above the text", "doc": {"body": TEXT}}
    tasks = [{"id": n, "data": data, "annotations": [{"id": n, "result": result}]} for n in (1, 2)]
    found = of(tmp_path / "export.json", tasks)
    assert names(found) == {"people": ("PER",), "places": ("LOC",)}
    assert (found.config.to_name, found.config.data_field) == ("body", "doc.body")
    assert [dict(control.labels) for control in found.controls] == [{"PER": 2}, {"LOC": 2}]
    assert (found.texts, found.labelled, found.bad) == (2, 2, 0)


def test_json_min_and_its_table_propose_the_controls_and_say_that_the_object_is_a_guess(tmp_path: Path):
    regions = [region("people", "", 3, 6, "PER")["value"]]
    row = {"doc": {"body": TEXT}, "id": 1, "people": regions, "annotator": 1, "annotation_id": 5}
    quoted = {key: json.dumps(value).replace('"', '""') for key, value in row.items()}
    table = ",".join(quoted) + "\n" + ",".join(f'"{cell}"' for cell in quoted.values()) + "\n"
    for content in ([row], table):
        found = of(tmp_path / "export", content)
        assert (names(found), found.config.data_field) == ({"people": ("PER",)}, "doc.body")
        assert "is a guess" in found.check[-1]


def test_labels_over_the_object_with_fewer_regions_are_left_out_and_said(tmp_path: Path):
    result = [region("ner", "body", 3, 6, "PER"), region("ner", "body", 12, 16, "LOC"), region("t", "title", 0, 2, "X")]
    found = of(tmp_path / "x.json", [{"data": {"text": TEXT}, "annotations": [{"result": result}]}])
    assert names(found) == {"ner": ("PER", "LOC")}
    assert "'t' over 'title'" in found.check[0]


def test_any_other_format_proposes_its_labels(tmp_path: Path):
    assert names(of(tmp_path / "x.conll", "Bol B-PER\nleft O\nRiga B-LOC\n")) == {"label": ("PER", "LOC")}


def test_labels_that_differ_by_case_and_rare_ones_are_to_be_checked(tmp_path: Path):
    spans = [{"start": n, "end": n + 1, "label": "PER"} for n in range(10)]
    odd = [{"start": 10, "end": 11, "label": "per"}]
    found = of(tmp_path / "x.jsonl", {"text": TEXT, "spans": spans + odd})
    assert "'PER', 'per'" in found.check[0]
    assert "may be slips: 'per'" in found.check[1]


def test_a_file_without_a_label_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="--labels"):
        of(tmp_path / "x.jsonl", {"text": TEXT, "spans": []})


def test_a_file_without_a_label_says_why_its_records_cannot_be_read(tmp_path: Path):
    with pytest.raises(InputError, match=r"1 records that cannot be read.*The first .* is .*`ner_tags`"):
        of(tmp_path / "x.jsonl", {"tokens": ["Bol", "left"], "ner_tags": [1, 0]})

"""`loop import` shows what became of a file, and what of it was not understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.loop.desk import Desk, make_desk

KNOWN = {"id": "k", "text": "Excel hangs", "spans": [{"start": 0, "end": 5, "label": "SOFTWARE"}]}
UNKNOWN = {"id": "u", "text": "Word on Mac", "spans": [{"start": 0, "end": 4, "label": "Software"}]}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


def words(said: str) -> str:
    return " ".join(said.split())


def test_a_label_that_is_not_understood_is_named_with_the_lines_that_mend_it(desk: Desk):
    path = desk.write("in.jsonl", KNOWN, UNKNOWN)
    said = desk.loop("import", str(path), "--split", "train")
    assert said.code == 0
    assert 'label "Software" (1)' in words(said.out)
    assert "line 2: label outside the config: Software, 0-4, text has 'Word'" in words(said.out)
    assert '[label_map] "Software" = "SOFTWARE"' in words(said.out)
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert desk.loop("status", "--json").json["counts"]["gold"] == 1
    with (desk.home / "loop.toml").open("a") as config:
        config.write('[label_map]\n"Software" = "SOFTWARE"\n')
    assert "in doubt and" not in desk.loop("import", str(path), "--split", "train").out
    assert desk.loop("status", "--json").json["counts"]["gold"] == 2


def test_a_dry_run_shows_the_same_table_and_stores_nothing(desk: Desk):
    path = desk.write("in.jsonl", KNOWN, UNKNOWN, {"text": ""})
    told = desk.loop("import", str(path), "--dry-run", "--json").json["files"][0]
    assert told["audit"]["doubts"] == {
        "documents": 1,
        "by_reason": {"label outside the config": 1},
        "labels": {"Software": 1},
    }
    assert {row["label"]: row["becomes"] for row in told["audit"]["labels"]} == {
        "SOFTWARE": "SOFTWARE",
        "Software": None,
    }
    assert told["set_aside"]["a text is not empty or blank"] == 1
    assert sum(desk.loop("status", "--json").json["counts"]["documents"].values()) == 0
    shown = words(desk.loop("import", str(path), "--dry-run").out)
    assert "nothing was stored" in shown
    assert "would be refused, unless with --skip-bad; the first of them: line 3: a text is not empty or blank" in shown


def test_the_holdouts_share_of_loop_toml_counts_for_texts_that_come_after_it_was_changed(desk: Desk):
    held_out = []
    for name, share in (("none", 0.0), ("all", 0.999999)):
        desk.configure(holdout__share=share)
        desk.loop("import", str(desk.write("in.jsonl", *({"text": f"{name} {n}"} for n in range(40)))))
        held_out.append(desk.loop("status", "--json").json["counts"]["documents"]["holdout"])
    assert held_out == [0, 40]


def test_a_mark_of_rich_or_a_control_sequence_in_a_file_is_shown_as_it_is(desk: Desk):
    odd = {"text": "ab", "spans": [{"start": 0, "end": 1, "label": "[red]\u001b[31mX"}]}
    said = desk.loop("import", str(desk.write("odd.jsonl", odd)), "--split", "train").out
    assert "[red]" in said
    assert "\u001b" not in said


def test_a_file_from_standard_input_is_imported(desk: Desk):
    said = desk.loop("import", "-", "--split", "train", "--json", given=json.dumps(KNOWN))
    assert said.json["files"][0]["added"] == 1


def test_what_was_understood_and_looks_wrong_is_shown(desk: Desk):
    slipped = {"text": "Excel froze", "spans": [{"start": 1, "end": 6, "label": "SOFTWARE"}]}
    misdecoded = {"text": "Zürich".encode().decode("latin-1"), "spans": []}
    damaged = {"text": "Word hangs", "spans": [{"start": 0, "en": 2, "end": 4, "label": "SOFTWARE", "token_end": 0}]}
    path = desk.write("in.jsonl", KNOWN, slipped, misdecoded, damaged)
    suspicions = desk.loop("import", str(path), "--dry-run", "--json").json["files"][0]["audit"]["suspicions"]
    assert suspicions == {
        "spans that begin or end inside a word": 1,
        "UTF-8 that was read as Latin-1": 1,
        "spans with numbers that are not read": 1,
    }
    assert "line 2: spans that begin or end inside a word: 'xcel'" in words(desk.loop("import", str(path)).out)


def test_a_text_of_which_a_file_says_two_things_is_shown(desk: Desk):
    other = {"text": "Excel hangs", "spans": []}
    suspicions = desk.loop("import", str(desk.write("in.jsonl", KNOWN, other)), "--dry-run", "--json")
    assert suspicions.json["files"][0]["audit"]["suspicions"] == {
        "texts that stand in the file twice, with different entities": 1
    }


def test_ends_that_point_at_the_last_character_are_suspected(desk: Desk):
    short = {"text": "Excel hangs", "spans": [{"start": 0, "end": 4, "label": "SOFTWARE"}]}
    said = desk.loop("import", str(desk.write("in.jsonl", short)), "--dry-run")
    assert "do the ends of the file count inclusively?" in words(said.out)


def test_tags_as_labels_are_named_and_not_mapped(desk: Desk):
    spans = [{"start": 0, "end": 5, "label": "B-SOFTWARE"}, {"start": 6, "end": 11, "label": "I-SOFTWARE"}]
    said = words(desk.loop("import", str(desk.write("in.jsonl", {"text": "Excel hangs", "spans": spans}))).out)
    assert "B-SOFTWARE, I-SOFTWARE are tags of tokens, and no types" in said
    assert "[label_map]" not in said

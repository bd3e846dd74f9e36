"""Importing a big file takes no more memory than importing a small file."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from loop.files.audit import Auditor
from loop.files.raw.json_values import json_values
from loop.files.reading import Request, open_readings
from loop.files.records import Record
from loop.files.seen import Seen
from loop.settings.template import config_of_labels
from ner.label_studio.label_config import LabelConfig

REQUEST = Request(LabelConfig.parse(config_of_labels("PER")))
FEW, MANY = 300, 2300
PIA = {"start": 0, "end": 3, "label": "PER"}


def test_the_first_value_under_a_key_stays():
    seen = Seen()
    assert seen.setdefault("a", ["line 1", None]) == ["line 1", None]
    assert seen.setdefault("a", ["line 2", "b"]) == ["line 1", None]
    assert seen.setdefault("\ud800", 1) == 1  # an id of a broken file


def test_keys_are_counted():
    seen = Seen()
    assert [seen.add(key) for key in "abaab"] == [1, 1, 2, 3, 2]
    assert [seen.count(key) for key in "abc"] == [3, 2, 0]


def _lines(record: dict, number: int) -> str:
    return "".join(json.dumps({**record, "text": f"Pia met {at}."}) + "\n" for at in range(number))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lambda number: _lines({"spans": [PIA]}, number)),
        ("a.txt", lambda number: "".join(f"Pia met {at}.\n" for at in range(number))),
        ("prodigy.jsonl", lambda number: _lines({"_input_hash": 1, "answer": "accept", "spans": [PIA]}, number)),
        (
            "words.csv",
            lambda number: "sentence_id,word,tag\n" + "".join(f"{at},Pia{at},B-PER\n" for at in range(number)),
        ),
    ],
)
def test_the_memory_of_a_reading_does_not_grow_with_the_documents(
    name: str, content: Callable[[int], str], tmp_path: Path
):
    path = tmp_path / name

    def held_at_the_end(number: int) -> int:
        path.write_text(content(number), "utf-8")
        tracemalloc.start()
        with open_readings(path, REQUEST) as (reading,):
            auditor, held = Auditor(reading.rule), 0
            for at, item in enumerate(reading.records(), 1):
                assert isinstance(item, Record)
                auditor.add(item)
                held = tracemalloc.get_traced_memory()[0] if at == number else 0
        tracemalloc.stop()
        assert held > 0
        return held

    held_at_the_end(FEW)  # what is imported and compiled once is not counted
    # Bytes: a key in memory took 250 and more. The first 64 KiB of each file are kept.
    assert held_at_the_end(MANY) - held_at_the_end(FEW) < 100 * (MANY - FEW)


def test_an_array_on_one_line_is_not_read_as_a_whole(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "a" * 100_000}] * 300), "utf-8")
    tracemalloc.start()
    with path.open("rb") as stream:
        assert sum(len(value["text"]) for _, value, _ in json_values(stream)) == 30_000_000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000  # bytes

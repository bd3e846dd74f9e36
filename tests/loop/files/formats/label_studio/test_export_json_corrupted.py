"""Exports of Label Studio that were changed by accident: no other exception, and no other gold without a word."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loop.files.audit import believed
from loop.files.records import Record
from ner.errors import InputError
from ner.spans import Span
from tests.loop.files.formats.label_studio.test_json_min import PERSON, PLACE, TEXT, as_table, row
from tests.loop.files.read import reading


def named(region: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": "label", "to_name": "text", "type": "labels", "value": region}


def annotation(number: int, *regions: dict[str, Any], **more: object) -> dict[str, Any]:
    flags = {"was_cancelled": False, "ground_truth": False, "created_at": "2026-03-01T08:00:00Z"}
    moment = {"updated_at": f"2026-03-01T08:00:0{number}Z", "completed_by": 1}
    return {"id": number, "result": [named(one) for one in regions], **flags, **moment, **more}


TASKS = [
    {"id": 1, "data": {"text": TEXT, "n": 1}, "annotations": [annotation(1, PERSON, PLACE)], "predictions": []},
    {"id": 2, "data": {"text": TEXT + " again"}, "annotations": [annotation(2)], "drafts": []},
    {"id": 3, "data": {"text": "Skipped: " + TEXT}, "annotations": [annotation(3, was_cancelled=True)]},
    {
        "id": 4,
        "data": {"text": TEXT + " twice"},
        "annotations": [annotation(4, PERSON, ground_truth=True), annotation(5, PLACE)],
    },
]
ROWS = [
    row(1, label=[PERSON, PLACE]),
    row(2) | {"text": TEXT + " again"},
    row(3, label=[PERSON]) | {"text": TEXT + "."},
]
CONTENTS = (
    json.dumps(TASKS),
    "\n".join(map(json.dumps, TASKS)),
    json.dumps(ROWS),
    as_table(ROWS),
    as_table(ROWS, "\t"),
)


def gold(content: str | bytes) -> tuple[dict[str, tuple[Span, ...]], Counter[str]]:
    """What each text is taught as, and what is said of the rest."""
    try:
        found = reading(content)
    except InputError as error:
        return {}, Counter([error.rule])
    taught, told = {}, Counter(found.said)
    items = list(found.records())
    if not items:
        told["the file holds no record"] += 1
    for item in items:
        if not isinstance(item, Record):
            told[item.error.rule] += 1
            continue
        decisive = believed(item)
        told.update(aside.reason for aside in item.aside)
        if decisive is None or decisive.spans is None:
            told["unlabelled" if decisive is None else "in doubt"] += 1
        else:
            taught[item.text] = decisive.spans
    return taught, told


def renamed(value: Any) -> Iterator[Any]:
    """The value with one key renamed, at each place in turn."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from ([*value[:i], other, *value[i + 1 :]] for other in renamed(item))
    elif isinstance(value, dict):
        for key, held in value.items():
            for new in (f"{key}x", key.upper(), key[:-1]):
                yield {(new if name == key else name): one for name, one in value.items()}
            yield from ({**value, key: other} for other in renamed(held))


@pytest.mark.parametrize("values", [TASKS, ROWS])
def test_a_renamed_key_never_changes_gold_without_a_word(values: list[dict[str, Any]]):
    expected, usual = gold(json.dumps(values))
    for changed in renamed(values):
        taught, told = gold(json.dumps(changed))
        wrong = {text: spans for text, spans in taught.items() if expected.get(text, spans) != spans}
        assert not wrong, changed
        assert told != usual or taught == expected, changed


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_is_cut_off_is_a_problem_or_holds_the_gold_of_whole_records(content: str):
    expected, usual = gold(content)
    for end in range(0, len(content), 3):
        taught, told = gold(content[:end])
        assert taught.items() <= expected.items(), content[:end]
        assert told != usual or taught == expected or content[:end].endswith(("}", "\n", "\r")), content[:end]


@given(st.sampled_from(CONTENTS), st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_bytes_are_read_or_refused(content: str, data: st.DataObject):
    changed = bytearray(content.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    gold(bytes(changed))

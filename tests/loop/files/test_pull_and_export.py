"""The same annotation, pulled and read from an export, is understood alike."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from loop.files.records import Problem
from loop.sync.tasks import RefusedTask, read_task
from ner.label_studio.label_config import LabelConfig
from tests.loop.files.read import CONFIG, reading, record

TEXTS = st.lists(
    st.sampled_from(["Bol", " ", "\r\n", "\U0001f692", "é", "Riga", "e\u0301", "\t", "東京"]), max_size=9
).map("".join)
OFFSETS = st.one_of(st.integers(-2, 14), st.sampled_from([None, "3", 4.0, 2.5, True, "x"]))
LABELS = st.one_of(st.lists(st.sampled_from(["X", "Y", "Z", 5]), max_size=2), st.sampled_from([None, "X", {}]))
NAMES = st.sampled_from(["label", "label", "label", "text", "ner", "mood", None, 5])
KINDS = st.sampled_from(["labels", "labels", "labels", "Labels", "choices", "relation", "hypertextlabels", None, "new"])
WORDS = st.one_of(st.none(), TEXTS, st.just(7))
VALUES = st.fixed_dictionaries({}, optional={"start": OFFSETS, "end": OFFSETS, "labels": LABELS, "text": WORDS})
REGIONS = st.fixed_dictionaries(
    {},
    optional={
        "from_name": NAMES,
        "to_name": st.sampled_from(["text", "text", "doc", None]),
        "type": KINDS,
        "value": VALUES,
    },
)
RESULTS = st.one_of(st.lists(st.one_of(REGIONS, st.none()), max_size=4), st.sampled_from([None, "x", {}]))


def own_region(text: str) -> st.SearchStrategy[dict[str, Any]]:
    """A region as the page draws it, in the units of any program."""
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted)
    units = st.sampled_from(["utf-32-le", "utf-16-le", "utf-8"])

    def made(place: list[int], unit: str, repeated: bool) -> dict[str, Any]:
        width = {"utf-32-le": 4, "utf-16-le": 2, "utf-8": 1}[unit]
        start, end = (len(text[:at].encode(unit)) // width for at in place)
        value: dict[str, Any] = {"start": start, "end": end, "labels": ["X"]}
        if repeated:
            value["text"] = text[place[0] : place[1]]
        return {"from_name": "label", "to_name": "text", "type": "labels", "value": value}

    return st.builds(made, places, units, st.booleans())


def own_result(text: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(own_region(text), max_size=3)


@given(TEXTS.flatmap(lambda text: st.tuples(st.just(text), st.one_of(RESULTS, own_result(text)))), st.booleans())
@example(
    (
        "Bol\U0001f692  \r\n",
        [
            {
                "from_name": "label",
                "to_name": "text",
                "type": "labels",
                "value": {"start": 5, "end": 9, "labels": ["X"], "text": "  \r\n"},
            }
        ],
    ),
    False,
)
@settings(max_examples=400, deadline=None)
def test_any_result_gives_the_same_spans_and_doubts_by_a_pull_and_by_an_export(said: tuple[str, Any], skipped: bool):
    text, result = said
    task = {"id": 1, "data": {"text": text}, "annotations": [{"id": 5, "result": result, "was_cancelled": skipped}]}
    pulled = read_task(task, CONFIG)
    in_file, _ = reading([task, of_this_project(CONFIG)]).records()
    if isinstance(pulled, RefusedTask) or isinstance(in_file, Problem):
        assert isinstance(pulled, RefusedTask)
        assert isinstance(in_file, Problem)
        return
    (one,), (other,) = pulled.annotations, record(in_file).annotations
    assert (one.spans, one.skipped, bool(one.doubts)) == (other.spans, other.skipped, bool(other.doubts))


def of_this_project(config: LabelConfig) -> dict[str, Any]:
    """A task with a region of the config's own control, so that no other control is taken for the project's."""
    value = {"start": 0, "end": 3, "labels": ["X"]}
    region = {"from_name": config.controls[0].name, "to_name": config.to_name, "type": "labels", "value": value}
    return {"id": 2, "data": {"text": "Bol"}, "annotations": [{"id": 6, "result": [region]}]}

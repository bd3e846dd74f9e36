"""The simulated annotator: takes turns, submits gold, and makes the mistakes it was told to make."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.label_studio.simulated_annotator import GoldBook, Habits, blunder, simulate
from ner.documents import LabelledText
from ner.errors import InputError
from ner.spans import Span, drop_overlaps
from tests.fakes import CONFIG, FakeLabelStudio

TEXTS = [f"Excel {n} crashed on Windows" for n in range(10)]
GOLD = GoldBook(
    LabelledText(str(n), text, (Span(0, 7, "SOFTWARE"), Span(19, 26, "OS"))) for n, text in enumerate(TEXTS)
)


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(CONFIG, TEXTS)


def _annotations(server: FakeLabelStudio) -> list[dict[str, Any]]:
    return [annotation for task in server.tasks.values() for annotation in task["annotations"]]


def test_it_submits_the_gold_of_each_task_until_the_count_is_reached(server: FakeLabelStudio) -> None:
    done = simulate([server], 1, GOLD, count=4)
    assert (done.submitted, done.spans, done.queue_empty) == (4, 8, False)
    values = [[region["value"] for region in annotation["result"]] for annotation in _annotations(server)]
    expected = [(0, 7, ["SOFTWARE"]), (19, 26, ["OS"])]
    assert [[(v["start"], v["end"], v["labels"]) for v in value] for value in values] == [expected] * 4


def test_it_ends_when_the_queue_is_empty(server: FakeLabelStudio) -> None:
    done = simulate([server], 1, GOLD, count=99)
    assert (done.submitted, done.queue_empty) == (10, True)


def test_two_users_take_turns(server: FakeLabelStudio) -> None:
    turns: list[str] = []

    class Turn(FakeLabelStudio):
        def __init__(self, name: str) -> None:
            super().__init__(CONFIG)
            self.tasks, self.name = server.tasks, name

        def submit_annotation(self, task_id: int, annotation: Any) -> dict[str, Any]:
            turns.append(self.name)
            return super().submit_annotation(task_id, annotation)

    simulate([Turn("a"), Turn("b")], 1, GOLD, count=5)
    assert turns == ["a", "b", "a", "b", "a"]


def test_a_shown_prediction_is_the_parent_and_its_regions_say_so(server: FakeLabelStudio) -> None:
    task_id = next(iter(server.tasks))
    regions = [{"value": {"start": 0, "end": 7, "labels": ["SOFTWARE"]}}]
    server.import_predictions(1, [{"task": task_id, "result": regions, "score": 0.1, "model_version": "v-0001"}])
    server.update_project(1, model_version="v-0001")
    simulate([server], 1, GOLD, count=1)
    (annotation,) = server.tasks[task_id]["annotations"]
    assert annotation["parent_prediction"] == server.tasks[task_id]["predictions"][0]["id"]
    assert [region["origin"] for region in annotation["result"]] == ["prediction", "manual"]
    assert annotation["lead_time"] > 0


def test_a_text_without_gold_is_skipped_as_a_person_would(server: FakeLabelStudio) -> None:
    server.import_tasks(1, [{"data": {"text": "never seen"}}])
    done = simulate([server], 1, GOLD, count=99)
    assert (done.submitted, done.skipped) == (10, 1)
    assert [a["was_cancelled"] for a in _annotations(server)].count(True) == 1


def test_gold_is_found_by_id_when_the_text_differs() -> None:
    server = FakeLabelStudio(CONFIG)
    server.import_tasks(
        1, [{"data": {"text": "EXCEL 3 crashed on Windows", "id": "3"}}, {"data": {"text": "x", "id": "3"}}]
    )
    done = simulate([server], 1, GOLD, count=9)
    assert (done.submitted, done.skipped) == (1, 1)


def test_the_pace_is_kept_between_tasks(server: FakeLabelStudio) -> None:
    pauses: list[float] = []
    simulate([server], 1, GOLD, count=3, habits=Habits(pace=2.5), sleep=pauses.append)
    assert pauses == [2.5, 2.5, 2.5]


def test_the_same_seed_makes_the_same_mistakes_and_another_seed_others() -> None:
    def results(seed: int) -> list[Any]:
        server = FakeLabelStudio(CONFIG, TEXTS)
        simulate([server], 1, GOLD, count=10, habits=Habits(error_rate=0.5, seed=seed))
        return [annotation["result"] for annotation in _annotations(server)]

    assert results(1) == results(1)
    assert results(1) != results(2)


def test_half_of_the_spans_are_got_wrong_at_an_error_rate_of_a_half() -> None:
    texts = [f"{n} Excel" for n in range(1000, 2000)]
    gold = GoldBook(LabelledText(str(n), text, (Span(5, 10, "SOFTWARE"),)) for n, text in enumerate(texts))
    done = simulate([FakeLabelStudio(CONFIG, texts)], 1, gold, count=1000, habits=Habits(error_rate=0.5))
    assert 450 <= sum(done.mistakes.values()) <= 550
    assert min(done.mistakes.values()) > 50


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)), max_size=8), st.integers(), st.floats(0, 1))
def test_mistakes_never_leave_the_text_nor_overlap(places: list[tuple[int, int]], seed: int, rate: float) -> None:
    spans, _ = drop_overlaps(Span(start, start + length, "OS") for start, length in places)
    wrong, made = blunder(spans, 48, ("OS", "SOFTWARE"), rate, Random(seed))
    assert all(0 <= span.start < span.end <= 48 for span in wrong)
    assert drop_overlaps(wrong)[1] == ()
    assert len(wrong) == len(spans) - made.count("drop")


def test_with_one_type_a_swap_becomes_a_drop() -> None:
    for seed in range(30):
        wrong, made = blunder([Span(0, 3, "OS")], 3, ("OS",), 1.0, Random(seed))
        assert made[0] != "swap"
        assert wrong == () or made == ("shift",)


@pytest.mark.parametrize("habits", [{"error_rate": 1.5}, {"error_rate": -0.1}, {"pace": -1}])
def test_habits_out_of_range_are_refused(habits: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Habits(**habits)

"""The order of the queue, and the holdout's places in it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loop.sync.queue import least_confident_first, spread

CONFIDENCES = st.lists(st.floats(0, 1, allow_nan=False), max_size=60)
NAMES = st.sets(st.text(min_size=1, max_size=6), max_size=25).map(lambda names: dict(enumerate(sorted(names))))


def test_the_least_confident_comes_first_and_ties_go_by_key() -> None:
    assert least_confident_first({1: 0.9, 2: 0.1, 5: 0.5, 3: 0.5}) == [2, 3, 5, 1]


def test_ten_in_a_hundred_are_met_about_once_in_every_ten() -> None:
    pool = [(k + 1) / 101 for k in range(100)]
    scores = spread({k: f"doc {k}" for k in range(10)}, pool, "salt")
    ranks = sorted(sum(score > confidence for confidence in pool) for score in scores.values())
    for j, rank in enumerate(ranks):
        assert j * 101 / 10 - 1 <= rank <= (j + 1) * 101 / 10


def test_places_do_not_follow_the_order_of_the_ids() -> None:
    scores = spread({k: f"doc {k}" for k in range(50)}, [0.5], "salt")
    falls = sum(scores[a] > scores[b] for a, b in pairwise(sorted(scores)))
    assert 10 < falls < 39


def test_one_at_a_time_is_even_in_the_long_run() -> None:
    pool = [(k + 1) / 10 for k in range(9)]
    alone = [spread({0: f"doc {k}"}, pool, "salt")[0] for k in range(1000)]
    for tenth in range(10):
        share = sum(tenth / 10 <= score < (tenth + 1) / 10 for score in alone) / 1000
        assert 0.06 < share < 0.14


@given(NAMES, CONFIDENCES)
def test_scores_lie_in_0_to_1_and_the_same_in_every_run(names: dict[int, str], confidences: list[float]) -> None:
    scores = spread(names, confidences, "salt")
    assert scores.keys() == names.keys()
    assert all(0 <= score <= 1 for score in scores.values())
    assert scores == spread(dict(reversed(names.items())), confidences[::-1], "salt")


def test_another_salt_is_another_order() -> None:
    names = {k: f"doc {k}" for k in range(20)}
    assert spread(names, [0.5], "one") != spread(names, [0.5], "two")

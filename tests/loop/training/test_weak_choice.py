from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loop.evaluation.scores import Counts
from loop.settings.model import WeakSettings
from loop.training import weak_choice
from loop.training.dataset import Dataset, TrainingDocument, WeakDocument
from loop.training.progress import TrainingProgress
from loop.training.weak_choice import WeakChoice, choose
from ner.documents import content_hash
from ner.labels import LabelSet
from ner.spans import Span
from store.registry import GOLD
from tests.loop import tiny

LABELS = LabelSet(("OS",))
XP = (Span(0, 2, "OS"),)
Found = dict[str, float]


def documents(numbers: range) -> tuple[TrainingDocument, ...]:
    texts = [(n, f"XP {n}") for n in numbers]
    return tuple(TrainingDocument(n, content_hash(text), str(n), text, XP, n) for n, text in texts)


class Sources:
    """Weak labels that find an entity in a share of the texts, and remember whose gold they were asked to pass over."""

    def __init__(self, right: float = 1.0) -> None:
        self.right, self.without = right, list[frozenset[int]]()

    def __call__(self, without: frozenset[int], /) -> Sequence[WeakDocument]:
        self.without.append(without)
        return [WeakDocument(n, f"XP {n}", str(n), XP if n % 100 < 100 * self.right else ()) for n in range(1000)]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """In place of trainings: what is found of the texts that judge is what `FOUND` says; with weak labels, the last."""
    seen: list[Dataset] = []

    def found(_: object, cut: Dataset) -> Counts:
        seen.append(cut)
        rows = len(cut.dev)
        places = np.arange(rows)[:: -1 if cut.weak else 1, None]
        right = places < round(rows * FOUND["with" if cut.weak else "without"])
        gold = np.array([[len(one.spans)] for one in cut.dev], dtype=np.int64)
        return Counts(LABELS.types, right * gold, np.ones_like(gold), gold)

    monkeypatch.setattr(weak_choice._Chooser, "_f1_of", found)
    FOUND.update({"with": 0.9, "without": 0.3})
    return seen


FOUND: Found = {}


def choice(gold: Dataset, sources: Sources, **weak: object) -> tuple[Dataset, WeakChoice | None]:
    settings = WeakSettings().changed(**weak)
    return choose(gold, sources, LABELS, tiny.train_settings(Path("none")), settings, TrainingProgress())


@pytest.mark.parametrize(("size", "trials"), [(60, 2), (240, 3), (330, 1)])
def test_gold_that_judges_was_seen_neither_by_the_trainings_nor_by_the_weak_labels(
    tried: list[Dataset], size: int, trials: int
) -> None:
    gold, sources = Dataset(documents(range(size)), (), GOLD), Sources()
    both, chosen = choice(gold, sources)
    assert chosen is not None and chosen.used and both.weak and both.train == gold.train
    assert not {one.document_id for one in both.weak} & set(range(size))
    assert len(tried) == 2 * trials
    judged = {one.document_id for cut in tried for one in cut.dev}
    assert len(judged) == chosen.judged == (size if trials > 1 else pytest.approx(size / 3, rel=0.3))
    for cut, without in zip(tried[1::2], sources.without[1:], strict=True):
        judging = {one.document_id for one in cut.dev}
        assert without == judging
        assert not judging & {one.document_id for one in (*cut.train, *cut.weak)}
    figures = f"F1 {chosen.f1_with:.3f} with them against {chosen.f1_without:.3f} without, on {chosen.judged} texts"
    assert str(chosen).startswith("learned first from weak labels on") and figures in str(chosen)


@pytest.mark.parametrize("sizes", [(209, 1), (105, 105), (100, 100, 1), (70, 70, 70), (210,)])
def test_gold_of_few_groups_judges_and_no_group_also_teaches(tried: list[Dataset], sizes: tuple[int, ...]) -> None:
    groups = [str(group) for group, size in enumerate(sizes) for _ in range(size)]
    gold = tuple(
        replace(one, group_key=group) for one, group in zip(documents(range(len(groups))), groups, strict=True)
    )
    _, chosen = choice(Dataset(gold, (), GOLD), Sources())
    assert chosen is not None and chosen.used
    for cut in tried:
        assert len(sizes) == 1 or not {one.group_key for one in cut.dev} & {one.group_key for one in cut.train}


@pytest.mark.parametrize("size", [60, 210])
def test_entities_of_one_document_are_never_held_back_from_all_that_teaches(tried: list[Dataset], size: int) -> None:
    gold = tuple(replace(one, spans=XP if one.document_id == 7 else ()) for one in documents(range(size)))
    choice(Dataset(gold, (), GOLD), Sources())
    assert tried and all(any(one.spans for one in cut.train) for cut in tried)


@pytest.mark.parametrize("found", [0.3, 0.1])
def test_a_gain_that_is_not_clear_leaves_gold_alone(tried: list[Dataset], found: float) -> None:
    FOUND["with"] = found
    gold = Dataset(documents(range(60)), (), GOLD)
    both, chosen = choice(gold, Sources())
    assert (both, len(tried)) == (gold, 4)
    assert chosen is not None and not chosen.used and "no clear gain" in str(chosen)
    assert chosen.as_dict()["told"] == str(chosen)


@pytest.mark.parametrize(
    ("size", "right", "found", "used"),
    [
        (60, 1.0, 0.34, True),
        (60, 0.1, 0.34, False),
        (60, 0.15, 0.34, False),
        (60, 1.0, 0.3, False),
        (240, 1.0, 0.31, False),
    ],
)
def test_with_little_gold_weak_labels_that_beat_a_model_of_gold_need_no_clear_gain(
    tried: list[Dataset], size: int, right: float, found: float, used: bool
) -> None:
    FOUND["with"] = found
    _, chosen = choice(Dataset(documents(range(size)), (), GOLD), Sources(right))
    assert chosen is not None and chosen.used is used
    assert ("far better (F1 1.00) than" in chosen.reason) is used


def test_the_development_split_judges_where_there_is_one(tried: list[Dataset]) -> None:
    gold, sources = Dataset(documents(range(100)), documents(range(100, 150)), GOLD), Sources()
    both, chosen = choice(gold, sources)
    assert [cut.dev for cut in tried] == [gold.dev, gold.dev]
    assert set(sources.without) == {frozenset(range(100, 150))}
    assert chosen is not None and chosen.judged == 50
    assert both.dev == gold.dev and both.weak


def test_weak_labels_far_below_a_model_of_much_gold_are_not_tried(tried: list[Dataset]) -> None:
    FOUND["without"] = 0.9
    _, chosen = choice(Dataset(documents(range(300)), (), GOLD), Sources(right=0.3))
    assert [bool(cut.weak) for cut in tried] == [False]
    assert chosen is not None and not chosen.used and chosen.f1_with is None and "far below" in chosen.reason


def test_with_a_handful_of_gold_good_weak_labels_need_no_comparison(tried: list[Dataset]) -> None:
    sources = Sources()
    both, chosen = choice(Dataset(documents(range(20)), (), GOLD), sources)
    assert chosen is not None and chosen.used and chosen.votes_f1 == 1 and both.weak
    assert sources.without[-1] == frozenset(range(20))
    assert not tried


def test_with_a_handful_of_gold_bad_weak_labels_are_compared(tried: list[Dataset]) -> None:
    FOUND["with"] = 0.1
    gold = tuple(replace(one, spans=(Span(3, 4, "OS"),)) for one in documents(range(20)))
    _, chosen = choice(Dataset(gold, (), GOLD), Sources())
    assert chosen is not None and not chosen.used and len(tried) == 4


def test_without_weak_labels_there_is_no_choice(tried: list[Dataset]) -> None:
    gold = Dataset(documents(range(60)), (), GOLD)
    assert choice(gold, Sources(right=0)) == (gold, None)
    assert not tried


@pytest.mark.parametrize(("training", "used"), [("always", True), ("never", None)])
def test_people_may_decide_themselves(tried: list[Dataset], training: str, used: bool | None) -> None:
    both, chosen = choice(Dataset(documents(range(60)), (), GOLD), Sources(), training=training)
    assert (chosen.used if chosen else None, bool(both.weak), tried) == (used, bool(used), [])

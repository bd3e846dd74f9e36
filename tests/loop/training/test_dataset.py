from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.training.dataset import (
    DEV_FROM,
    Dataset,
    TrainingDocument,
    WeakDocument,
    data_fingerprint,
    gather,
    split,
    with_weak,
)
from loop.training.progress import TrainingError
from ner.documents import content_hash
from ner.labels import LabelSet
from ner.spans import Span
from store.gold import GoldDocument, TrainingGold
from store.registry import GOLD, WEAK, TrainedOn
from weak_labeling.aggregate.contract import SoftTags

LABELS = LabelSet(("OS", "SOFTWARE"))
XP = (Span(0, 2, "OS"),)


def document(number: int, group: str | None = None, spans: tuple[Span, ...] = ()) -> TrainingDocument:
    text = f"XP {number}"
    return TrainingDocument(number, content_hash(text), group or f"group {number}", text, spans, number)


def gold_document(number: int, spans: tuple[Span, ...]) -> GoldDocument:
    text = f"XP {number}"
    return GoldDocument(
        document_id=number, external_id=text, group_key=text, content_hash=content_hash(text), text=text, spans=spans,
        annotation_version_id=100 + number, split="train", creator=None, ground_truth=False, alternatives=0,
        disagreements=0,
    )  # fmt: skip


documents = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), min_size=2, max_size=20).map(
    lambda drawn: [document(n, group, XP if has else ()) for n, (group, has) in enumerate(drawn)]
)


@given(documents, st.floats(0.01, 0.49), st.text(max_size=3))
def test_both_sides_have_documents_and_share_no_group(given: list[TrainingDocument], share: float, salt: str) -> None:
    train, dev = split(given, share, salt)
    assert train and dev
    assert sorted(d.document_id for d in (*train, *dev)) == [d.document_id for d in given]
    if len({d.group_key for d in given}) > 1:
        assert not {d.group_key for d in train} & {d.group_key for d in dev}


@given(documents, st.floats(0.01, 0.49), st.text(max_size=3))
def test_training_keeps_an_entity_and_development_gets_one_where_two_groups_have_some(
    given: list[TrainingDocument], share: float, salt: str
) -> None:
    groups = {d.group_key for d in given}
    with_spans = {d.group_key if len(groups) > 1 else d.content_hash for d in given if d.spans}
    train, dev = split(given, share, salt)
    if with_spans:
        assert any(d.spans for d in train)
    if len(with_spans) > 1:
        assert any(d.spans for d in dev)


def test_the_draw_takes_about_its_share_and_the_same_groups_when_documents_are_added() -> None:
    few, many = [document(n) for n in range(1000)], [document(n) for n in range(2000)]
    dev_of_few, dev_of_many = ({d.document_id for d in split(side, 0.1, "salt")[1]} for side in (few, many))
    assert 70 < len(dev_of_few) < 130
    assert dev_of_few == {number for number in dev_of_many if number < 1000}


def test_two_documents_without_entities_are_parted_whatever_the_draw() -> None:
    for salt in range(50):
        train, dev = split([document(1), document(2)], 0.49, str(salt))
        assert (len(train), len(dev)) == (1, 1)


def test_documents_of_a_single_group_are_split_by_text() -> None:
    train, dev = split([document(n, "one", XP) for n in range(10)], 0.1, "salt")
    assert len(train) > len(dev) >= 1


def test_gold_is_used_and_weak_labels_are_not_when_there_is_gold() -> None:
    gold = TrainingGold(tuple(gold_document(n, XP) for n in range(4)), (gold_document(9, XP),))
    dataset = gather(gold, [WeakDocument(7, "XP", "g", XP)], "salt")
    assert dataset.kind == GOLD
    assert {item.document_id for item in dataset.items()} == {0, 1, 2, 3}
    assert all(item.annotation_version_id == 100 + item.document_id for item in dataset.items())
    assert dataset.left_out == 1


def test_from_a_thousand_documents_on_a_tenth_is_held_back_and_with_fewer_none() -> None:
    gold = TrainingGold(tuple(gold_document(n, XP) for n in range(DEV_FROM)), ())
    many = gather(gold, (), "salt")
    assert len(many.train) + len(many.dev) == DEV_FROM == 1000
    assert 70 < len(many.dev) < 130
    few = gather(TrainingGold(gold.documents[1:], ()), (), "salt")
    assert (len(few.train), few.dev) == (DEV_FROM - 1, ())


def test_a_large_project_holds_back_no_more_than_it_takes_to_score_a_file() -> None:
    dataset = gather(TrainingGold(tuple(gold_document(n, XP) for n in range(8000)), ()), (), "salt")
    assert 430 < len(dataset.dev) < 570


def test_gold_loses_the_white_space_at_its_ends_and_its_blank_spans() -> None:
    drawn = (Span(0, 3, "OS", 0.5), Span(2, 3, "SOFTWARE"))
    dataset = gather(TrainingGold((gold_document(1, drawn), gold_document(2, XP)), ()), (), "salt")
    assert {document.spans for document in (*dataset.train, *dataset.dev)} == {XP}


def test_without_gold_the_weak_documents_are_trained_on_and_said_to_be_weak() -> None:
    weak = [WeakDocument(n, f"XP {n}", f"g{n}", XP) for n in range(3)]
    dataset = gather(TrainingGold((), ()), weak, "salt")
    assert dataset.kind == WEAK
    assert TrainedOn(dataset.train[0].document_id, None, "train", WEAK) in dataset.items()


@pytest.mark.parametrize(
    ("gold", "rule"),
    [([], "two labelled texts"), ([XP], "two labelled texts"), ([(), ()], "at least one entity")],
)
def test_too_little_to_learn_from_is_refused_by_name(gold: list[tuple[Span, ...]], rule: str) -> None:
    with pytest.raises(TrainingError, match=rule):
        gather(TrainingGold(tuple(gold_document(n, s) for n, s in enumerate(gold)), ()), [], "salt")


@pytest.mark.parametrize("groups", [("g", "g"), ("g", "h")])
def test_one_text_over_and_over_is_too_little_to_learn_from_whatever_its_groups(groups: tuple[str, ...]) -> None:
    weak = [WeakDocument(n, "XP", group, XP) for n, group in enumerate(groups)]
    with pytest.raises(TrainingError, match=r"two labelled texts that differ.*: got 1 outside the holdout"):
        gather(TrainingGold((), ()), weak, "salt")


def test_labelled_texts_in_doubt_are_counted_also_where_too_little_is_left() -> None:
    two = (gold_document(1, XP), gold_document(2, XP))
    assert gather(TrainingGold(two, (), in_doubt=3), [], "salt").in_doubt == 3
    with pytest.raises(TrainingError, match="1 outside the holdout, and 3 in doubt"):
        gather(TrainingGold(two[:1], (), in_doubt=3), [], "salt")


def test_entity_types_without_an_example_are_named() -> None:
    assert Dataset((document(1, spans=XP),), (document(2),), GOLD).missing_types(LABELS) == ("SOFTWARE",)


def test_the_fingerprint_hangs_on_texts_spans_roles_and_kind_and_not_on_order_or_ids() -> None:
    train = [document(n, spans=XP) for n in range(5)]
    dataset = Dataset(tuple(train), (document(9),), GOLD)
    shuffled = random.Random(1).sample([replace(d, document_id=d.document_id + 50) for d in train], 5)
    assert data_fingerprint(Dataset(tuple(shuffled), (document(9),), GOLD)) == dataset.fingerprint
    others = [
        Dataset(tuple(train), (document(8),), GOLD),
        Dataset(tuple(train), (document(9),), WEAK),
        Dataset((*train[1:], replace(train[0], spans=())), (document(9),), GOLD),
        Dataset((*train, document(9)), (), GOLD),
    ]
    assert len({dataset.fingerprint, *(other.fingerprint for other in others)}) == 5


def weak_document(number: int, group: str = "", soft: SoftTags | None = None) -> WeakDocument:
    return WeakDocument(number, f"XP {number}", group or f"group {number}", XP, soft)


def test_a_weak_text_never_stands_beside_its_gold_nor_beside_a_group_that_judges() -> None:
    gold = Dataset((document(1, spans=XP),), (document(2, "judging"),), GOLD)
    weak = [weak_document(1), weak_document(2), weak_document(3, "judging"), weak_document(4), weak_document(5)]
    both = with_weak(gold, weak, 10, "salt")
    assert {one.document_id for one in both.weak} == {4, 5}
    assert (both.train, both.dev) == (gold.train, gold.dev)
    kinds = {item.document_id: (item.kind, item.role) for item in both.items()}
    assert kinds == {1: (GOLD, "train"), 2: (GOLD, "dev"), 4: (WEAK, "train"), 5: (WEAK, "train")}


def test_at_most_so_many_weak_texts_are_drawn_whatever_their_order_and_more_keep_the_first() -> None:
    gold, weak = Dataset((document(99),), (), GOLD), [weak_document(n) for n in range(20)]
    few = {one.document_id for one in with_weak(gold, weak, 5, "salt").weak}
    assert len(few) == 5
    assert few == {one.document_id for one in with_weak(gold, weak[::-1], 5, "salt").weak}
    assert few < {one.document_id for one in with_weak(gold, weak, 8, "salt").weak}


def test_a_type_that_weak_labels_alone_have_is_not_missing_and_soft_labels_change_the_fingerprint() -> None:
    gold = Dataset((document(1),), (), GOLD)
    surer, less_sure = (
        with_weak(gold, [weak_document(2, soft=SoftTags(np.array([[0, 2]]), shares, np.array([True])))], 5, "salt")
        for shares in (np.array([[0.1, 0.9, 0, 0, 0]]), np.array([[0.4, 0.6, 0, 0, 0]]))
    )
    assert gold.missing_types(LABELS) == LABELS.types
    assert surer.missing_types(LABELS) == ("SOFTWARE",)
    assert len({gold.fingerprint, surer.fingerprint, less_sure.fingerprint}) == 3

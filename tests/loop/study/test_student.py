from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AlbertConfig, AlbertForTokenClassification, BertConfig, BertForTokenClassification

from loop.study.student import GOLD_SHARE, check_halves, halved, kept_layers, layers_of, soft_windows
from loop.training.batches import IGNORED, FramedWindow
from loop.training.encoder import load_base
from loop.training.mentions import Mentions
from ner.errors import ConfigError
from ner.labels import LabelSet
from tests.loop import tiny

SHAPE = {"vocab_size": 20, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}


def classifier(layers: int) -> Any:
    return BertForTokenClassification(BertConfig(num_hidden_layers=layers, **SHAPE)).eval()


@pytest.mark.parametrize(
    ("layers", "kept"), [(2, (0,)), (3, (0,)), (4, (0, 3)), (6, (0, 2, 5)), (12, (0, 2, 4, 7, 9, 11))]
)
def test_a_student_keeps_layers_in_even_steps_from_the_first_to_the_last(layers: int, kept: tuple[int, ...]) -> None:
    assert kept_layers(layers) == kept


def test_a_student_has_its_teachers_weights_and_leaves_the_teacher_as_it_was() -> None:
    teacher = classifier(4)
    student = halved(teacher)
    assert (layers_of(student), layers_of(teacher)) == (2, 4)
    pairs = zip(student.bert.encoder.layer, [teacher.bert.encoder.layer[place] for place in (0, 3)], strict=True)
    assert all(
        torch.equal(one, other)
        for own, others in pairs
        for one, other in zip(own.parameters(), others.parameters(), strict=True)
    )
    with torch.no_grad():
        student.classifier.weight.zero_()
    assert teacher.classifier.weight.abs().sum() > 0


@pytest.mark.parametrize("family", ["bert-uncased", "distilbert-uncased", "roberta-cased"])
def test_every_family_of_encoders_can_be_halved_and_still_gives_logits(tmp_path: Path, family: str) -> None:
    labels = LabelSet(tiny.LABELS)
    student = halved(load_base(str(tiny.encoder(tmp_path / "encoder", family)), labels, 24).model)
    assert layers_of(student) == 1
    assert student(input_ids=torch.tensor([[5, 6, 7]])).logits.shape == (1, 3, len(labels.tags))


def test_an_encoder_whose_layers_share_their_weights_is_refused_by_name() -> None:
    albert = AlbertForTokenClassification(AlbertConfig(num_hidden_layers=4, embedding_size=8, **SHAPE))
    with pytest.raises(ConfigError, match=r"AlbertForTokenClassification .* Leave `distilled` out"):
        check_halves(albert)


def test_an_encoder_of_one_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least two layers: got 1"):
        halved(classifier(1))


def test_a_student_learns_the_teachers_tags_and_the_gold_in_fixed_shares() -> None:
    teacher = classifier(2)
    window = FramedWindow(np.array([1, 2, 3]), np.array([IGNORED, 1, 0]))
    (softened,) = soft_windows(teacher, [window], 0)
    with torch.inference_mode():
        said = teacher(input_ids=torch.tensor([[1, 2, 3]])).logits.softmax(-1)[0].numpy()
    assert softened.soft is not None
    assert softened.soft[1:] == pytest.approx(
        (1 - GOLD_SHARE) * said[1:] + GOLD_SHARE * np.array([[0, 1], [1, 0]]), abs=1e-5
    )
    assert softened.tags.tolist() == [IGNORED, 1, 0]
    (alone,) = soft_windows(teacher, [window], 0, gold_share=0.0)
    assert alone.soft == pytest.approx(said, abs=1e-5)


def test_what_a_student_learns_of_a_window_is_of_the_windows_own_mentions() -> None:
    windows = [FramedWindow(np.array([word, 2]), np.array([1, 0]), mentions=((0, 1),)) for word in (3, 4)]
    softened = soft_windows(classifier(2), windows, 0)
    mentions, random = Mentions([*windows, *softened], 1.0), np.random.default_rng(1)
    read = [mentions.replaced(window, random).ids.tolist() for window in softened * 9]
    assert read == [[3, 2], [4, 2]] * 9

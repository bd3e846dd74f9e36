"""A classifier that starts on top of the prefinetuned adapter has read the gold before the first step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from loop.settings.model import TrainSettings
from loop.training.batches import FramedWindow, collate, encode, frame
from loop.training.encoder import load_base
from loop.training.prefinetuned import FILE
from loop.training.start import start_from_encoder
from ner.labels import LabelSet
from tests.loop import tiny

LABELS = LabelSet(tiny.LABELS)
SETTINGS = TrainSettings()
OS, SOFTWARE = (LABELS.begin(name) for name in ("OS", "SOFTWARE"))


def windows(unannotated: frozenset[str] = frozenset(), number: int = 40) -> list[FramedWindow]:
    """Those of the tiny corpus; types that are unannotated have no gold."""
    encoder = load_base("minilm", LABELS, 24).text_encoder
    told = [
        (text, tuple(span for span in spans if span.label not in unannotated)) for text, spans in tiny.corpus(number)
    ]
    return [
        one for text, spans in told for one in frame(encode(text, spans, encoder, LABELS, 24, unannotated), encoder)
    ]


def started(learned: list[FramedWindow], settings: TrainSettings = SETTINGS, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return start_from_encoder(load_base("minilm", LABELS, 24), settings, len(LABELS.tags), learned).model


def found(model: Any, asked: list[FramedWindow]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(n, num_tags) probabilities and (n,) tags of the tokens that are learned."""
    ids, mask, tags = collate(asked, 0)
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, attention_mask=mask).logits
    return logits.softmax(-1)[tags >= 0].numpy(), tags[tags >= 0].numpy()


def classifier(model: Any) -> list[Any]:
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    return [weight for name, weight in weights.items() if "lora_" not in name]


def test_before_the_first_step_the_model_reads_its_gold_and_the_adapter_is_the_one_of_the_file() -> None:
    learned = windows()
    model = started(learned)
    probabilities, tags = found(model, learned)
    assert (probabilities.argmax(-1) == tags).mean() > 0.97
    assert (probabilities.argmax(-1) == tags)[tags > 0].mean() > 0.9
    now, saved = get_peft_model_state_dict(model, save_embedding_layers=False), load_file(FILE)
    assert all(torch.equal(now[name], saved[name].float()) for name in saved if "lora_" in name)


def test_eight_mentions_are_enough_to_say_which_known_types_the_types_of_the_project_are_like() -> None:
    """A fit that starts at no weights finds 84 % of these tokens."""
    learned, asked = windows(number=10), windows(number=40)[10:]
    probabilities, tags = found(started(learned), asked)
    assert (probabilities.argmax(-1) == tags)[tags > 0].mean() > 0.93
    assert (probabilities.argmax(-1) == tags)[tags == 0].mean() > 0.97


def test_a_training_from_the_prefinetuned_adapter_has_the_learning_rate_of_one_that_goes_on() -> None:
    learned = windows()
    rates = [
        start_from_encoder(load_base("minilm", LABELS, 24), settings, len(LABELS.tags), learned).settings.learning_rate
        for settings in (SETTINGS, SETTINGS.changed(prefinetuned=False))
    ]
    assert rates == [SETTINGS.warm_learning_rate, SETTINGS.learning_rate]


def test_an_adapter_that_starts_at_nothing_has_a_classifier_that_knows_only_how_rare_the_tags_are() -> None:
    learned = windows()
    probabilities, tags = found(started(learned, SETTINGS.changed(prefinetuned=False)), learned)
    assert not probabilities.argmax(-1).any()
    assert probabilities.mean(0) == pytest.approx(np.bincount(tags, minlength=5) / len(tags), abs=0.05)


def test_the_fitted_classifier_does_not_depend_on_the_seed_or_the_order_of_the_windows() -> None:
    learned = windows()
    one, other = classifier(started(learned)), classifier(started(learned[::-1], seed=2))
    assert all(torch.allclose(a, b, atol=0.02) for a, b in zip(one, other, strict=True))


def test_a_text_that_was_not_annotated_for_a_type_does_not_teach_the_classifier_its_absence() -> None:
    whole, silent = windows(number=20), windows(frozenset({"OS"}), number=60)[20:]
    asked = windows(number=60)[20:]
    absent = [replace(window, outside=()) for window in silent]
    shares = []
    for learned in (silent, absent):
        probabilities, tags = found(started([*whole, *learned]), asked)
        shares.append(probabilities[tags == OS, OS].mean())
    assert shares[0] > 2 * shares[1]


def test_soft_tags_are_learned_in_place_of_hard_ones() -> None:
    learned = windows()
    softened = []
    for window in learned:
        soft = np.eye(len(LABELS.tags))[np.clip(window.tags, 0, None)]
        soft[window.tags == OS] = 0.0
        soft[window.tags == OS, OS], soft[window.tags == OS, SOFTWARE] = 0.3, 0.7
        softened.append(replace(window, soft=soft))
    probabilities, tags = found(started(softened), learned)
    assert (probabilities[tags == OS].argmax(-1) == SOFTWARE).mean() > 0.9

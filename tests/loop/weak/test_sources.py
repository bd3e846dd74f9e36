"""Answers of prompted models in the store, and what sources that are models get from the loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loop.weak import token_classifier
from loop.weak.applying import is_batch_source
from loop.weak.sources import StoredAnswers, source_tools
from loop.weak.token_classifier import LocalClassifier
from ner.errors import InputError
from ner.spans import Span
from store.database.session import Store
from tests.loop import tiny
from weak_labeling.loading import load_sources
from weak_labeling.sources.answers import PromptAnswer, Spent, answer_key, question_key


def test_an_answer_is_kept_for_its_project_and_its_cost_counts_for_its_question(store: Store):
    first, other = (StoredAnswers(store, tiny.project(store, name).id) for name in ("One", "Two"))
    question, another = question_key("a"), question_key("b")
    keys = [answer_key(question, "x"), answer_key(question, "y"), answer_key(another, "x")]
    said = PromptAnswer('{"entities": []}', "length", 1.5, 100, 10, 0.25)
    first.keep(dict.fromkeys(keys, said))
    first.keep({keys[0]: PromptAnswer("later")})
    assert first.known([*keys, "?"]) == dict.fromkeys(keys, PromptAnswer('{"entities": []}', "length"))
    assert (first.spent(question), first.spent(another)) == (Spent(2, 0.5), Spent(1, 0.25))
    assert (other.known(keys), other.spent(question)) == ({}, Spent())


def test_examples_are_gold_that_models_learn_from_and_never_of_the_holdout(store: Store):
    project = tiny.project(store)
    tiny.put(store, project, [("Excel hangs", (Span(0, 5, "SOFTWARE"),))])
    tiny.put(store, project, [("Word hangs", (Span(0, 4, "SOFTWARE"),))], "holdout")
    assert [one.text for one in source_tools(store, project).examples()] == ["Excel hangs"]


def test_a_folder_of_transformers_is_a_source(store: Store, tmp_path: Path):
    tiny.encoder(tmp_path / "hf")
    (tmp_path / "weak.toml").write_text(
        '[[source]]\nname = "hf"\nkind = "transformers"\nfolder = "hf"\nlabels = { LABEL_0 = "OS", LABEL_1 = "OS" }\n'
    )
    loaded = load_sources(
        tmp_path,
        functions=None,
        weak_file=tmp_path / "weak.toml",
        labels=tiny.LABELS,
        tools=source_tools(store, tiny.project(store)),
    )
    (source,) = loaded.sources
    assert is_batch_source(source)
    text = "my Outlook crashes"
    assert source.find_all([text]) == [[Span(0, len(text), "OS")]]  # both of its classes are the label


def test_texts_read_together_have_the_probabilities_that_each_has_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = LocalClassifier(tiny.encoder(tmp_path, "roberta-cased"), None)  # its positions depend on the padding
    long = "my Outlook crashes on start " * 12  # several windows of 40 tokens
    texts = ["my Outlook", long, "a\0b", "please install Excel for me", "\u200b", long + "again"]
    alone = [model.probabilities([text])[0] for text in texts]
    monkeypatch.setattr(token_classifier, "_TOKENS_AT_ONCE", 100)
    sizes: list[list[int]] = []
    read = model._read
    monkeypatch.setattr(model, "_read", lambda framed: (sizes.append([len(one) for one in framed]), read(framed))[1])
    together = model.probabilities(texts)
    assert [isinstance(one, InputError) for one in together] == [False, False, True, False, False, False]
    for one, other in zip(alone, together, strict=True):
        if not isinstance(one, InputError) and not isinstance(other, InputError):
            assert np.allclose(one[0], other[0], atol=1e-5) and one[1].tolist() == other[1].tolist()
    assert max(len(set(batch)) for batch in sizes) > 1  # some of a batch are padded
    assert all(len(batch) * max(batch) <= 100 for batch in sizes)


def test_a_folder_of_transformers_has_probabilities_for_every_token_of_a_long_text(tmp_path: Path):
    model = LocalClassifier(tiny.encoder(tmp_path), None)
    ((probs, offsets),) = model.probabilities(["my Outlook crashes on start " * 12])
    assert probs.shape == (len(offsets), 2)
    assert np.allclose(probs.sum(axis=1), 1)
    assert offsets[0].tolist() == [0, 2]
    assert offsets[-1, 1] == len("my Outlook crashes on start " * 12) - 1

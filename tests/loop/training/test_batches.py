from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.training.batches import (
    IGNORED,
    EncodedText,
    FramedWindow,
    collate,
    encode,
    frame,
    shuffled_batches,
    soft_targets,
    soften,
)
from loop.training.encoder import BaseModel, load_base
from ner.decoding import learned_costs
from ner.labels import LabelSet
from ner.spans import Span
from tests.loop import tiny
from weak_labeling.aggregate.contract import SoftTags

LABELS = LabelSet(tiny.LABELS)
B_OS, I_OS = 1, 2


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder: Path = tmp_path_factory.mktemp("encoder")
    return load_base(str(tiny.encoder(folder, request.param)), LABELS, 24)


def encoded(base: BaseModel, text: str, *spans: Span) -> EncodedText:
    return encode(text, spans, base.text_encoder, LABELS, 24)


def test_every_token_of_a_long_text_is_learned_exactly_once(base: BaseModel) -> None:
    text = "my Windows crashes " * 20
    spans = tuple(Span(at + 3, at + 10, "OS") for at in range(0, len(text), 19))
    read = encoded(base, text, *spans)
    windows = frame(read, base.text_encoder)
    assert len(windows) > 2
    learned = np.concatenate([window.tags[window.tags != IGNORED] for window in windows])
    assert learned.tolist() == read.tags[read.tagged].tolist()
    assert (learned == B_OS).sum() == 20
    assert all(len(window.ids) == len(window.tags) <= 24 for window in windows)


def test_special_tokens_are_read_and_not_learned(base: BaseModel) -> None:
    read = encoded(base, "my Windows", Span(3, 10, "OS"))
    [window] = frame(read, base.text_encoder)
    assert window.ids[0] == base.text_encoder.prefix[0]
    assert window.ids[-1] == base.text_encoder.suffix[-1]
    assert window.tags[0] == window.tags[-1] == IGNORED
    assert B_OS in window.tags


def test_a_blank_text_has_nothing_to_learn(base: BaseModel) -> None:
    read = encoded(base, " ")
    assert not [window for window in frame(read, base.text_encoder) if (window.tags != IGNORED).any()]


def test_joints_of_encoded_texts_teach_that_entities_do_not_end_inside_words(base: BaseModel) -> None:
    texts = [encoded(base, "my Windows10", Span(3, 12, "OS"))] * 9
    costs = learned_costs(text.joints() for text in texts)
    assert costs["word"] > 2
    assert costs["gap"] == 0


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 16), st.integers(0, 9))
def test_every_window_is_in_one_batch_of_at_most_the_batch_size(lengths: list[int], size: int, seed: int) -> None:
    batches = list(shuffled_batches(lengths, size, np.random.default_rng(seed)))
    assert sorted(index for batch in batches for index in batch.tolist()) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= size


def test_batches_hold_windows_of_like_length_in_another_order_each_time() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, size=400)
    random = np.random.default_rng(1)
    first, second = (list(shuffled_batches(lengths.tolist(), 8, random)) for _ in range(2))
    spread = np.mean([np.ptp(lengths[batch]) for batch in first])
    assert spread < 5
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]


def test_a_batch_is_padded_to_a_multiple_of_eight_and_masked() -> None:
    windows = [FramedWindow(np.arange(n) + 1, np.full(n, 2)) for n in (3, 9)]
    ids, mask, tags = collate(windows, padding_id=0)
    assert ids.shape == mask.shape == tags.shape == (2, 16)
    assert mask.sum(dim=1).tolist() == [3, 9]
    assert ids[0].tolist() == [1, 2, 3, *[0] * 13]
    assert tags[0].tolist() == [2, 2, 2, *[IGNORED] * 13]


WINDOWS = SoftTags(
    np.array([[0, 2], [3, 10]]), np.array([[1, 0, 0, 0, 0], [0.2, 0.5, 0, 0.3, 0]]), np.array([False, True])
)


def test_the_pieces_of_a_word_share_its_tags_and_only_the_first_may_begin(base: BaseModel) -> None:
    text = soften(encoded(base, "my Windows", Span(3, 10, "OS")), WINDOWS, LABELS, silent_is_outside=True)
    assert text.soft is not None
    starts = text.offsets[:, 0][text.tagged & (text.offsets[:, 1] > 3)]
    pieces = text.soft[text.tagged & (text.offsets[:, 1] > 3)]
    assert len(pieces) > 1 or starts.tolist() == [3]  # a byte-level vocabulary may have the word whole
    assert pieces[0].tolist() == [0.2, 0.5, 0, 0.3, 0]
    assert all(piece.tolist() == [0.2, 0, 0.5, 0, 0.3] for piece in pieces[1:])
    assert text.soft[text.tagged].sum(axis=1) == pytest.approx(1)


def test_words_on_which_no_source_spoke_are_outside_or_left_out(base: BaseModel) -> None:
    plain = encoded(base, "my Windows", Span(3, 10, "OS"))
    outside, ignored = (soften(plain, WINDOWS, LABELS, silent_is_outside=silent) for silent in (True, False))
    silent = plain.tagged & (plain.offsets[:, 1] <= 2)
    assert outside.soft is not None
    assert (outside.soft[silent] == [1, 0, 0, 0, 0]).all()
    assert (outside.tags[silent] == 0).all()
    assert (ignored.tags[silent] == IGNORED).all()
    assert (ignored.tags[plain.tagged & ~silent] >= 0).all()


def test_soft_tags_stay_with_their_tokens_in_every_window_and_gold_beside_them_is_certain(base: BaseModel) -> None:
    text = "my Windows crashes " * 20
    starts = [
        (at, at + length) for at in range(0, len(text), 19) for at, length in ((at, 2), (at + 3, 7), (at + 11, 7))
    ]
    shares = np.random.default_rng(1).dirichlet(np.ones(5), len(starts))
    soft = SoftTags(np.array(starts), shares, np.ones(len(starts), dtype=np.bool_))
    read = soften(encoded(base, text), soft, LABELS, silent_is_outside=True)
    windows = frame(read, base.text_encoder)
    assert len(windows) > 2 and read.soft is not None
    learned = np.concatenate([w.soft[w.tags != IGNORED] for w in windows if w.soft is not None])
    assert (learned == read.soft[read.tagged]).all()
    gold = FramedWindow(np.array([1, 2]), np.array([IGNORED, B_OS]))
    _, _, tags = collate([windows[0], gold], padding_id=0)
    targets = soft_targets([windows[0], gold], tags, 5)
    assert targets[1, 1].tolist() == [0, 1, 0, 0, 0]
    assert targets[0, : len(windows[0].ids)].numpy() == pytest.approx(windows[0].soft, abs=1e-6)
    assert soft_targets([gold], tags[1:], 5) is None

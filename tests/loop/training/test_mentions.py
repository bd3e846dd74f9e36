from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loop.settings.model import TrainSettings
from loop.training.batches import FramedWindow, encode, frame, soften
from loop.training.encoder import BaseModel, load_base
from loop.training.mentions import Mentions
from loop.training.progress import TrainingProgress
from loop.training.trainer import Plan, train
from ner.labels import LabelSet
from ner.spans import Span
from tests.loop import tiny
from weak_labeling.aggregate.contract import SoftTags

LABELS = LabelSet(tiny.LABELS)
FIRST, SECOND = LABELS.types[:2]
ROOM = 24
BY_TYPE = {FIRST: ("Windows", "Windows crashes", "my"), SECOND: ("crashes", "Windows my Windows")}


@pytest.fixture(scope="module", params=["bert"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder: Path = tmp_path_factory.mktemp("encoder")
    return load_base(str(tiny.encoder(folder, request.param)), LABELS, ROOM)


def windows_of(base: BaseModel, pieces: list[str | tuple[str, str]]) -> list[FramedWindow]:
    """pieces: words outside, and (type, words) of mentions, joined by blanks."""
    text, spans = "", []
    for piece in pieces:
        words = piece if isinstance(piece, str) else piece[1]
        text += " " if text else ""
        if not isinstance(piece, str):
            spans.append(Span(len(text), len(text) + len(words), piece[0]))
        text += words
    return frame(encode(text, tuple(spans), base.text_encoder, LABELS, ROOM), base.text_encoder)


def as_read(windows: list[FramedWindow]) -> list[tuple[list[int], list[int]]]:
    return [(window.ids.tolist(), window.tags.tolist()) for window in windows]


MENTION = st.sampled_from([(name, words) for name, every in BY_TYPE.items() for words in every])


@given(st.lists(st.one_of(st.sampled_from(["my", "crashes"]), MENTION), min_size=1, max_size=4), st.integers(0, 99))
def test_a_replaced_mention_reads_as_if_the_text_had_the_other_one(
    base: BaseModel, pieces: list[str | tuple[str, str]], seed: int
) -> None:
    bank = [windows_of(base, [(name, words)])[0] for name, every in BY_TYPE.items() for words in every]
    bank += windows_of(base, ["my crashes " * 9])
    [window] = windows_of(base, pieces)
    read = Mentions([window, *bank], 1.0).replaced(window, np.random.default_rng(seed))

    def texts(rest: list[str | tuple[str, str]]) -> list[list[str | tuple[str, str]]]:
        if not rest:
            return [[]]
        kind = None if isinstance(rest[0], str) else rest[0][0]
        heads = [rest[0]] if kind is None else [(kind, words) for words in BY_TYPE[kind]]
        return [[head, *tail] for head in heads for tail in texts(rest[1:])]

    assert as_read([read])[0] in [as_read(windows_of(base, pieces))[0] for pieces in texts(pieces)]


def test_mentions_change_from_pass_to_pass_at_about_the_share_that_is_asked(base: BaseModel) -> None:
    windows = [windows_of(base, ["my", (FIRST, words)])[0] for words in ("Windows", "crashes", "my")] * 300
    random = np.random.default_rng(1)
    mentions = Mentions(windows, 0.3)
    read = [mentions.replaced(window, random) for window in windows]
    changed = np.mean([a.ids.tolist() != b.ids.tolist() for a, b in zip(read, windows, strict=True)])
    assert changed == pytest.approx(0.3 * 2 / 3, abs=0.05)


def test_without_a_share_or_a_mention_a_window_stays_as_it_is(base: BaseModel) -> None:
    random = np.random.default_rng(1)
    [with_mention], [without] = windows_of(base, ["my", (FIRST, "Windows")]), windows_of(base, ["my"])
    assert Mentions([with_mention], 0.0).replaced(with_mention, random) is with_mention
    assert Mentions([with_mention], 1.0).replaced(without, random) is without


def test_no_window_gets_longer_than_the_longest_there_is(base: BaseModel) -> None:
    short, long = windows_of(base, [(FIRST, "my")])[0], windows_of(base, [(FIRST, "Windows crashes")])[0]
    random = np.random.default_rng(1)
    mentions = Mentions([short, long, *windows_of(base, ["my", (FIRST, "my")])], 1.0)
    longest = max(len(short.ids), len(long.ids), 4)
    window = windows_of(base, ["my", "my", (FIRST, "my")])[0]
    assert all(len(mentions.replaced(window, random).ids) <= max(longest, len(window.ids)) for _ in range(50))


def test_only_mentions_that_are_whole_in_their_window_are_replaced(base: BaseModel) -> None:
    mention = (FIRST, "Windows crashes my")
    [[(first, after)]] = [window.mentions for window in windows_of(base, [mention])]
    windows = windows_of(base, ["my", mention] * 20)
    assert len(windows) > 2
    for window in windows:
        for start, end in window.mentions:
            assert window.tags[start] == LABELS.begin(FIRST) and end - start == after - first
            assert (window.tags[start + 1 : end] == LABELS.inside(FIRST)).all()
    whole = sum(len(window.mentions) for window in windows)
    begun = sum(int((window.tags == LABELS.begin(FIRST)).sum()) for window in windows)
    assert begun - len(windows) < whole <= begun == 20


def test_a_mention_is_whole_only_where_its_last_token_with_text_is(tmp_path: Path) -> None:
    bytes_of = load_base(str(tiny.encoder(tmp_path, "roberta-cased")), LABELS, ROOM).text_encoder
    expected, found = [], []
    for blanks in range(1, 12):  # blanks are tokens without text; the window ends among them, too
        words = f"Windows{' ' * blanks}crashes"
        text = encode(f"my {words}{' my' * 20}", (Span(3, 3 + len(words), FIRST),), bytes_of, LABELS, 12)
        first, *rest = frame(text, bytes_of)
        expected.append(bool(np.flatnonzero(text.tags > 0)[-1] + 1 < text.parts[0].keep_end))
        found.append(bool(first.mentions))
        assert not any(window.mentions for window in rest[1:])
    assert found == expected and len(set(expected)) == 2


def test_what_sources_voted_has_no_mentions(base: BaseModel) -> None:
    text = encode("my Windows", (Span(3, 10, FIRST),), base.text_encoder, LABELS, ROOM)
    shares = np.full((2, len(LABELS.tags)), 1 / len(LABELS.tags))
    soft = soften(text, SoftTags(np.array([[0, 2], [3, 10]]), shares, np.ones(2, bool)), LABELS, silent_is_outside=True)
    assert frame(text, base.text_encoder)[0].mentions
    assert not frame(soft, base.text_encoder)[0].mentions


class Watching(torch.nn.Module):
    """Keeps what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.seen = torch.nn.Embedding(9, 5), set[tuple[int, ...]]()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        self.seen |= {tuple(row[row > 0].tolist()) for row in input_ids}
        return SimpleNamespace(logits=self.scores(input_ids))


@pytest.mark.parametrize(("share", "read"), [(0.0, {(1, 2), (1, 3)}), (0.9, {(1, 2), (1, 3), (4, 2), (4, 3)})])
def test_a_training_reads_other_mentions(share: float, read: set[tuple[int, ...]]) -> None:
    windows = [FramedWindow(np.array(ids), np.array([1, 0]), mentions=((0, 1),)) for ids in ([1, 2], [1, 3], [4, 5])]
    model = Watching()
    settings = TrainSettings(other_mentions=share)
    train(model, windows, Plan(30, 2, 2, 1e-3), settings, 0, TrainingProgress())
    assert model.seen >= read and (share or model.seen == read | {(4, 5)})
    assert [window.ids.tolist() for window in windows] == [[1, 2], [1, 3], [4, 5]]  # the gold stays as it is

"""The candidates of a loop, and what each says of the texts: real ones, and quick surrogates.

A real candidate is made by the training of `loop retrain` at its default settings, from the base encoder, on one
thread and in float32, so that the processor does not matter. It is asked before the export to INT8: to quantise a file
and to compare it takes longer than to train on little gold, and the served file says nearly the same (`loop retrain`
checks that). A surrogate is a small network on the output of the encoder, which stays as it is; it learns in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from loop.evaluation.scores import count
from loop.settings.model import TrainSettings
from loop.training.batches import IGNORED, EncodedText, FramedWindow, encode, frame
from loop.training.dev_split import EvaluationTexts, Reader, torch_reader
from loop.training.encoder import BaseModel, load_base
from loop.training.progress import TrainingError, TrainingProgress
from loop.training.start import start_from_encoder
from loop.training.trainer import make_plan, reproducible, train
from ner.arrays import IntArray, Logits
from ner.decoding import learned_costs
from ner.labels import LabelSet
from scripts.bench.policy.loops import Candidate, Lesson, Loop, Spans

Maker = Callable[[Loop, Sequence[Lesson], Sequence[str]], list[Spans]]


def make_counts(make: Maker, loop: Loop, candidate: Candidate) -> tuple[IntArray, IntArray]:
    """(texts, types) true positives and predicted spans, on the texts to judge by and then on the truth.

    Both are empty where no candidate comes of the training: a loop goes on without it.
    """
    asked = [*loop.judged(), *loop.truth]
    try:
        found = make(loop, candidate.lessons(loop), [item.text for item in asked])
    except TrainingError:
        nothing = np.zeros((0, len(loop.source.types)), dtype=np.int64)
        return nothing, nothing
    counts = count([item.spans for item in asked], found, LabelSet(loop.source.types))
    return counts.true_positives, counts.predicted


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """What a candidate learns from, and the texts that it is asked about."""

    base: BaseModel
    labels: LabelSet
    windows: tuple[FramedWindow, ...]
    asked: EvaluationTexts

    @property
    def tag_counts(self) -> IntArray:
        """(num_tags,): how often each tag is to be learned."""
        tags = np.concatenate([window.tags for window in self.windows])
        return np.bincount(tags[tags != IGNORED], minlength=len(self.labels.tags))

    @property
    def padding_id(self) -> int:
        return self.base.tokenizer.pad_token_id or 0


def _encoded(loop: Loop, lessons: Iterable[Lesson], asked: Iterable[str], settings: TrainSettings) -> _Encoded:
    labels = LabelSet(loop.source.types)
    base = load_base(settings.encoder, labels, settings.max_length, settings.encoder_dropout)

    def read(text: str, spans: Spans = ()) -> EncodedText:
        return encode(text, spans, base.text_encoder, labels, settings.max_length)

    learned = [read(text, spans) for text, spans in lessons]
    windows = (window for text in learned for window in frame(text, base.text_encoder))
    costs = learned_costs(text.joints() for text in learned)
    texts = EvaluationTexts(tuple(map(read, asked)), base.text_encoder, labels, costs)
    return _Encoded(base, labels, tuple(window for window in windows if (window.tags != IGNORED).any()), texts)


def make_real(loop: Loop, lessons: Sequence[Lesson], asked: Sequence[str]) -> list[Spans]:
    """What the model says of the texts that `loop retrain --from-scratch` trains on the lessons."""
    settings = TrainSettings(seed=13 + loop.seed, threads=1, precision="float32")
    data = _encoded(loop, lessons, asked, settings)
    with reproducible(settings.seed, settings.threads):
        start = start_from_encoder(data.base, settings, len(data.labels.tags), data.windows)
        plan = make_plan(len(data.windows), start.settings, warm=False)
        train(start.model, data.windows, plan, start.settings, data.padding_id, TrainingProgress())
        return list(data.asked.tag(torch_reader(start.model, data.padding_id)))


def make_surrogate(loop: Loop, lessons: Sequence[Lesson], asked: Sequence[str]) -> list[Spans]:
    """What a network of one hidden layer says, which learned from the lessons on top of the encoder's output."""
    settings = TrainSettings(seed=13 + loop.seed, threads=1)
    data = _encoded(loop, lessons, asked, settings)
    with reproducible(settings.seed, settings.threads):
        features = _features(data.windows, data)
        rows = torch.cat(features)
        tags = torch.from_numpy(np.concatenate([window.tags for window in data.windows]))
        network = _fitted(rows[tags != IGNORED], tags[tags != IGNORED], data.tag_counts)
        return list(data.asked.tag(_reader(network, data)))


_KNOWN: dict[bytes, torch.Tensor] = {}  # what the encoder says of a window: the same in every candidate


def _features(windows: Sequence[FramedWindow], data: _Encoded) -> list[torch.Tensor]:
    """(m, 384) of each window: the encoder's output."""
    keys = [window.ids.tobytes() for window in windows]
    missing = {key: window for key, window in zip(keys, windows, strict=True) if key not in _KNOWN}
    if missing:
        read = torch_reader(_Output(data.base.model), data.padding_id)
        for key, rows in zip(missing, read(list(missing.values())), strict=True):
            _KNOWN[key] = torch.from_numpy(rows)
    return [_KNOWN[key] for key in keys]


class _Output(torch.nn.Module):  # type: ignore[misc]
    """The encoder, its last layer in the place of logits."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._encoder = model.base_model

    def forward(self, **inputs: torch.Tensor) -> object:
        self.logits = self._encoder(**inputs).last_hidden_state
        return self


def _fitted(rows: torch.Tensor, tags: torch.Tensor, tag_counts: IntArray) -> torch.nn.Module:
    network = torch.nn.Sequential(
        torch.nn.Linear(rows.shape[1], 256), torch.nn.GELU(), torch.nn.Linear(256, len(tag_counts))
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    for _ in range(250):
        drawn = torch.randint(len(rows), (512,))
        loss = torch.nn.functional.cross_entropy(network(rows[drawn]), tags[drawn])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


def _reader(network: torch.nn.Module, data: _Encoded) -> Reader:
    def read(framed: Sequence[FramedWindow]) -> list[Logits]:
        with torch.inference_mode():
            return [network(rows).numpy() for rows in _features(framed, data)]

    return read

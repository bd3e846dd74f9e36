"""The variants of a training: the whole encoder, a LoRA adapter, and a student of half the layers.

Whatever is trained ends as one token classifier in torch, so that everything behind is measured in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from loop.settings.model import TrainSettings, WeakSettings
from loop.study.data import StudyTexts
from loop.study.student import halved, soft_windows
from loop.training import lora
from loop.training.batches import FramedWindow, encode, frame
from loop.training.dataset import Dataset
from loop.training.encoded import EncodedData, encode_data
from loop.training.encoder import BaseModel, load_base
from loop.training.progress import TrainingProgress
from loop.training.start import Start, start_from_encoder
from loop.training.trainer import Outcome, check_learned, make_plan, reproducible, train
from store.registry import GOLD

FULL, LORA, DISTILLED = "full", "lora", "distilled"
VARIANTS = (FULL, LORA, DISTILLED)
# Rates of AdamW where the whole encoder learns: 2e-4 was measured for 384 channels (BENCHMARKS.md), and 5e-5 is usual
# for 768 (Devlin et al. 2019, appendix A.3). The classifier learns faster.
RATE, RATE_CHANNELS, HEAD_RATE = 2e-4, 384, 1e-3
_LEARNED_TEXTS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """The model that a student learns from: its variant's name, and the trained model in torch."""

    name: str
    model: Any


@dataclass(frozen=True, slots=True, eq=False)
class TrainedVariant:
    """A variant that was trained once, from one seed.

    tokenizer: the fast tokenizer of transformers. model: a token classifier in torch, with an adapter merged. data: the
    texts as the encoder reads them. head_rate: of the classifier, where it differs. trainable: how many parameters
    learned. adapter_mb: of the saved adapter and its classifier; None for a variant without one. teacher: the variant
    that taught this one. notices: for people.
    """

    tokenizer: Any
    model: Any
    data: EncodedData
    outcome: Outcome
    trainable: int
    head_rate: float | None = None
    adapter_mb: float | None = None
    teacher: str | None = None
    notices: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Of the model that serves."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def padding_id(self) -> int:
        """The id that fills a batch."""
        return self.tokenizer.pad_token_id or 0


def train_variant(
    name: str,
    texts: StudyTexts,
    settings: TrainSettings,
    workspace: Path,
    progress: TrainingProgress,
    *,
    teacher: Teacher | None = None,
    full_rate: float | None = None,
) -> TrainedVariant:
    """Train one variant from `settings.seed`. The same data, settings and number of threads give the same model.

    workspace: an empty folder. teacher: of a student, and of nobody else. full_rate: the learning rate of a whole
    encoder, in place of `usual_rate`. Raises TrainingError where nothing is learned, ConfigError for the encoder.
    """
    with reproducible(settings.seed, settings.threads):
        base = load_base(settings.encoder, texts.labels, settings.max_length, settings.encoder_dropout)
        data = encode_data(Dataset(texts.train, texts.dev, GOLD), base, texts.labels, settings, WeakSettings())
        if name == LORA:
            return _Work(base, data, settings, progress).adapted(workspace / lora.ADAPTER)
        rate = full_rate or usual_rate(base.model.config.hidden_size)
        work = _Work(base, data, settings.changed(learning_rate=rate), progress)
        return work.whole() if teacher is None else work.student(teacher, texts.unlabelled)


def usual_rate(channels: int) -> float:
    """The learning rate of a whole encoder, by the width of its layers: RATE at RATE_CHANNELS, a quarter at twice."""
    return RATE * min(1.0, RATE_CHANNELS / channels) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """An encoder that was just loaded, and what it is to learn."""

    base: BaseModel
    data: EncodedData
    settings: TrainSettings
    progress: TrainingProgress

    def adapted(self, folder: Path) -> TrainedVariant:
        """An adapter and a classifier learn; `folder` gets both."""
        start = self._start()
        done = replace(self, settings=start.settings)._learn(start.model, self.data.lesson.last, None)
        lora.save(start.model, folder)
        size = (folder / lora.WEIGHTS).stat().st_size / 1e6
        return replace(done, model=lora.merge(start.model), adapter_mb=size)

    def whole(self) -> TrainedVariant:
        """Every weight learns; encoder and classifier begin as they do for an adapter."""
        model = lora.merge(self._start().model).requires_grad_(True)
        return self._learn(model, self.data.lesson.last, HEAD_RATE)

    def _start(self) -> Start:
        return start_from_encoder(self.base, self.settings, self.data.num_tags, self.data.lesson.last)

    def student(self, teacher: Teacher, unlabelled: Sequence[str]) -> TrainedVariant:
        """Every weight of half of the teacher's layers learns; the classifier is the teacher's."""
        self.progress.stage("reading the texts as the teacher does")
        padding_id = self.base.tokenizer.pad_token_id or 0
        windows = soft_windows(teacher.model, self.data.lesson.last, padding_id)
        windows += soft_windows(teacher.model, self._windows(unlabelled), padding_id, gold_share=0.0)
        model = halved(teacher.model).requires_grad_(True)
        return replace(self._learn(model, windows, HEAD_RATE), teacher=teacher.name)

    def _windows(self, texts: Sequence[str]) -> list[FramedWindow]:
        """The windows of texts without labels."""
        encoder, labels, most = self.base.text_encoder, self.data.dev.labels, self.settings.max_length
        framed = (window for text in texts for window in frame(encode(text, (), encoder, labels, most), encoder))
        return [window for window in framed if (window.tags >= 0).any()]

    def _learn(self, model: Any, windows: Sequence[FramedWindow], head_rate: float | None) -> TrainedVariant:
        padding_id = self.base.tokenizer.pad_token_id or 0
        plan = make_plan(len(windows), self.settings, warm=False)
        self.progress.stage("training")
        outcome = train(
            model, windows, replace(plan, head_learning_rate=head_rate), self.settings, padding_id, self.progress
        )
        learned = islice((text for text in self.data.texts if text.spans), _LEARNED_TEXTS)
        notices = tuple(check_learned(model, replace(self.data.dev, texts=tuple(learned)), padding_id))
        trainable = sum(weight.numel() for weight in lora.trainable(model).values())
        return TrainedVariant(
            self.base.tokenizer, model.eval(), self.data, outcome, trainable, head_rate, notices=notices
        )

"""A dataset as a model reads it: the texts encoded, the windows to learn, and the development split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loop.settings.model import TrainSettings, WeakSettings
from loop.training.batches import EncodedText, FramedWindow, encode, frame, soften
from loop.training.dataset import Dataset, TrainingDocument
from loop.training.dev_split import EvaluationTexts
from loop.training.encoder import BaseModel
from loop.training.progress import TrainingError
from loop.training.weak_first import Lesson, mixture
from ner.decoding import learned_costs
from ner.labels import LabelSet
from ner.tokens import TextEncoder
from store.registry import GOLD


@dataclass(frozen=True, slots=True, eq=False)
class EncodedData:
    """texts: what is learned last, encoded; lesson: its windows that have something to learn, and those of the weak
    texts before it. dev: the development split, empty where there is none. num_tags: of the labels."""

    texts: tuple[EncodedText, ...]
    lesson: Lesson
    dev: EvaluationTexts
    num_tags: int

    def windows_of(self, marks: Sequence[bool], mark: bool) -> tuple[FramedWindow, ...]:
        """The windows to learn of the texts that have this mark; marks: one for each of `texts`."""
        texts = (text for text, found in zip(self.texts, marks, strict=True) if found == mark)
        return _learnable(texts, self.dev.encoder)


def encode_data(
    dataset: Dataset, base: BaseModel, labels: LabelSet, settings: TrainSettings, weak: WeakSettings
) -> EncodedData:
    """Raises TrainingError where there is not one entity to learn."""
    encoder = base.text_encoder

    def encoded(documents: Iterable[TrainingDocument], silent_is_outside: bool = True) -> tuple[EncodedText, ...]:
        return tuple(_encoded(item, encoder, labels, settings.max_length, silent_is_outside) for item in documents)

    # Without gold, nothing but the silence of the sources says which words are outside.
    texts = encoded(dataset.train)
    last = _learnable(texts, encoder)
    _check_learnable(last)
    first: tuple[FramedWindow, ...] = ()
    if dataset.weak:
        assert dataset.kind == GOLD, "weak labels come before gold"
        windows = _learnable(encoded(dataset.weak, weak.silent == "outside"), encoder)
        first = mixture(windows, last, labels, weak, settings.seed)
    costs = learned_costs(text.joints() for text in texts)
    return EncodedData(
        texts, Lesson(last, first), EvaluationTexts(encoded(dataset.dev), encoder, labels, costs), len(labels.tags)
    )


def _encoded(
    item: TrainingDocument, encoder: TextEncoder, labels: LabelSet, max_length: int, silent_is_outside: bool
) -> EncodedText:
    text = encode(item.text, item.spans, encoder, labels, max_length, item.unannotated)
    if item.soft is None:
        return text
    return soften(text, item.soft, labels, silent_is_outside=silent_is_outside)


def _learnable(texts: Iterable[EncodedText], encoder: TextEncoder) -> tuple[FramedWindow, ...]:
    framed = (window for text in texts for window in frame(text, encoder))
    return tuple(window for window in framed if (window.tags >= 0).any())


def _check_learnable(windows: tuple[FramedWindow, ...]) -> None:
    if not any((window.tags > 0).any() for window in windows):
        raise TrainingError(
            "a training needs at least one entity that has a token",
            value=f"{len(windows)} windows without one",
            next_step="Label texts that hold entities.",
        )

"""Texts that a trained model is evaluated on: any source of logits, decoded as the model will be served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from loop.evaluation.scores import Counts, Scores, count, judgeable, score
from loop.training.batches import EncodedText, FramedWindow, collate, frame
from ner.arrays import FloatArray, Logits
from ner.decoding import joint_costs, log_softmax, tags_to_spans, viterbi
from ner.labels import LabelSet
from ner.models.network import Network, by_place
from ner.spans import Span
from ner.tokens import TextEncoder
from ner.windows import merge

Spans = tuple[Span, ...]
Reader = Callable[[Sequence[FramedWindow]], list[Logits]]
_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class DevEvaluation:
    """What a model makes of labelled texts, without predictions of types that a text was not annotated for.

    loss: mean negative log-likelihood of the gold tags, in nats a token. counts: per document and type. spans: of each
    text, in order.
    """

    loss: float
    counts: Counts
    spans: tuple[Spans, ...]

    @property
    def f1(self) -> float:
        """Micro-F1, 0..1."""
        return self.counts.micro_f1()

    @property
    def predicted(self) -> int:
        """How many spans the model predicts."""
        return int(self.counts.predicted.sum())


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationTexts:
    """Texts with all that decoding needs beside logits: the development split, or texts to compare two files by."""

    texts: tuple[EncodedText, ...]
    encoder: TextEncoder
    labels: LabelSet
    break_costs: Mapping[str, float]

    @property
    def entities(self) -> int:
        """How many gold spans the texts hold."""
        return sum(len(text.spans) for text in self.texts)

    def windows(self) -> list[FramedWindow]:
        """The windows of all texts, in order."""
        return [window for text in self.texts for window in frame(text, self.encoder)]

    def tag(self, read: Reader) -> tuple[Spans, ...]:
        """The spans of each text; every window is read once."""
        pairs = zip(self.texts, self._log_probs(read), strict=True)
        return tuple(self._decode(text, log_probs) for text, log_probs in pairs)

    def evaluate(self, read: Reader) -> DevEvaluation:
        """The spans of each text, held against the gold; every window is read once."""
        all_log_probs = self._log_probs(read)
        pairs = list(zip(self.texts, all_log_probs, strict=True))
        losses = [-log_probs[np.arange(len(log_probs)), text.tags[text.tagged]] for text, log_probs in pairs]
        spans = tuple(judgeable(self._decode(text, log_probs), text.unannotated) for text, log_probs in pairs)
        loss = float(np.concatenate(losses).mean()) if any(map(len, losses)) else 0.0
        return DevEvaluation(loss, count([text.spans for text in self.texts], spans, self.labels), spans)

    def scores(self, evaluated: DevEvaluation) -> Scores:
        """The full table of an evaluation of these texts."""
        return score([text.spans for text in self.texts], evaluated.spans, self.labels)

    def _log_probs(self, read: Reader) -> list[FloatArray]:
        """(n, t) log-probabilities of the tokens that carry text, for each text."""
        rows = iter(read(self.windows()))
        return [self._merged(text, [next(rows) for _ in text.parts]) for text in self.texts]

    def _merged(self, text: EncodedText, logits: list[Logits]) -> FloatArray:
        if not logits:
            return np.empty((0, len(self.labels.tags)))
        before = len(self.encoder.prefix)
        own = [rows[before : before + part.end - part.start] for part, rows in zip(text.parts, logits, strict=True)]
        return log_softmax(merge(text.parts, own))[text.tagged]

    def _decode(self, text: EncodedText, log_probs: FloatArray) -> Spans:
        offsets = text.offsets[text.tagged]
        costs = joint_costs(text.text, offsets, self.break_costs)
        return tags_to_spans(viterbi(log_probs, self.labels, costs), offsets, self.labels)


def torch_reader(model: Any, padding_id: int) -> Reader:
    """Logits of a torch model in float32, in sorted, padded batches; puts the model into eval mode and leaves it so."""

    def read(framed: Sequence[FramedWindow]) -> list[Logits]:
        model.eval()
        order = sorted(range(len(framed)), key=lambda index: len(framed[index].ids))
        answers: dict[int, Logits] = {}
        for start in range(0, len(order), _BATCH):
            chunk = order[start : start + _BATCH]
            ids, mask, _ = collate([framed[index] for index in chunk], padding_id)
            with torch.inference_mode():
                logits = model(input_ids=ids, attention_mask=mask).logits.float().numpy()
            answers |= {index: rows[: len(framed[index].ids)] for index, rows in zip(chunk, logits, strict=True)}
        return [answers[index] for index in range(len(framed))]

    return read


def onnx_reader(network: Network) -> Reader:
    """Logits of an ONNX file, which reads windows as it does when it serves."""

    def read(framed: Sequence[FramedWindow]) -> list[Logits]:
        ids = [window.ids.tolist() for window in framed]
        runs = network.runs([len(one) for one in ids])
        return by_place(runs, (list(network.logits_of_run([ids[place] for place in run])) for run in runs))

    return read

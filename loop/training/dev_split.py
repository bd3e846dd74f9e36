"""The development split as judge: any source of logits, decoded as it would be served, scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from loop.evaluation.scores import Counts, Scores, count, score
from loop.training.batches import EncodedText, FramedWindow, collate, frame
from ner.boundaries import joint_costs
from ner.decoding import FloatArray, log_softmax, tags_to_spans, viterbi
from ner.labels import LabelSet
from ner.network import Network
from ner.spans import Span
from ner.tokens import TextEncoder
from ner.windows import merge

Logits = npt.NDArray[np.floating[Any]]
Reader = Callable[[Sequence[FramedWindow]], list[Logits]]
_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a model makes of the development split.

    loss: mean negative log-likelihood of the gold tags, in nats a token. counts: per document and type.
    """

    loss: float
    counts: Counts
    spans: tuple[tuple[Span, ...], ...]

    @property
    def f1(self) -> float:
        """Micro-F1, 0..1."""
        return self.counts.micro_f1()

    @property
    def predicted(self) -> int:
        """How many spans it predicts."""
        return int(self.counts.predicted.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Labelled texts, and all that decoding needs beside logits."""

    texts: tuple[EncodedText, ...]
    encoder: TextEncoder
    labels: LabelSet
    break_costs: Mapping[str, float]

    def enlarged(self, texts: Sequence[EncodedText], entities: int) -> Judge:
        """This judge, or, where it has fewer gold spans than `entities`, one with some of `texts` added until it has.

        Those with spans are taken, from all over `texts`; fewer than `entities` are left when there are no more.
        """
        lacking = entities - self.entities
        if lacking <= 0:
            return self
        with_spans = [text for text in texts if text.spans]
        wanted = max(1, -(-lacking * len(with_spans) // max(1, sum(len(text.spans) for text in with_spans))))
        step = max(1, len(with_spans) // wanted)
        ordered = [text for first in range(step) for text in with_spans[first::step]]
        added: list[EncodedText] = []
        while lacking > 0 and len(added) < len(ordered):
            lacking -= len(ordered[len(added)].spans)
            added.append(ordered[len(added)])
        return replace(self, texts=(*self.texts, *added))

    @property
    def entities(self) -> int:
        """Gold spans in the texts."""
        return sum(len(text.spans) for text in self.texts)

    def judge(self, read: Reader) -> Judgement:
        """Read every window once, decode every text, count."""
        framed = [frame(text, self.encoder) for text in self.texts]
        rows = iter(read([window for windows in framed for window in windows]))
        spans, losses = [], []
        for text, windows in zip(self.texts, framed, strict=True):
            log_probs = self._merged(text, [next(rows) for _ in windows])
            spans.append(self._decode(text, log_probs))
            losses.append(-log_probs[np.arange(len(log_probs)), text.tags[text.tagged]])
        gold = [text.spans for text in self.texts]
        loss = float(np.concatenate(losses).mean()) if any(map(len, losses)) else 0.0
        return Judgement(loss, count(gold, spans, self.labels), tuple(spans))

    def scores(self, judgement: Judgement) -> Scores:
        """The full table of a judgement."""
        return score([text.spans for text in self.texts], judgement.spans, self.labels)

    def _merged(self, text: EncodedText, logits: list[Logits]) -> FloatArray:
        """(n, t) log-probabilities of the tokens that carry text."""
        if not logits:
            return np.empty((0, len(self.labels.tags)))
        before = len(self.encoder.prefix)
        own = [rows[before : before + part.end - part.start] for part, rows in zip(text.parts, logits, strict=True)]
        return log_softmax(merge(text.parts, own))[text.tagged]

    def _decode(self, text: EncodedText, log_probs: FloatArray) -> tuple[Span, ...]:
        offsets = text.offsets[text.tagged]
        costs = joint_costs(text.text, offsets, self.break_costs)
        return tags_to_spans(viterbi(log_probs, self.labels, costs), offsets, self.labels)


def torch_reader(model: Any, padding_id: int) -> Reader:
    """Logits of a torch model in float32, in sorted, padded batches; it is put into eval mode and left there."""

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
    """Logits of an ONNX file, one window a run, as it is served."""
    return lambda framed: [network.logits(window.ids.tolist()) for window in framed]

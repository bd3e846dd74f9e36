"""Text to scored spans: serving, evaluation, publishing and the queue all take this path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from ner.alignment import as_offsets
from ner.arrays import FloatArray, IntArray, Logits
from ner.confidence import CONFIDENCES
from ner.decoding import joint_costs, log_softmax, tags_to_spans, viterbi
from ner.documents import check_text
from ner.labels import LabelSet
from ner.models.bundle import Bundle
from ner.spans import Span
from ner.windows import Window, merge, windows

CHUNK = 256

Item = TypeVar("Item")
Result = TypeVar("Result")
Spread = Callable[[Callable[[Item], Result], Iterable[Item]], Iterator[Result]]
StopCheck = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Tagging:
    """The spans of one text, in text order, each with its score; `confidence` in 0..1, low for what to label next."""

    spans: tuple[Span, ...]
    confidence: float
    version: str


class Tagger:
    """Tags texts with one verified bundle. Threads may share a tagger; the answer for a text is always the same.

    `threads` is how many windows run at once. `close()` ends the threads, and so does the end of the tagger itself.
    A `check` is called before each window, in any thread. When the check raises, the windows that wait are not run.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self._bundle = bundle
        self._confidence = CONFIDENCES[bundle.manifest.confidence]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tagger") if threads > 1 else None

    @property
    def bundle(self) -> Bundle:
        """The model that this tagger runs."""
        return self._bundle

    @property
    def labels(self) -> LabelSet:
        """The entity types of the model."""
        return self._bundle.labels

    @property
    def version(self) -> str:
        """The model version."""
        return self._bundle.manifest.version

    def tag(self, text: str, check: StopCheck | None = None) -> Tagging:
        """The spans of a text of any length. A blank text has no spans and confidence 1.0.

        Raises InputError for any other text that `documents.check_text` refuses.
        """
        return self._tag(text, self._spread, check)

    def tag_many(
        self, texts: Iterable[str], progress: Callable[[int], object] | None = None, check: StopCheck | None = None
    ) -> list[Tagging]:
        """A tagging for each text, in order; `progress` is called with the number done, every CHUNK texts.

        Raises as `tag` does, for the first text that is refused.
        """
        done: list[Tagging] = []
        remaining = iter(texts)
        while chunk := list(islice(remaining, CHUNK)):
            done.extend(self._spread(lambda text: self._tag(text, map, check), chunk))
            if progress is not None:
                progress(len(done))
        return done

    def probabilities(self, text: str) -> tuple[FloatArray, IntArray]:
        """((n, t) tag probabilities, (n, 2) half-open code points) of the tokens that carry text."""
        log_probs, offsets = self._log_probs(text, self._spread)
        return np.exp(log_probs), offsets

    def close(self) -> None:
        """End the threads; a tagger with more than one cannot tag afterwards."""
        if self._pool is not None:
            self._pool.shutdown()

    def _spread(self, call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return map(call, items) if self._pool is None else self._pool.map(call, items)

    def _tag(self, text: str, spread: Spread[Window, Logits], check: StopCheck | None) -> Tagging:
        log_probs, offsets = self._log_probs(text, spread, check)
        probs = np.exp(log_probs)
        costs = joint_costs(text, offsets, self._bundle.manifest.break_costs)
        tags = viterbi(log_probs, self.labels, costs)
        return Tagging(tags_to_spans(tags, offsets, self.labels, probs), self._confidence(probs), self.version)

    def _log_probs(
        self, text: str, spread: Spread[Window, Logits], check: StopCheck | None = None
    ) -> tuple[FloatArray, IntArray]:
        """(n, t) and (n, 2) of the tokens that carry text."""
        if isinstance(text, str) and (not text or text.isspace()):
            return np.empty((0, len(self.labels.tags))), as_offsets([])
        bundle = self._bundle
        tokens = bundle.encoder.encode(check_text(text))
        parts = windows(len(tokens.ids), bundle.manifest.max_length, bundle.encoder.num_special)
        if not parts:
            return np.empty((0, len(self.labels.tags))), as_offsets([])
        side_by_side = spread if len(parts) > 1 else map
        logits = list(side_by_side(lambda part: self._window_logits(tokens.ids[part.start : part.end], check), parts))
        log_probs = log_softmax(merge(parts, logits))
        if tokens.tagged.all():
            return log_probs, tokens.offsets
        return log_probs[tokens.tagged], tokens.offsets[tokens.tagged]

    def _window_logits(self, ids: list[int], check: StopCheck | None) -> Logits:
        """(n, t) for the n ids, without the rows of the special tokens around them."""
        if check is not None:
            check()
        encoder = self._bundle.encoder
        before = len(encoder.prefix)
        return self._bundle.network.logits(encoder.frame(ids))[before : before + len(ids)]

"""Text to scored spans: serving, evaluation, publishing and the queue all take this path.

Of many texts, windows of one length are read in one run where the model's file allows it. Such a file gives a window
the same logits in any company, so a text has the same answer alone and among others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ner.alignment import as_offsets
from ner.arrays import FloatArray, IntArray, Logits
from ner.confidence import CONFIDENCES
from ner.decoding import joint_costs, log_softmax, tags_to_spans, viterbi
from ner.documents import check_text
from ner.labels import LabelSet
from ner.models.bundle import Bundle
from ner.models.network import by_place
from ner.spans import Span
from ner.tokens import Tokens
from ner.windows import Window, merge, windows

CHUNK = 2048
# Of long texts a chunk has fewer, so that their tokens and logits take little memory.
CHUNK_CHARACTERS = 200_000

Item = TypeVar("Item")
Result = TypeVar("Result")
Spread = Callable[[Callable[[Item], Result], Iterable[Item]], Iterator[Result]]
StopCheck = Callable[[], object]
_SpreadRuns = Spread[list[int], list[Logits]]


@dataclass(frozen=True, slots=True)
class Tagging:
    """The spans of one text, in text order, each with its score; `confidence` in 0..1, low for what to label next."""

    spans: tuple[Span, ...]
    confidence: float
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A text, its tokens, and the windows that cover them: none for a blank text."""

    text: str
    tokens: Tokens
    parts: tuple[Window, ...]


class Tagger:
    """Tags texts with one verified bundle. Threads may share a tagger; the answer for a text is always the same.

    `threads` is how many runs there are at once. `close()` ends the threads, and so does the end of the tagger itself.
    A `check` is called before each run, in any thread. When the check raises, the runs that wait are left out.
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
        return self._tag(self._read(text), self._spread, check)

    def tag_many(
        self, texts: Iterable[str], progress: Callable[[int], object] | None = None, check: StopCheck | None = None
    ) -> list[Tagging]:
        """A tagging for each text, in order; `progress` is called with the number done, every CHUNK texts or sooner.

        Raises as `tag` does, for the first text that is refused.
        """
        done: list[Tagging] = []
        for chunk in _chunks(texts):
            done.extend(self._tag_chunk(chunk, check))
            if progress is not None:
                progress(len(done))
        return done

    def probabilities(self, text: str) -> tuple[FloatArray, IntArray]:
        """((n, t) tag probabilities, (n, 2) half-open code points) of the tokens that carry text."""
        read = self._read(text)
        log_probs, offsets = self._log_probs(read, self._window_logits(read, self._spread, None))
        return np.exp(log_probs), offsets

    def close(self) -> None:
        """End the threads; a tagger with more than one cannot tag afterwards."""
        if self._pool is not None:
            self._pool.shutdown()

    def _spread(self, call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return map(call, items) if self._pool is None else self._pool.map(call, items)

    def _tag_chunk(self, texts: Sequence[str], check: StopCheck | None) -> list[Tagging]:
        read = list(self._spread(self._read, texts))
        groups = self._groups(read)
        found = self._spread(lambda group: self._tag_group([read[place] for place in group], check), groups)
        return by_place(groups, found)

    def _groups(self, texts: Sequence[_Read]) -> list[list[int]]:
        """The places of texts that one run reads: of one window each, or a text of any number of windows alone."""
        short = [place for place, text in enumerate(texts) if len(text.parts) == 1]
        runs = self._runs([texts[place].tokens.ids for place in short])
        others = [[place] for place, text in enumerate(texts) if len(text.parts) != 1]
        return [*others, *([short[index] for index in run] for run in runs)]

    def _tag_group(self, texts: Sequence[_Read], check: StopCheck | None) -> list[Tagging]:
        if len(texts) == 1:
            return [self._tag(texts[0], map, check)]
        logits = self._run([text.tokens.ids for text in texts], check)
        return [self._decode(text, [rows]) for text, rows in zip(texts, logits, strict=True)]

    def _tag(self, text: _Read, spread: _SpreadRuns, check: StopCheck | None) -> Tagging:
        return self._decode(text, self._window_logits(text, spread, check))

    def _decode(self, text: _Read, logits: Sequence[Logits]) -> Tagging:
        """The tagging from the logits of each window."""
        log_probs, offsets = self._log_probs(text, logits)
        probs = np.exp(log_probs)
        tags = log_probs.argmax(axis=1)
        if tags.any():  # where O is the best tag of every token, no path is better: nothing breaks, nothing is paid
            costs = joint_costs(text.text, offsets, self._bundle.manifest.break_costs)
            tags = viterbi(log_probs, self.labels, costs)
        return Tagging(tags_to_spans(tags, offsets, self.labels, probs), self._confidence(probs), self.version)

    def _read(self, text: str) -> _Read:
        if isinstance(text, str) and (not text or text.isspace()):
            return _Read(text, Tokens([], as_offsets([]), np.empty(0, dtype=bool)), ())
        tokens = self._bundle.encoder.encode(check_text(text))
        length, special = self._bundle.manifest.max_length, self._bundle.encoder.num_special
        return _Read(text, tokens, windows(len(tokens.ids), length, special))

    def _log_probs(self, text: _Read, logits: Sequence[Logits]) -> tuple[FloatArray, IntArray]:
        """(n, t) and (n, 2) of the tokens that carry text."""
        if not text.parts:
            return np.empty((0, len(self.labels.tags))), as_offsets([])
        log_probs, tokens = log_softmax(merge(text.parts, logits)), text.tokens
        if tokens.tagged.all():
            return log_probs, tokens.offsets
        return log_probs[tokens.tagged], tokens.offsets[tokens.tagged]

    def _window_logits(self, text: _Read, spread: _SpreadRuns, check: StopCheck | None) -> list[Logits]:
        """(n, t) for the n tokens of each window of a text."""
        ids = [text.tokens.ids[part.start : part.end] for part in text.parts]
        runs = self._runs(ids)
        side_by_side = spread if len(runs) > 1 else map
        found = side_by_side(lambda run: self._run([ids[place] for place in run], check), runs)
        return by_place(runs, found)

    def _runs(self, ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """The places of the windows of ids that one run reads."""
        special = self._bundle.encoder.num_special
        return self._bundle.network.runs([len(window) + special for window in ids])

    def _run(self, ids: Sequence[list[int]], check: StopCheck | None) -> list[Logits]:
        """(n, t) for the n ids of each window, without the rows of the special tokens around them."""
        if check is not None:
            check()
        encoder, network = self._bundle.encoder, self._bundle.network
        framed = [encoder.frame(window) for window in ids]
        logits = [network.logits(framed[0])] if len(framed) == 1 else network.logits_of_run(framed)
        before = len(encoder.prefix)
        return [rows[before : before + len(window)] for rows, window in zip(logits, ids, strict=True)]


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts, CHUNK at a time; fewer where they are long."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text) if isinstance(text, str) else 0
        if len(chunk) == CHUNK or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk

"""`kind = "gliner"`: a zero-shot model that is asked for labels in words (Zaratiana et al. 2024, GLiNER).

The package `gliner` is an optional extra. It is imported when the source is asked for the first time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ner.labels import OUTSIDE
from ner.spans import Span
from ner.windows import Window, windows
from weak_labeling.sources.entry import EntryError, SourceContext, digest_of
from weak_labeling.sources.model_labels import ModelEntry, folder_digest, spread_labels

INSTALL = "pip install --no-deps gliner==0.2.29 sentencepiece"
_CONFIG = "gliner_config.json"
_WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")  # as GLiNER cuts a text into words
_BATCH = 8


@dataclass
class GlinerSource:
    """Votes for the spans of a GLiNER model whose score is at least `min_score`.

    labels: the words that the model is asked for, each with the project's label. A text with more words than the model
    reads is read in windows, of which each word is kept from the one in which it has more context.
    """

    name: str
    folder: Path
    labels: Mapping[str, str]
    min_score: float
    kind: ClassVar[str] = "gliner"

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the files in the folder and of the settings."""
        return digest_of(self.kind, folder_digest(self.folder), spread_labels(self.labels), self.min_score)

    def find_all(self, texts: Sequence[str], /) -> list[list[Span]]:
        """The spans of each text, in order. Raises what GLiNER raises for a folder that it cannot load."""
        parts = [(index, *part) for index, text in enumerate(texts) for part in _parts(text, self._most_words)]
        answers = self._model.inference(
            [texts[index][start:end] for index, start, end, _ in parts],
            list(self.labels),
            flat_ner=True,
            threshold=self.min_score,
            batch_size=_BATCH,
        )
        found: list[list[Span]] = [[] for _ in texts]
        for (index, start, _, kept), answer in zip(parts, answers, strict=True):
            for one in answer:
                span = Span(start + one["start"], start + one["end"], self.labels[one["label"]])
                if span.start in kept:
                    found[index].append(span)
        return found

    @cached_property
    def _model(self) -> Any:
        from gliner import GLiNER

        return GLiNER.from_pretrained(str(self.folder), local_files_only=True)

    @property
    def _most_words(self) -> int:
        return int(self._model.config.max_len)


class GlinerEntry(ModelEntry):
    """The keys of a GLiNER model. labels: what the model is asked for, in words, to the project's label."""

    min_score: float = Field(0.5, ge=0, le=1)

    def build(self, place: SourceContext, /) -> GlinerSource:
        """The source. Without `labels`, the model is asked for the project's labels as words."""
        if find_spec("gliner") is None:
            raise EntryError("a source of kind 'gliner' needs the package gliner", key="kind", next_step=f"{INSTALL}")
        folder = self.existing_folder(place, _CONFIG)
        given = {_words(label): label for label in place.labels} if self.labels is None else self.labels
        voting = {words: label for words, label in given.items() if label != OUTSIDE}
        return GlinerSource(self.name, folder, voting, self.min_score)


def _words(label: str) -> str:
    return label.replace("_", " ").lower()


def _parts(text: str, most_words: int) -> list[tuple[int, int, range]]:
    """(start, end, the places from which entities are kept) of each window, in code points."""
    words = [match.span() for match in _WORD.finditer(text)]
    return [_part(words, window) for window in windows(len(words), most_words, num_special=0)]


def _part(words: Sequence[tuple[int, int]], window: Window) -> tuple[int, int, range]:
    kept = range(words[window.keep_start][0], words[window.keep_end - 1][1])
    return words[window.start][0], words[window.end - 1][1], kept

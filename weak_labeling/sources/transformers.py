"""`kind = "transformers"`: a token classifier in a folder that the library transformers loads.

This package never imports the library. Whoever builds the source hands over what opens such a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ner.arrays import FloatArray, IntArray
from ner.errors import InputError
from ner.spans import Span
from weak_labeling.source import Fault
from weak_labeling.sources.entry import EntryError, OpenClassifier, SourceContext, TokenClassifier, digest_of
from weak_labeling.sources.model_labels import ModelEntry, folder_digest, spread_labels
from weak_labeling.sources.token_classes import TokenClasses, labels_of_tags

_CONFIG = "config.json"
_DEFAULT = {"0": "LABEL_0", "1": "LABEL_1"}


@dataclass
class TransformersSource:
    """Votes for the spans of a token classifier whose score is at least `min_score`.

    tags: of the model, by column. labels: those of the model that vote, each with the project's label. max_length:
    tokens of a window; None for as many as the model reads. The model is loaded when the source is first asked.
    """

    name: str
    folder: Path
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    min_score: float
    max_length: int | None
    open: OpenClassifier
    kind: ClassVar[str] = "transformers"

    def __post_init__(self) -> None:
        self._classes = TokenClasses.of(self.tags, self.labels)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the files in the folder and of the settings."""
        settings = spread_labels(self.labels), self.min_score, self.max_length
        return digest_of(self.kind, folder_digest(self.folder), *settings)

    def find_all(self, texts: Sequence[str], /) -> list[Sequence[Span] | Fault]:
        """The spans of each text, in order. Raises RuleError for a folder that cannot be loaded."""
        answers = self._classifier.probabilities(texts)
        return [
            Fault(str(answer)) if isinstance(answer, InputError) else self._spans(text, *answer)
            for text, answer in zip(texts, answers, strict=True)
        ]

    def _spans(self, text: str, probs: FloatArray, offsets: IntArray) -> Sequence[Span]:
        found = self._classes.spans(text, probs, offsets)
        return [replace(span, score=None) for span in found if (span.score or 0.0) >= self.min_score]

    @cached_property
    def _classifier(self) -> TokenClassifier:
        return self.open(self.folder, self.max_length)


class TransformersEntry(ModelEntry):
    """The keys of a folder of transformers."""

    max_length: int | None = Field(None, ge=8)

    def build(self, place: SourceContext, /) -> TransformersSource:
        """The source, by the folder's config.json alone."""
        folder = self.existing_folder(place, _CONFIG)
        tags = _tags(folder / _CONFIG)
        labels = self.voting_labels(labels_of_tags(tags), place)
        if place.tools.open_classifier is None:
            raise EntryError("only the loop itself asks models of transformers", key="kind", value=self.kind)
        opened = place.tools.open_classifier
        return TransformersSource(self.name, folder, tags, labels, self.min_score, self.max_length, opened)


def _tags(path: Path) -> tuple[str, ...]:
    """The tag of each class, from `id2label`; the library leaves it out where it is its default. Raises EntryError."""
    try:
        written = json.loads(path.read_bytes()).get("id2label", _DEFAULT)
        named = {int(number): tag for number, tag in written.items()}
        tags = tuple(named[number] for number in range(len(named)))
        if tags and all(isinstance(tag, str) for tag in tags):
            return tags
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise EntryError(
        f"{_CONFIG} of a token classifier names its tags in `id2label`",
        key="folder",
        value=str(path),
        next_step="Take the folder of a model that was trained for token classification.",
    )

"""`kind = "bundle"`: a trained model of this project, or of another, as `loop retrain` writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ner.errors import BundleError, InputError
from ner.models.bundle import MANIFEST, load_bundle, read_manifest
from ner.spans import Span
from ner.tagger import Tagger
from weak_labeling.source import Fault
from weak_labeling.sources.entry import EntryError, SourceContext, digest_of
from weak_labeling.sources.model_labels import ModelEntry, spread_labels


@dataclass
class BundleSource:
    """Votes for the spans of a model whose score is at least `min_score`.

    labels: the model's labels that vote, each with the project's label. The model is loaded, and proven by its hashes,
    when the source is asked for the first time.
    """

    name: str
    folder: Path
    labels: Mapping[str, str]
    min_score: float
    digest: str
    kind: ClassVar[str] = "bundle"

    def find_all(self, texts: Sequence[str], /) -> list[Sequence[Span] | Fault]:
        """The spans of each text, in order. Raises BundleError for a folder that is no whole model."""
        return [self._find(text) for text in texts]

    def _find(self, text: str) -> Sequence[Span] | Fault:
        try:
            tagging = self._tagger.tag(text)
        except InputError as error:
            return Fault(str(error))
        return [
            replace(span, label=self.labels[span.label], score=None)
            for span in tagging.spans
            if span.label in self.labels and (span.score or 0.0) >= self.min_score
        ]

    @cached_property
    def _tagger(self) -> Tagger:
        return Tagger(load_bundle(self.folder))


class BundleEntry(ModelEntry):
    """The keys of a bundle."""

    def build(self, place: SourceContext, /) -> BundleSource:
        """The source, by the manifest alone."""
        folder = self.existing_folder(place, MANIFEST)
        try:
            manifest = read_manifest(folder)
        except BundleError as error:
            raise EntryError(error.rule, key="folder", value=error.value, next_step=error.next_step) from error
        labels = self.voting_labels(manifest.labels, place)
        decided = spread_labels(manifest.files), sorted(manifest.break_costs.items()), manifest.max_length
        digest = digest_of(self.kind, decided, spread_labels(labels), self.min_score)
        return BundleSource(self.name, folder, labels, self.min_score, digest)

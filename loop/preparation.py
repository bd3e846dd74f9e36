"""What a training needs, gathered and checked before anything is entered or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loop.batches import EncodedText, FramedWindow, encode, frame
from loop.dataset import Dataset, WeakDocument, development_salt, gather
from loop.development import Judge
from loop.encoder import BaseModel, load_base
from loop.training_errors import TrainingError
from loop.training_settings import TrainSettings
from loop.warm_start import Start, find_start
from ner.joints import learned_costs
from ner.labels import LabelSet
from store.gold import training_gold
from store.lineage import WEAK
from store.registry import promoted
from store.schema import Project
from store.session import Store

# With fewer entities a file that says something else could not be told from chance.
COMPARED_ENTITIES = 50


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """texts: the training side, encoded; windows: those of its windows that have something to learn.

    judge: the development split. comparison: the same, with training texts added where it holds few entities, to tell
    a model that finds nothing, and an exported file that says something else, from one that had nothing to find.
    """

    dataset: Dataset
    labels: LabelSet
    base: BaseModel
    start: Start
    texts: tuple[EncodedText, ...]
    windows: tuple[FramedWindow, ...]
    judge: Judge
    comparison: Judge

    def tag_counts(self) -> npt.NDArray[np.int64]:
        """(num_tags,): how often each tag is to be learned."""
        tags = np.concatenate([window.tags for window in self.windows])
        return np.bincount(tags[tags >= 0], minlength=len(self.labels.tags))

    def remarks(self) -> Iterator[str]:
        """What people should know before they trust the model."""
        dataset = self.dataset
        if self.start.notice:
            yield self.start.notice
        if missing := dataset.missing_types(self.labels):
            yield f"no example of {', '.join(missing)}: the model cannot find such entities"
        if dataset.left_out:
            yield f"{dataset.left_out} documents left out: their text or group stands in the holdout"
        for name, number in dataset.foreign_spans:
            yield f"{number} spans of {name!r} left out: the project has no such label"
        if lost := sum(text.lost for text in self.texts):
            yield f"{lost} spans left out: they have no token of their own"
        if snapped := sum(text.snapped for text in self.texts):
            yield f"{snapped} spans begin or end inside a token and are learned as the whole token"


def prepare(
    store: Store,
    model_dir: Path,
    project: Project,
    settings: TrainSettings,
    from_scratch: bool,
    weak: Iterable[WeakDocument],
) -> Prepared:
    """The project's gold (or `weak`, read only where there is none), the encoder, and where the training starts.

    Raises TrainingError when there is nothing to learn from, ConfigError for the encoder.
    """
    labels = LabelSet(tuple(project.labels))
    with store.read() as session:
        gold, incumbent = training_gold(session, project.id), promoted(session, project.id)
    weak_documents = () if gold.documents else tuple(weak)
    dataset = gather(gold, weak_documents, labels, development_salt(settings.seed), settings.dev_share)
    base = load_base(settings.encoder, labels, settings.max_length, settings.encoder_dropout)
    fresh = from_scratch or dataset.kind == WEAK
    start = find_start(None if fresh else incumbent, model_dir, base, labels, settings)
    texts, dev = (
        tuple(encode(document, base.text_encoder, labels, settings.max_length) for document in side)
        for side in (dataset.train, dataset.dev)
    )
    framed = (window for text in texts for window in frame(text, base.text_encoder))
    windows = tuple(window for window in framed if (window.tags >= 0).any())
    _check_entities(windows)
    costs = learned_costs(text.joints() for text in texts)
    judge = Judge(dev, base.text_encoder, labels, costs)
    return Prepared(dataset, labels, base, start, texts, windows, judge, judge.enlarged(texts, COMPARED_ENTITIES))


def _check_entities(windows: tuple[FramedWindow, ...]) -> None:
    if not any((window.tags > 0).any() for window in windows):
        raise TrainingError(
            "a training needs at least one entity that has a token",
            value=f"{len(windows)} windows without one",
            next_step="Label texts that hold entities.",
        )

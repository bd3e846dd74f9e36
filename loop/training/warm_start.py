"""A training that goes on from a model: what came since is read often, what the model knows now and again.

Replay of old examples keeps a network from forgetting them (Robins 1995). BENCHMARKS.md compares it with other ways.
Trainings that go on and on drift. So a training starts at the encoder again once too much of the gold has come since
the last training that did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from loop.settings.model import TrainSettings
from loop.training.batches import FramedWindow
from loop.training.dataset import Dataset
from loop.training.trainer import Plan, make_plan

# The windows that are read, as a share of those that a training from the encoder reads.
SHARE = 0.1
# How often each new window is among them, and how much of them the new windows are at most.
TIMES, MOST_NEW = 10, 0.5
# The share of the gold that may be new since the last training from the encoder.
DRIFT = 0.2


@dataclass(frozen=True, slots=True)
class Growth:
    """What a training has that the models before it had not.

    texts: gold texts to learn from. new: of these, those that neither the model that it goes on from nor one before it
    learned, by id of the document. since_encoder: how many are new since the last training from the encoder. steps: how
    many models stand between that training and this one.
    """

    texts: int = 0
    new: frozenset[int] = frozenset()
    since_encoder: int = 0
    steps: int = 0

    @property
    def share(self) -> float:
        """Of the texts that are new since the last training from the encoder."""
        return self.since_encoder / self.texts if self.texts else 0.0

    def obstacle(self) -> str | None:
        """Why a training does not go on; None where it does."""
        if self.share <= DRIFT:
            return None
        return (
            f"{self.since_encoder} of {self.texts} texts ({self.share:.0%}) are new since the last training from the "
            f"encoder, and above {DRIFT:.0%}, trainings that go on drift"
        )

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "texts": self.texts,
            "new": len(self.new),
            "new_since_encoder": self.since_encoder,
            "models_since_encoder": self.steps,
        }


def growth(dataset: Dataset, learned: Sequence[frozenset[int]]) -> Growth:
    """learned: ids of the annotation versions that each model of a lineage learned, the last model first."""
    known = frozenset[int]().union(*learned)
    versions = {one.document_id: one.annotation_version_id for one in dataset.train}
    first = learned[-1] if learned else frozenset()
    return Growth(
        len(versions),
        frozenset(document for document, version in versions.items() if version not in known),
        sum(version not in first for version in versions.values()),
        len(learned),
    )


def replayed(
    old: Sequence[FramedWindow], new: Sequence[FramedWindow], settings: TrainSettings
) -> tuple[tuple[FramedWindow, ...], Plan]:
    """The windows that a training reads which goes on, and its plan: one pass over them. Deterministic.

    Each new window stands there TIMES times, or less often where there are so many that they would be more than
    MOST_NEW of all; old windows in random order fill the rest, again and again. All are read as they stand: one pass
    is too short for other mentions (`loop.training.mentions`), which cost F1 there.
    """
    random = np.random.default_rng(settings.seed)
    whole = make_plan(len(old) + len(new), settings, warm=True)
    wanted = max(1, round(SHARE * whole.epochs * (len(old) + len(new))))
    room = round(MOST_NEW * wanted) if old else wanted
    times = max(1, min(TIMES, room // max(1, len(new))))
    missing = max(0, wanted - times * len(new)) if old else 0
    rounds = [random.permutation(len(old)) for _ in range(-(-missing // max(1, len(old))))]
    places = np.concatenate(rounds)[:missing].tolist() if rounds else []
    windows = tuple(replace(one, mentions=()) for one in (*(tuple(new) * times), *(old[place] for place in places)))
    size = whole.batch_size
    return windows, Plan(1, size, -(-len(windows) // size), whole.learning_rate)

"""The documents and the systems of bench_promotion.py: real counts of several models, and what is mixed from them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Population:
    """The real documents: right and found (models, documents, types), gold (documents, types).

    right: true positives; found: predicted spans.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    right: IntArray
    found: IntArray
    gold: IntArray

    @classmethod
    def load(cls, path: Path, home: Path | None) -> Population:
        """From the file, which is made first where it is missing."""
        if not path.exists():
            if home is None:
                sys.exit(f"{path} is missing: name a project to make it from with --home")
            np.savez_compressed(path, **count_models(home))
        with np.load(path) as kept:
            names, types = tuple(map(str, kept["names"])), tuple(map(str, kept["types"]))
            summed = (_by_document(kept[name], kept["document"]) for name in ("right", "found", "gold"))
            return cls(names, types, *summed)

    @property
    def micro(self) -> FloatArray:
        """(models, documents, 2): true positives, predicted + gold."""
        return np.stack([self.right.sum(axis=2), (self.found + self.gold).sum(axis=2)], axis=2).astype(np.float64)

    @property
    def truth(self) -> float:
        """Micro-F1 of every null system over the population."""
        return f1(self.micro.mean(axis=0).sum(axis=0))

    def documents_for(self, entities: float, kind: int | None = None) -> int:
        """How many documents hold so many gold entities (of one type), on average."""
        gold = self.gold.sum(axis=1) if kind is None else self.gold[:, kind]
        return max(1, round(entities / gold.mean()))

    def told(self) -> Iterator[str]:
        """What was drawn from."""
        micro = self.micro
        differ = np.mean([np.any(a != b, axis=1).mean() for i, a in enumerate(micro) for b in micro[:i]])
        yield f"{len(self.gold):,} documents, {self.gold.sum():,} entities ({', '.join(self._supports())})."
        yield ", ".join(f"{name}: F1 {f1(one.sum(axis=0)):.4f}" for name, one in zip(self.names, micro, strict=True))
        share = differ * (1 - 1 / len(micro))
        yield f"Models differ on {differ:.1%} of the documents, null systems, of F1 {self.truth:.4f}, on {share:.1%}."

    def _supports(self) -> Iterator[str]:
        return (f"{name} {total:,}" for name, total in zip(self.types, self.gold.sum(axis=0), strict=True))


def count_models(home: Path) -> dict[str, Any]:
    """Tag the holdout of a project with each of its models as served (INT8), and count.

    names (models,), types (types,), right and found (models, records, types), gold (records, types), and document
    (records,): the number of the document that the record is of.
    """
    from loop.evaluation.scores import count
    from loop.settings.project import current_project
    from loop.settings.settings import Settings
    from ner.bundle import load_bundle
    from ner.labels import LabelSet
    from ner.spans import drop_overlaps
    from ner.tagger import Tagger
    from store.gold import gold
    from store.registry import models
    from store.schema import HOLDOUT
    from store.session import open_store

    settings = Settings.load(home)
    store = open_store(settings.store_url)
    project = current_project(store, settings)
    with store.read() as session:
        documents = gold(session, project.id, [HOLDOUT])
        known = [model for model in models(session, project.id) if (settings.model_dir / model.path).is_dir()]
    if len(known) < 2:
        sys.exit(f"{home} has {len(known)} models, and at least two are needed: `loop retrain` with another seed")
    labels = LabelSet(tuple(project.labels))
    true = [drop_overlaps(document.spans)[0] for document in documents]
    numbers: dict[str, int] = {}
    of = [numbers.setdefault(document.group_key, len(numbers)) for document in documents]
    sides = []
    for model in known:
        tagger = Tagger(load_bundle(settings.model_dir / model.path, project.labels), 1)
        found = [tags.spans for tags in tagger.tag_many([document.text for document in documents])]
        sides.append(count(true, found, labels))
        tagger.close()
    return {
        "names": np.array([model.version for model in known]),
        "types": np.array(labels.types),
        "right": np.stack([side.true_positives for side in sides]),
        "found": np.stack([side.predicted for side in sides]),
        "gold": sides[0].gold,
        "document": np.array(of),
    }


def _by_document(records: IntArray, document: IntArray) -> IntArray:
    """Sums over the last but one axis of the records of each document."""
    shape = (*records.shape[:-2], int(document.max()) + 1, records.shape[-1])
    sums = np.zeros(shape, dtype=np.int64)
    np.add.at(sums, (..., document, slice(None)), records)
    return sums


def leaning(population: Population, gain: float) -> FloatArray:
    """(models, documents): chances that make a system's F1 over the population higher by `gain`.

    A share of the way from even chances to the model that is best on the document; sums are linear in that share.
    """
    micro, aim = population.micro, population.truth + gain
    best = np.argmax(2 * micro[..., 0] - population.truth * micro[..., 1], axis=0)
    even = np.full(micro.shape[:2], 1 / len(micro))
    ideal = np.eye(len(micro))[:, best]
    right, found = np.einsum("md,mdk->k", even, micro)
    more_right, more_found = np.einsum("md,mdk->k", ideal - even, micro)
    share = (aim * found - 2 * right) / (2 * more_right - aim * more_found)
    if not 0 <= share <= 1:
        sys.exit(f"no mixture of the models is better by {gain}: take models that differ more")
    return even + share * (ideal - even)


def chances(population: Population, kind: int, loss: float, gain: float) -> tuple[float, float]:
    """Of a true positive of the type to be lost, and of a miss of another type to be found.

    With them a null system's F1 (0..1) over the population is lower by `loss` on the type, and micro higher by `gain`.
    """
    right = population.right.mean(axis=0).sum(axis=0)
    found = population.found.mean(axis=0).sum(axis=0) + population.gold.sum(axis=0)
    aim = 2 * right[kind] / found[kind] - loss
    lost = (2 * right[kind] - aim * found[kind]) / ((2 - aim) * right[kind])
    gone = lost * right[kind]
    misses = np.delete(population.gold.sum(axis=0) - right, kind).sum()
    aim = population.truth + gain
    return lost, (aim * (found.sum() - gone) - 2 * (right.sum() - gone)) / ((2 - aim) * misses)


def f1(sums: FloatArray) -> float:
    """2 TP / (predicted + gold)."""
    return float(2 * sums[0] / sums[1]) if sums[1] else 0.0

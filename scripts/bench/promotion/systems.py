"""The documents and systems of the promotion bench: real counts of several models, and what is mixed from them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ner.arrays import FloatArray, IntArray
from ner.spans import Span, drop_overlaps
from scripts.bench.stackoverflow import LABEL_MAP, LABELS

_TOKEN = re.compile(r"\w+|[^\w\s]")


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
    def load(cls, path: Path, home: Path | None, linear: Path | None = None) -> Population:
        """From the file, which is made first where it is missing."""
        if not path.exists():
            if home is None and linear is None:
                sys.exit(f"{path} is missing: make it with --home PROJECT or --linear DATA")
            np.savez_compressed(path, **(count_models(home) if home else count_linear(linear or Path())))
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
    from ner.labels import LabelSet
    from ner.models.bundle import load_bundle
    from ner.tagger import Tagger
    from store.database.schema import HOLDOUT
    from store.database.session import open_store
    from store.gold import gold
    from store.registry import models

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


def count_linear(data: Path) -> dict[str, Any]:
    """As `count_models`, for two linear taggers that are trained on DATA/train.jsonl within minutes; gold: dev.jsonl.

    The first tagger has seen all training texts; the second has seen a third of them, and knows no affixes.
    """
    from loop.evaluation.scores import count
    from loop.files.raw.json_values import parse_json
    from ner.labels import LabelSet

    train, dev = ([parse_json(line) for line in (data / f"{name}.jsonl").open()] for name in ("train", "dev"))
    labels = LabelSet(LABELS)
    true = [_mapped_spans(record) for record in dev]
    texts = [record["text"] for record in dev]
    systems = [LinearTagger(affixes=True).fit(train), LinearTagger(affixes=False).fit(train[::3])]
    sides = [count(true, [system.tag(text) for text in texts], labels) for system in systems]
    numbers: dict[str, int] = {}
    return {
        "names": np.array(["linear", "linear, a third of the texts, no affixes"]),
        "types": np.array(labels.types),
        "right": np.stack([side.true_positives for side in sides]),
        "found": np.stack([side.predicted for side in sides]),
        "gold": sides[0].gold,
        "document": np.array([numbers.setdefault(str(record["doc"]), len(numbers)) for record in dev]),
    }


class LinearTagger:
    """Logistic regression on a token and its neighbours; consecutive tokens of one type are one span."""

    def __init__(self, *, affixes: bool) -> None:
        from sklearn.feature_extraction import FeatureHasher
        from sklearn.linear_model import SGDClassifier

        self._affixes, self._hasher = affixes, FeatureHasher(2**18, input_type="string")
        self._model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=8, tol=None, random_state=1)

    def fit(self, records: Sequence[Mapping[str, Any]]) -> LinearTagger:
        rows, tags = list[list[str]](), list[str]()
        for record in records:
            tokens, spans = list(_TOKEN.finditer(record["text"])), _mapped_spans(record)
            rows += self._features([token[0] for token in tokens])
            tags += [_tag_of(token.start(), spans) for token in tokens]
        self._model.fit(self._hasher.transform(rows), tags)
        return self

    def tag(self, text: str) -> tuple[Span, ...]:
        tokens = list(_TOKEN.finditer(text))
        if not tokens:
            return ()
        tags = self._model.predict(self._hasher.transform(self._features([token[0] for token in tokens])))
        runs = [list(run) for _, run in groupby(zip(tokens, tags, strict=True), key=lambda pair: pair[1])]
        return tuple(Span(run[0][0].start(), run[-1][0].end(), run[0][1]) for run in runs if run[0][1] != "O")

    def _features(self, words: Sequence[str]) -> list[list[str]]:
        padded = ["^", *words, "$"]
        return [self._of_one(*padded[at - 1 : at + 2]) for at in range(1, len(padded) - 1)]

    def _of_one(self, before: str, word: str, after: str) -> list[str]:
        shape = re.sub(r"[A-Z]+", "A", re.sub(r"[a-z]+", "a", re.sub(r"\d+", "0", word)))
        found = [f"w {word.lower()}", f"s {shape}", f"b {before.lower()}", f"a {after.lower()}"]
        affixes = [f"{n} {part}" for n in (2, 3, 4) for part in (word[:n], f"-{word[-n:]}")] if self._affixes else []
        return [*found, *affixes]


def _tag_of(start: int, spans: Sequence[Span]) -> str:
    return next((span.label for span in spans if span.start <= start < span.end), "O")


def _mapped_spans(record: Mapping[str, Any]) -> tuple[Span, ...]:
    known = [one for one in record["spans"] if one["label"] in LABEL_MAP]
    return drop_overlaps(Span(one["start"], one["end"], LABEL_MAP[one["label"]]) for one in known)[0]


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

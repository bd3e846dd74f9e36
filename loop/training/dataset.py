"""What a model is trained on: gold from the store, weak labels before the gold, or weak labels alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from loop.training.progress import TrainingError
from ner.documents import content_hash
from ner.labels import LabelSet
from ner.spans import Span, flat_spans
from store.gold import GoldDocument, TrainingGold
from store.registry import DEV_ROLE, GOLD, TRAIN_ROLE, WEAK, TrainedOn
from weak_labeling.aggregate.contract import SoftTags

# The share of the documents that is held back, to score a file before the holdout does. With fewer documents, that
# share holds some dozens of entities: a score on them says little, and the training misses each of them.
DEV_SHARE, DEV_FROM, DEV_MOST = 0.1, 1000, 500


@dataclass(frozen=True, slots=True)
class WeakDocument:
    """A document of the store with the spans that the sources of weak labels agree on.

    soft: how likely each tag of each word is; None where only the spans are known.
    """

    document_id: int
    text: str
    group_key: str
    spans: tuple[Span, ...]
    soft: SoftTags | None = None


class WeakLabels(Protocol):
    """The weak labels of a project, made as they are asked for."""

    def __call__(self, without: frozenset[int], /) -> Sequence[WeakDocument]:
        """The documents on which a source speaks, labelled or not.

        without: ids of documents whose gold must have no part in these labels, since a model is judged on that gold.
        """


def no_weak_labels(_without: frozenset[int], /) -> Sequence[WeakDocument]:
    """A project without sources."""
    return ()


@dataclass(frozen=True, slots=True)
class TrainingDocument:
    """A text to learn from; `annotation_version_id` is None exactly when its spans are weak. soft: of a weak text.

    unannotated: types that the text was not annotated for, as `GoldDocument`; none of a weak text.
    """

    document_id: int
    content_hash: str
    group_key: str
    text: str
    spans: tuple[Span, ...]
    annotation_version_id: int | None = None
    soft: SoftTags | None = None
    unannotated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training and development documents, which share no group, and what was noticed on the way.

    train: what is learned from last. dev: empty below DEV_FROM documents. kind: of train and dev, GOLD or WEAK.
    left_out: documents whose text or group stands in the holdout. in_doubt: labelled documents that are left out, since
    something that was said about them was not understood. weak: documents with weak labels that are learned from before
    the gold.
    """

    train: tuple[TrainingDocument, ...]
    dev: tuple[TrainingDocument, ...]
    kind: str
    left_out: int = 0
    in_doubt: int = 0
    weak: tuple[TrainingDocument, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the role, kind, text, spans and unannotated types of every document, in any order."""
        return data_fingerprint(self)

    def items(self) -> list[TrainedOn]:
        """What the store keeps of it: which annotation version of each document was seen, and for what."""
        return [
            TrainedOn(document.document_id, document.annotation_version_id, role, kind)
            for role, kind, documents in self.parts()
            for document in documents
        ]

    def parts(self) -> tuple[tuple[str, str, tuple[TrainingDocument, ...]], ...]:
        """(role, kind, documents) of everything."""
        return (TRAIN_ROLE, self.kind, self.train), (DEV_ROLE, self.kind, self.dev), (TRAIN_ROLE, WEAK, self.weak)

    def silent_on(self) -> dict[str, int]:
        """How many documents were annotated before a type came, by type; they do not teach that it is absent."""
        return dict(Counter(label for document in (*self.train, *self.dev) for label in document.unannotated))

    def missing_types(self, labels: LabelSet) -> tuple[str, ...]:
        """The entity types without a single span to learn from."""
        seen = {span.label for document in (*self.train, *self.weak) for span in document.spans}
        return tuple(name for name in labels.types if name not in seen)


def gather(gold: TrainingGold, weak: Sequence[WeakDocument], salt: str) -> Dataset:
    """The gold if there is any, else the weak documents; from DEV_FROM documents on, DEV_SHARE of their groups are dev,
    and about DEV_MOST documents at most.

    Raises TrainingError when there is nothing to learn from: no document, no span, or a single text.
    """
    if gold.documents:
        documents, kind = [_from_gold(document) for document in gold.documents], GOLD
    else:
        documents, kind = [_from_weak(document) for document in weak], WEAK
    kept = [_flat(document) for document in documents]
    _check_learnable(kept, gold.in_doubt)
    share = min(DEV_SHARE, DEV_MOST / len(kept))
    train, dev = split(kept, share, salt) if len(kept) >= DEV_FROM else (tuple(kept), ())
    return Dataset(train, dev, kind, len(gold.excluded_as_holdout_duplicates), gold.in_doubt)


def split(
    documents: Sequence[TrainingDocument], share: float, salt: str
) -> tuple[tuple[TrainingDocument, ...], tuple[TrainingDocument, ...]]:
    """(train, dev): about `share` of the groups, drawn by a salted hash, so the same groups again next time.

    Neither side is empty, and dev has a document with spans where train can spare one: else the groups that come next
    by the hash are moved. When all documents are of one group, each text is its own. At least two texts must differ.
    """
    one_group = len({document.group_key for document in documents}) == 1
    key: Callable[[TrainingDocument], str] = _content if one_group else _group
    draws = {name: _draw(salt, name) for name in {key(document) for document in documents}}
    with_spans = {key(document) for document in documents if document.spans}
    chosen = {name for name, draw in draws.items() if draw < share}
    order = sorted(draws, key=lambda name: draws[name])
    if len(chosen) == len(order):
        chosen.discard(order[-1])
    if not chosen:
        chosen = {order[0]}
    if not chosen & with_spans and len(with_spans) > 1:
        chosen.add(next(name for name in order if name in with_spans))
    elif with_spans and with_spans <= chosen:
        chosen.discard(next(name for name in reversed(order) if name in with_spans))
        chosen = chosen or {next(name for name in order if name not in with_spans)}
    train = tuple(document for document in documents if key(document) not in chosen)
    return train, tuple(document for document in documents if key(document) in chosen)


def data_fingerprint(dataset: Dataset) -> str:
    """SHA-256 (hex) over the sorted lines `role kind content-hash spans`; soft tags or unannotated types follow."""
    lines = []
    for role, kind, documents in dataset.parts():
        for document in documents:
            spans = ",".join(f"{span.start}-{span.end}-{span.label!r}" for span in sorted(document.spans))
            silent = "".join(f" -{label!r}" for label in sorted(document.unannotated))
            lines.append(f"{role} {kind} {document.content_hash} {spans}{_soft_digest(document.soft)}{silent}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def with_weak(dataset: Dataset, weak: Iterable[WeakDocument], limit: int, salt: str) -> Dataset:
    """Gold, with at most `limit` of the weak documents to be learned from first; which ones, a salted hash says.

    A weak document is left out where its text is in the gold, or where its group is in the development split.
    """
    gold = {document.content_hash for document in (*dataset.train, *dataset.dev)}
    groups = {document.group_key for document in dataset.dev} - {document.group_key for document in dataset.train}
    made = (_flat(_from_weak(document)) for document in drawn(weak, salt))
    usable = (one for one in made if one.content_hash not in gold and one.group_key not in groups)
    first = {one.content_hash: one for one in usable}  # a text counts once
    return replace(dataset, weak=tuple(first.values())[:limit])


def drawn(weak: Iterable[WeakDocument], salt: str) -> list[WeakDocument]:
    """The weak documents in a random order that depends on their texts and the salt alone."""
    return sorted(weak, key=lambda document: _draw(salt, document.text))


def _soft_digest(soft: SoftTags | None) -> str:
    """Three decimals: what a sum in another order changes is no other label."""
    if soft is None:
        return ""
    rounded = (np.round(soft.probabilities, 3) + 0.0).astype(np.float32)
    digest = hashlib.sha256(soft.offsets.astype(np.int64).tobytes() + rounded.tobytes())
    digest.update(soft.spoken.tobytes())
    return f" {digest.hexdigest()}"


def _from_gold(document: GoldDocument) -> TrainingDocument:
    return TrainingDocument(
        document.document_id,
        document.content_hash,
        document.group_key,
        document.text,
        document.spans,
        document.annotation_version_id,
        unannotated=document.unannotated,
    )


def _from_weak(document: WeakDocument) -> TrainingDocument:
    digest = content_hash(document.text)
    return TrainingDocument(
        document.document_id, digest, document.group_key, document.text, document.spans, soft=document.soft
    )


def _flat(document: TrainingDocument) -> TrainingDocument:
    return replace(document, spans=flat_spans(document.text, (span.without_score() for span in document.spans)))


def _check_learnable(documents: Sequence[TrainingDocument], in_doubt: int) -> None:
    distinct = len({document.content_hash for document in documents})
    if distinct < 2:
        doubted = f", and {in_doubt} in doubt (`loop status` says why)" if in_doubt else ""
        raise TrainingError(
            "a training needs at least two labelled texts that differ",
            value=f"{distinct} outside the holdout{doubted}",
            next_step="Label more, `loop pull` or `loop import --split train`, or give labelling functions.",
        )
    if not any(document.spans for document in documents):
        raise TrainingError(
            "a training needs at least one entity",
            value=f"{len(documents)} documents without a span",
            next_step="Check the label map and the labels of the project, or label texts that hold entities.",
        )


def _draw(salt: str, name: str) -> float:
    digest = hashlib.sha256(f"{salt}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _group(document: TrainingDocument) -> str:
    return document.group_key


def _content(document: TrainingDocument) -> str:
    return document.content_hash


def development_salt(seed: int) -> str:
    """Independent of the holdout's salt; from the seed, so that the same data and settings make the same model."""
    return f"development:{seed}"

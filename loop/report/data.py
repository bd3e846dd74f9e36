"""What a project's data were when a report was written: counts per split and type, training, annotators, shortages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.bulk import select_in
from store.counts import project_counts
from store.documents import stored_documents
from store.gold import GoldDocument, gold, held_out
from store.registry import GOLD, WEAK, lineage, trained_on
from store.schema import HOLDOUT, SPLITS, AnnotationVersion, WeakVote

# Several times the minimum, at which learning curves of entity types have usually flattened; a rule of thumb.
RECOMMENDED_MINIMA = 4
_TOKEN = re.compile(r"\w+|[^\w\s]")


def data(session: Session, project_id: int, version: str, types: Sequence[str], minimum: int) -> dict[str, Any]:
    """The section; `minimum` labels of a type are enough to learn from, four times that are recommended."""
    believed = gold(session, project_id)
    counts = project_counts(session, project_id)
    trained = _trained(session, version, types)
    return {
        "splits": _splits(session, project_id, believed),
        "types": _types(session, project_id, believed, types, trained, minimum),
        "minimum": minimum,
        "recommended": RECOMMENDED_MINIMA * minimum,
        "trained": trained,
        "annotators": _annotators(believed, counts.annotators),
        "disagreements": counts.disagreements,
        "skipped": counts.skipped,
        "duplicates": counts.duplicates,
        "open": counts.open,
        "set_aside": dict(counts.set_aside),
        "token": "a word or a punctuation mark",
    }


def tokens(text: str) -> int:
    """Words and punctuation marks: the same for every encoder."""
    return sum(1 for _ in _TOKEN.finditer(text))


def _splits(session: Session, project_id: int, believed: Sequence[GoldDocument]) -> list[dict[str, Any]]:
    """One row for each split: all its documents, those with gold, tokens of both, entities."""
    documents, words = Counter[str](), Counter[str]()
    for document in stored_documents(session, project_id):
        documents[document.split] += 1
        words[document.split] += tokens(document.text)
    rows = []
    for name in SPLITS:
        labelled = [item for item in believed if item.split == name]
        rows.append(
            {
                "split": name,
                "documents": documents[name],
                "tokens": words[name],
                "labelled": len(labelled),
                "labelled_tokens": sum(tokens(item.text) for item in labelled),
                "entities": sum(len(item.spans) for item in labelled),
            }
        )
    return rows


def _types(
    session: Session,
    project_id: int,
    believed: Sequence[GoldDocument],
    types: Sequence[str],
    trained: dict[str, Any],
    minimum: int,
) -> list[dict[str, Any]]:
    """Gold spans to learn from (outside the holdout, and not left out because of it), and in the holdout."""
    kept_out = held_out(session, project_id)
    learned = Counter(
        span.label for item in believed if item.split != HOLDOUT and item not in kept_out for span in item.spans
    )
    held = Counter(span.label for item in believed if item.split == HOLDOUT for span in item.spans)
    return [
        {
            "name": name,
            "labels": learned[name],
            "trained": trained["types"].get(name, 0),
            "holdout": held[name],
            "short_of_minimum": max(0, minimum - learned[name]),
            "short_of_recommended": max(0, RECOMMENDED_MINIMA * minimum - learned[name]),
        }
        for name in types
    ]


def _trained(session: Session, version: str, types: Sequence[str]) -> dict[str, Any]:
    """What the model saw, by the annotation versions it saw; and what each model it goes on from saw."""
    items = trained_on(session, version)
    versions = [item.annotation_version_id for item in items if item.annotation_version_id is not None]
    query = select(AnnotationVersion.id, AnnotationVersion.spans)
    rows = select_in(session, query, AnnotationVersion.id, versions)
    spans = Counter(span.label for row in rows for span in row.spans or ())
    weak = {item.document_id for item in items if item.kind == WEAK}
    return {
        "gold": _roles(item.role for item in items if item.kind == GOLD),
        "weak": _roles(item.role for item in items if item.kind == WEAK),
        "entities": sum(spans[name] for name in types),
        "types": {name: spans[name] for name in types},
        "weak_votes": _votes(session, weak),
        "lineage": [_ancestor(session, model.version) for model in lineage(session, version)[1:]],
    }


def _roles(roles: Any) -> dict[str, int]:
    counted = Counter(roles)
    return {"train": counted["train"], "dev": counted["dev"]}


def _votes(session: Session, document_ids: set[int]) -> int:
    """Votes of labelling functions on these documents, as they are now."""
    query = select(WeakVote.document_id)
    return sum(1 for _ in select_in(session, query, WeakVote.document_id, document_ids))


def _ancestor(session: Session, version: str) -> dict[str, Any]:
    kinds = Counter(item.kind for item in trained_on(session, version))
    return {"version": version, "gold": kinds[GOLD], "weak": kinds[WEAK]}


def _annotators(believed: Sequence[GoldDocument], annotations: Any) -> list[dict[str, Any]]:
    """By person: live annotations, and of how many documents theirs is the one believed, with how many entities.

    None stands for annotations that came without a name, such as from a file.
    """
    documents = Counter(item.creator for item in believed)
    entities: Counter[str | None] = Counter()
    for item in believed:
        entities[item.creator] += len(item.spans)
    people = sorted({*documents, *annotations}, key=lambda who: (-documents[who], who or ""))
    return [
        {
            "who": who,
            "annotations": annotations.get(who) if who is not None else None,
            "documents": documents[who],
            "entities": entities[who],
        }
        for who in people
    ]

"""What a project's data were when a report was written: counts by split and type, training, annotators, shortages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from loop.report import facts
from loop.settings.model import RECOMMENDED_MINIMA, StatusSettings
from store.counts import ProjectCounts, project_counts
from store.database.schema import HOLDOUT, SPLITS, AnnotationVersion, Model, WeakVote
from store.database.session import select_in
from store.documents import stored_documents
from store.gold import GoldDocument, gold, held_out
from store.registry import GOLD, WEAK, lineage, models, trained_on
from store.weak.sources import BY_THE_LOOP

_TOKEN = re.compile(r"\w+|[^\w\s]")


def project_data(
    session: Session, project_id: int, version: str, types: Sequence[str], wanted: StatusSettings
) -> facts.ProjectData:
    """The counts; `wanted`: how many labels of each type are enough to learn from, and how many are recommended."""
    believed = gold(session, project_id)
    counts = project_counts(session, project_id)
    trained = _trained(session, version, types)
    return facts.ProjectData(
        splits=_splits(session, project_id, believed),
        types=_types(session, project_id, believed, types, trained.types, wanted),
        minimum=wanted.minimum_labels,
        recommended=RECOMMENDED_MINIMA * wanted.minimum_labels,
        trained=trained,
        annotators=_annotators(believed, counts),
        disagreements=counts.disagreements,
        skipped=counts.skipped,
        duplicates=counts.duplicates,
        open=counts.open,
        set_aside=dict(counts.set_aside),
        doubts=counts.doubts,
    )


def tokens(text: str) -> int:
    """Words and punctuation marks: the same for every encoder."""
    return sum(1 for _ in _TOKEN.finditer(text))


def _splits(session: Session, project_id: int, believed: Sequence[GoldDocument]) -> tuple[facts.SplitCounts, ...]:
    texts, words = Counter[str](), Counter[str]()
    for document in stored_documents(session, project_id):
        texts[document.split] += 1
        words[document.split] += tokens(document.text)
    rows = []
    for name in SPLITS:
        labelled = [item for item in believed if item.split == name]
        known, entities = sum(tokens(item.text) for item in labelled), sum(len(item.spans) for item in labelled)
        rows.append(facts.SplitCounts(name, texts[name], words[name], len(labelled), known, entities))
    return tuple(rows)


def _types(
    session: Session,
    project_id: int,
    believed: Sequence[GoldDocument],
    types: Sequence[str],
    trained: Mapping[str, int],
    wanted: StatusSettings,
) -> tuple[facts.TypeCounts, ...]:
    """labels: gold spans outside the holdout, without the texts that are left out because of the holdout."""
    kept_out = held_out(session, project_id)
    learned, held = Counter[str](), Counter[str]()
    for item in believed:
        if item.split == HOLDOUT or item not in kept_out:
            (held if item.split == HOLDOUT else learned).update(span.label for span in item.spans)
    return tuple(
        facts.TypeCounts(
            name=name,
            labels=learned[name],
            trained=trained.get(name, 0),
            holdout=held[name],
            short_of_minimum=max(0, wanted.minimum(name) - learned[name]),
            short_of_recommended=max(0, wanted.recommended(name) - learned[name]),
            minimum=wanted.minimum(name) if name in wanted.types else None,
            recommended=wanted.recommended(name) if name in wanted.types else None,
        )
        for name in types
    )


def _trained(session: Session, version: str, types: Sequence[str]) -> facts.TrainedTexts:
    """What the model saw, by the annotation versions that it saw, and what each model saw that it goes on from."""
    items = trained_on(session, version)
    seen = [item.annotation_version_id for item in items if item.annotation_version_id is not None]
    query = select(AnnotationVersion.id, AnnotationVersion.spans)
    rows = select_in(session, query, AnnotationVersion.id, seen)
    spans = Counter(span.label for row in rows for span in row.spans or ())
    weak = {item.document_id for item in items if item.kind == WEAK}
    votes = select_in(session, select(WeakVote.document_id), WeakVote.document_id, weak)  # as they are now
    return facts.TrainedTexts(
        gold=_roles(item.role for item in items if item.kind == GOLD),
        weak=_roles(item.role for item in items if item.kind == WEAK),
        entities=sum(spans[name] for name in types),
        types={name: spans[name] for name in types},
        weak_votes=sum(1 for _ in votes),
        lineage=tuple(_ancestor(session, model.version) for model in lineage(session, version)[1:]),
        weak_choice=(lineage(session, version)[0].figures or {}).get("weak", {}).get("told"),
        muted=tuple(_muted(session, lineage(session, version)[0])),
    )


def _muted(session: Session, candidate: Model) -> Iterator[facts.MutedSource]:
    """As the training noted it. A source that was not muted yet at the training before was muted by this training."""
    earlier = [one.created_at for one in models(session, candidate.project_id) if one.number < candidate.number]
    for one in (candidate.figures or {}).get("muted", ()):
        since = datetime.fromisoformat(one["since"])
        by_training = one["by"] == BY_THE_LOOP and all(since > moment for moment in earlier)
        yield facts.MutedSource(one["source"], one["by"], since, by_training, _evidence(one["evidence"]))


def _evidence(said: Mapping[str, Any]) -> facts.MutingEvidence | None:
    names = [field.name for field in fields(facts.MutingEvidence)]
    return facts.MutingEvidence(**{name: said[name] for name in names}) if said.keys() >= set(names) else None


def _roles(roles: Iterable[str]) -> facts.Roles:
    counted = Counter(roles)
    return facts.Roles(counted["train"], counted["dev"])


def _ancestor(session: Session, version: str) -> facts.Ancestor:
    kinds = Counter(item.kind for item in trained_on(session, version))
    return facts.Ancestor(version, kinds[GOLD], kinds[WEAK])


def _annotators(believed: Sequence[GoldDocument], counts: ProjectCounts) -> tuple[facts.AnnotatorCounts, ...]:
    """By person, those with most gold first; None stands for annotations without a name, such as from a file."""
    texts, entities = Counter[str | None](), Counter[str | None]()
    for item in believed:
        texts[item.creator] += 1
        entities[item.creator] += len(item.spans)
    annotations: dict[str | None, int] = {None: counts.unnamed}
    annotations.update(counts.annotators.items())
    people = sorted({*texts, *counts.annotators}, key=lambda who: (-texts[who], who or ""))
    return tuple(facts.AnnotatorCounts(who, annotations.get(who, 0), texts[who], entities[who]) for who in people)

"""The candidate and the last good model are asked about unlabelled texts, and the latter about new annotations.

`loop.quality.corruption` says what the answers show. Nothing is decided by them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from loop.evaluation.scores import judgeable
from loop.judging.ask import JudgingError, ask_served
from loop.quality.corruption import GoldCheck, NewAnnotationText, check_annotators, count_shifts
from loop.settings.settings import Settings
from ner.errors import BundleError
from ner.label_studio.edits import Edits, edits_of, total
from ner.models.bundle import read_manifest
from ner.spans import Span, clean_spans, overlap
from store.database.schema import POOL, Model, Project
from store.database.session import Store
from store.documents import StoredDocument, sample_documents
from store.gold import GoldDocument, gold
from store.registry import lineage, trained_on

logger = logging.getLogger(__name__)

_COMPARED = 500  # new annotations that are compared with the last good model, at most: the latest


def check_gold(
    store: Store, settings: Settings, project: Project, chosen: Model, good: Model | None, threads: int
) -> GoldCheck | None:
    """Signs of corrupted annotations since the last good model; None where there is none, or asking fails."""
    number = settings.promotion.unlabelled
    if good is None or good.version == chosen.version or not number:
        return None
    with store.read() as session:
        open_texts = sample_documents(session, project.id, (POOL,), number, open_only=True)
        learned = {
            item.annotation_version_id
            for ancestor in lineage(session, good.version)
            for item in trained_on(session, ancestor.version)
        }
        newest = max((version for version in learned if version is not None), default=0)
        new = [item for item in gold(session, project.id) if item.annotation_version_id > newest]
    compared = sorted(new, key=lambda item: item.annotation_version_id)[-_COMPARED:]
    try:
        return _asked(settings, project, chosen, good, open_texts, new, compared, threads)
    except (BundleError, JudgingError) as error:
        logger.warning("the new annotations were not checked: %s", error)
        return None


def _asked(
    settings: Settings,
    project: Project,
    chosen: Model,
    good: Model,
    open_texts: Sequence[StoredDocument],
    new: Sequence[GoldDocument],
    compared: Sequence[GoldDocument],
    threads: int,
) -> GoldCheck:
    texts, seed = [item.text for item in open_texts], settings.promotion.seed
    asked = [*texts, *(item.text for item in compared)]
    last_good, candidate = (settings.library.bundle(one.path, one.files) for one in (good, chosen))
    served = ask_served(last_good, None, asked, threads=threads).spans if asked else ()
    said = ask_served(candidate, None, texts, threads=threads).spans if texts else ()
    # What the last good model does not know, such as a type that came since, tells nothing of the annotations.
    types = [name for name in project.labels if name in read_manifest(last_good).labels]
    found = [
        NewAnnotationText(item.creator, item.group_key, _edits(item, spans, types))
        for item, spans in zip(compared, served[len(texts) :], strict=True)
    ]
    groups = [item.group_key for item in open_texts]
    return GoldCheck(
        since=good.version,
        texts=len(texts),
        shifts=count_shifts(served[: len(texts)], said, groups, types, seed=seed),
        annotators=check_annotators(found, [item.creator for item in new], seed=seed),
    )


def _edits(item: GoldDocument, said: Sequence[Span], types: Collection[str]) -> Edits:
    """What leads from a model's spans to the gold, of these types; not where the gold has another type."""
    gold = clean_spans(item.text, item.spans)[0]
    others = [span for span in gold if span.label not in types]
    known = [span for span in judgeable(said, item.unannotated) if span.label in types]
    known = [span for span in known if not any(overlap(span, other) for other in others)]
    return total(edits_of(known, [span for span in gold if span.label in types]).values())

"""Which annotations were submitted on top of the pre-labels of models that are withdrawn."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ner.spans import Span
from store.gold import gold
from store.registry import promotions
from store.schema import HOLDOUT, Project, Promotion
from store.session import Store
from store.withdrawn import BegunFromPrelabel, Published, begun_from_prelabels, moves, published_on


@dataclass(frozen=True, slots=True)
class Affected:
    """An annotation that was begun from a pre-label of `version`, one of the withdrawn.

    annotator: the number of Label Studio's user. at: when it was submitted. unchanged: it says exactly what the
    pre-label said, and so may be a mistake of the model that nobody looked at; None where the pre-label is not known.
    gold: it is the annotation of its document that is believed now.
    """

    document_id: int
    document: str
    task_id: int
    annotation_id: int
    annotator: str | None
    at: datetime
    version: str
    unchanged: bool | None
    gold: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The affected annotations, oldest first. exact: each was told by its prediction, none by times."""

    affected: tuple[Affected, ...]
    exact: bool


def tasks_to_ask_about(store: Store, project: Project) -> list[int]:
    """The tasks whose predictions must be known for an exact answer: those annotated from a pre-label."""
    with store.read() as session:
        return sorted({item.ls_task_id for item in begun_from_prelabels(session, project.id)})


def find_affected(
    store: Store, project: Project, withdrawn: Collection[str], versions: Mapping[int, str] | None
) -> Found:
    """The annotations begun from pre-labels of the `withdrawn` versions, as the store knows them.

    `versions` holds the model version of each of Label Studio's predictions, by its id; None when the server could
    not be asked. A prediction that it does not hold is guessed from times: see `_estimate`. What was published empty,
    for the holdout, showed nobody anything, and an annotation begun from it is not affected.
    """
    with store.read() as session:
        begun = begun_from_prelabels(session, project.id)
        published = published_on(session, {item.document_id for item in begun})
        believed = {item.annotation_version_id for item in gold(session, project.id)} if begun else set()
        moved = moves(promotions(session, project.id))
    known = versions or {}
    exact = versions is not None and all(item.parent_prediction in known for item in begun)
    affected = []
    for item in begun:
        shown = published.get(item.document_id, ())
        version = known.get(item.parent_prediction) or _estimate(item.made_at, shown, moved)
        if version is not None and version in withdrawn and not _was_blind(item, version, shown):
            affected.append(_affected(item, version, shown, gold=item.annotation_version_id in believed))
    return Found(tuple(affected), exact)


def _estimate(made_at: datetime, shown: Sequence[Published], moved: Sequence[Promotion]) -> str | None:
    """The version in service at that time if it was published by then, else the one that was published last by then.

    Between a promotion and its publishing the version before is what annotators still see.
    """
    serving = next((decision.version for decision in reversed(moved) if decision.at <= made_at), None)
    by_then = [one.version for one in shown if one.published_at <= made_at]
    return serving if serving in by_then or not by_then else by_then[-1]


def _was_blind(item: BegunFromPrelabel, version: str, shown: Iterable[Published]) -> bool:
    """Whether nothing was shown. What the backend gave, and no publishing, was empty where the document is held out."""
    told = _told(version, shown)
    return item.split == HOLDOUT if told is None else told.holdout


def _affected(item: BegunFromPrelabel, version: str, shown: Iterable[Published], *, gold: bool) -> Affected:
    told = _told(version, shown)
    return Affected(
        document_id=item.document_id,
        document=item.external_id,
        task_id=item.ls_task_id,
        annotation_id=item.annotation_id,
        annotator=item.annotator,
        at=item.made_at,
        version=version,
        unchanged=None if told is None or item.spans is None else _places(item.spans) == _places(told.spans),
        gold=gold,
    )


def _told(version: str, shown: Iterable[Published]) -> Published | None:
    return next((one for one in shown if one.version == version), None)


def _places(spans: Iterable[Span]) -> set[tuple[int, int, str]]:
    return {(span.start, span.end, span.label) for span in spans}

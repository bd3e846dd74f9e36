"""Annotations that were made on an earlier text of their task: their offsets count in that text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.orm import Session

from loop.task_reading import as_stale
from store.annotations import NewAnnotation
from store.task_history import SeenOn, seen_elsewhere, successors


def without_stale(
    session: Session, project_id: int, listed: Mapping[int, Sequence[NewAnnotation]]
) -> dict[int, list[NewAnnotation]]:
    """The annotations by document id, those made on an earlier text as ones that nothing can be learned from.

    An annotation is stale on a document that took another's place, when it was seen on other texts of the task and was
    not updated since: nobody looked at it again. (An edit between two pulls, before the first sight of the
    annotation, leaves no trace to tell by.)
    """
    hashes = successors(session, listed)
    names = [item.source_id for document in hashes for item in listed[document]]
    elsewhere = seen_elsewhere(session, project_id, names, hashes) if names else {}
    return {
        document: [
            as_stale(item) if _is_stale(item, hashes.get(document), elsewhere.get(item.source_id, ())) else item
            for item in annotations
        ]
        for document, annotations in listed.items()
    }


def _is_stale(annotation: NewAnnotation, content_hash: str | None, seen: Iterable[SeenOn]) -> bool:
    if content_hash is None or annotation.source_updated_at is None:
        return False
    unchanged = [one for one in seen if one.source_updated_at == annotation.source_updated_at]
    return bool(unchanged) and all(one.content_hash != content_hash for one in unchanged)

"""Which tasks are held out, and the score that a held-out task gets.

A held-out text judges the next model, so annotators must not see what the current model says of the text: neither its
spans nor its confidence. Tasks that are in the store are looked up in memory. A task that is not in the store yet is
placed as the next pull will place it: by the store, or, while the store cannot be read, by the store's own draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ml_backend.payload import Asked
from ner.documents import content_hash
from store.database.schema import HOLDOUT, Document, Prediction, Project, Split
from store.projects import project_by_id
from store.splits import Keys, current_epoch, draws_holdout, epoch_salt, place

_STEPS = 100


@dataclass(frozen=True, slots=True)
class Holdout:
    """The splits of one project at the time they were read.

    held: the held-out tasks, each with the score that was published for the task under the model in service (None: no
    score yet). free: every other task in the store. groups: the groups of the held-out documents. ladder: quantiles
    0..100 of the scores that were published for the free tasks. salt: of the scores that are drawn. draw_salt, share:
    of the draw that places new groups.
    """

    held: Mapping[int, float | None] = field(default_factory=dict)
    free: frozenset[int] = frozenset()
    groups: frozenset[str] = frozenset()
    ladder: tuple[float, ...] = ()
    salt: str = ""
    draw_salt: str = ""
    share: float = 0.0

    def is_held(self, task_id: int) -> bool | None:
        """Whether the task is held out; None for one that the store has not seen."""
        if task_id in self.held:
            return True
        return False if task_id in self.free else None

    def will_hold(self, asked: Asked) -> bool:
        """Whether a task that is not in the store will be held out, as far as that is known without the store.

        True as well for a group that joins the pool for a reason that only the store knows, such as a text that a model
        was trained on: an empty answer costs the annotator a pre-label, a real answer would cost the holdout a text.
        """
        group = keys_of(asked).group_key
        return group in self.groups or draws_holdout(self.draw_salt, group, self.share)

    def score(self, asked: Asked) -> float:
        """The published score, 0..1; without one, a published score that a salted hash of the task draws."""
        published = self.held.get(asked.task_id) if asked.task_id is not None else None
        return published if published is not None else self._drawn(f"{asked.task_id}\0{asked.text}")

    def _drawn(self, name: str) -> float:
        digest = hashlib.sha256(f"{self.salt}\0score\0{name}".encode("utf-8", "surrogatepass")).digest()
        place_in_queue = int.from_bytes(digest[:8], "big") / 2**64
        if not self.ladder:
            return place_in_queue
        return self.ladder[min(int(place_in_queue * len(self.ladder)), len(self.ladder) - 1)]


def read_holdout(session: Session, project: Project, version: str | None) -> Holdout:
    """The splits of the project's tasks, and the scores published for them by the model `version`."""
    published = (Prediction.document_id == Document.id) & (Prediction.model == version)
    rows = session.execute(
        select(Document.ls_task_id, Split.split, Prediction.score, Prediction.holdout)
        .join(Split, Split.document_id == Document.id)
        .outerjoin(Prediction, published)
        .where(Document.project_id == project.id, Document.ls_task_id.is_not(None))
    ).all()
    # A score that goes with spans is the model's own, which would tell how sure it is.
    held = {
        task: score if empty else None for task, split, score, empty in rows if task is not None and split == HOLDOUT
    }
    free = frozenset(task for task, split, _, _ in rows if task is not None and split != HOLDOUT)
    scores = sorted(score for _, split, score, empty in rows if score is not None and split != HOLDOUT and not empty)
    in_holdout = select(Document.group_key).join(Split, Split.document_id == Document.id)
    groups = session.scalars(in_holdout.where(Document.project_id == project.id, Split.split == HOLDOUT))
    draw_salt = epoch_salt(project.salt, current_epoch(session, project.id))
    return Holdout(
        held, free, frozenset(groups), _quantiles(scores), project.salt, draw_salt, share=project.holdout_share
    )


def fingerprint(session: Session, project_id: int, version: str | None) -> tuple[object, ...]:
    """A value that changes when `read_holdout` would give something else; cheaper to read."""
    splits = select(func.count(), func.max(Split.assigned_at), func.count(Document.ls_task_id)).select_from(Split)
    splits = splits.join(Document, Document.id == Split.document_id).where(Document.project_id == project_id)
    published = select(func.count(), func.max(Prediction.published_at)).where(Prediction.model == version)
    return (version, *session.execute(splits).one(), *session.execute(published).one())


def place_unseen(session: Session, project_id: int, asked: Sequence[Asked]) -> list[bool]:
    """Whether each task will be held out when it is pulled; for tasks that are not in the store yet."""
    keys = [keys_of(item) for item in asked]
    return [at.split == HOLDOUT for at in place(session, project_by_id(session, project_id), keys)]


def keys_of(asked: Asked) -> Keys:
    """What places a task: its group where it names one, else its text."""
    digest = content_hash(asked.text)
    return Keys(asked.group or digest, digest)


def _quantiles(ordered: Sequence[float]) -> tuple[float, ...]:
    if not ordered:
        return ()
    return tuple(ordered[step * (len(ordered) - 1) // _STEPS] for step in range(_STEPS + 1))

"""Where documents stand: pool, train or holdout; drawn once, by group, and then frozen.

A salted hash of its group key decides whether a pool document is drawn into the holdout. So the draw is uniform over
groups, needs no state, and gives the same on every machine. Two documents of one group never stand on both sides: a
document whose group is already known follows the group, even when the share was changed in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from store.database.schema import HOLDOUT, POOL, SPLITS, TRAIN, Document, Project, Split, TrainingItem
from store.database.session import select_in
from store.errors import RefusedError

DRAWN, FOLLOWED, ASKED = "drawn by group", "follows its group", "asked for at import"
TRAINED_ON = "kept out of the holdout: a model was trained on this text or group"


@dataclass(frozen=True, slots=True)
class PlacedDocument:
    """Where a new document goes, why, and in which epoch of the holdout (0: none)."""

    split: str
    reason: str
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Keys:
    """What a document is placed by: its group, and the hash of its text."""

    group_key: str
    content_hash: str


def draws_holdout(salt: str, group_key: str, share: float) -> bool:
    """True for `share` (0..1) of all group keys, the same ones for the same salt."""
    digest = hashlib.sha256(f"{salt}\0{group_key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def epoch_salt(salt: str, epoch: int) -> str:
    """The salt by which an epoch's holdout is drawn; the first one's is the project's own."""
    return salt if epoch <= 1 else f"{salt}/{epoch}"


def place(session: Session, project: Project, documents: Sequence[Keys], split: str = POOL) -> list[PlacedDocument]:
    """Where new documents go, in their order. `split` train and holdout are granted as asked, pool is drawn.

    No document whose text or group a model was trained on enters the holdout, asked for or drawn.
    """
    if split not in SPLITS:
        raise RefusedError("a split is one of pool, train, holdout", value=split, next_step="Use one of the three.")
    if split == TRAIN or not documents:
        return [PlacedDocument(TRAIN, ASKED)] * len(documents)
    epoch = current_epoch(session, project.id)
    trained = trained_keys(session, project.id, documents)
    held = PlacedDocument(HOLDOUT, ASKED, epoch)
    if split == HOLDOUT:
        return [PlacedDocument(TRAIN, TRAINED_ON) if _known(keys, trained) else held for keys in documents]
    groups = _group_splits(session, project.id, {keys.group_key for keys in documents})
    return [_draw(project, keys, groups, trained, epoch) for keys in documents]


def split_sizes(session: Session, project_id: int) -> dict[str, int]:
    """How many live documents stand in each split."""
    query = (
        select(Split.split, func.count())
        .join(Document, Document.id == Split.document_id)
        .where(Document.project_id == project_id, Document.deleted_at.is_(None))
        .group_by(Split.split)
    )
    return dict.fromkeys(SPLITS, 0) | {row[0]: row[1] for row in session.execute(query)}


def current_epoch(session: Session, project_id: int) -> int:
    """The holdout's number: 1 until a holdout was retired whole and another one drawn."""
    # From the highest epoch down, to the first of this project: a join would read every document.
    own = exists().where(Document.id == Split.document_id, Document.project_id == project_id)
    return session.scalar(select(Split.epoch).where(own).order_by(Split.epoch.desc()).limit(1)) or 1


def trained_keys(session: Session, project_id: int, documents: Iterable[Keys]) -> set[str]:
    """Those group keys and content hashes among the documents' that some model of the project was trained on."""
    keys = list(documents)
    # Not DISTINCT, here and below: SQLite would choose an index for that, and read the whole project.
    trained = select(Document.group_key, Document.content_hash).where(
        Document.project_id == project_id, exists().where(TrainingItem.document_id == Document.id)
    )
    by_group = select_in(session, trained, Document.group_key, {item.group_key for item in keys})
    by_text = select_in(session, trained, Document.content_hash, {item.content_hash for item in keys})
    return {row.group_key for row in by_group} | {row.content_hash for row in by_text}


def _known(keys: Keys, trained: Collection[str]) -> bool:
    return keys.group_key in trained or keys.content_hash in trained


def _draw(project: Project, keys: Keys, groups: dict[str, str], trained: Collection[str], epoch: int) -> PlacedDocument:
    follows = groups.get(keys.group_key)
    salt = epoch_salt(project.salt, epoch)
    held = follows == HOLDOUT if follows else draws_holdout(salt, keys.group_key, project.holdout_share)
    if held and _known(keys, trained):
        return PlacedDocument(POOL, TRAINED_ON)
    return PlacedDocument(HOLDOUT if held else POOL, FOLLOWED if follows else DRAWN, epoch if held else 0)


def _group_splits(session: Session, project_id: int, group_keys: set[str]) -> dict[str, str]:
    """Known groups: holdout when any of its documents stands there, else pool."""
    query = select(Document.group_key, Split.split).join(Split, Split.document_id == Document.id)
    found: dict[str, str] = {}
    for group, split in select_in(
        session, query.where(Document.project_id == project_id), Document.group_key, group_keys
    ):
        found[group] = HOLDOUT if HOLDOUT in (split, found.get(group)) else POOL
    return found

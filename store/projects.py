"""Projects: their label config, their salt, their place in Label Studio, how far they were pulled."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from store.database.columns import utc_now
from store.database.schema import Document, Project
from store.database.session import Transaction
from store.errors import NotFoundError, RefusedError
from store.label_dates import note_labels

DEFAULT_HOLDOUT_SHARE = 0.2


def create_project(
    tx: Transaction,
    name: str,
    *,
    label_config: str,
    labels: Sequence[str],
    holdout_share: float = DEFAULT_HOLDOUT_SHARE,
    salt: str | None = None,
    slug: str | None = None,
) -> Project:
    """A new project; `salt` (random unless given) decides with `holdout_share` which pool documents are held out.

    Raises RefusedError for a name or slug that is taken and for a share outside [0, 1).
    """
    _check_share(holdout_share)
    slug = slug or slugify(name)
    taken = tx.session.scalar(select(Project).where((Project.name == name) | (Project.slug == slug)))
    if taken is not None:
        raise RefusedError(
            "a project's name and slug are its own",
            value=f"{name!r} (slug {slug!r}) against {taken.name!r} (slug {taken.slug!r})",
            next_step="Choose another name, or work in the project that is there.",
        )
    project = Project(
        name=name,
        slug=slug,
        label_config=label_config,
        labels=list(labels),
        salt=salt or secrets.token_hex(16),
        holdout_share=holdout_share,
        created_at=utc_now(),
    )
    tx.session.add(project)
    tx.session.flush()
    return project


def slugify(name: str) -> str:
    """The name as lower-case ASCII words joined by hyphens, at most 40 characters: folders and versions carry it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].rstrip("-") or "project"


def all_projects(session: Session) -> list[Project]:
    """Every project, oldest first."""
    return list(session.scalars(select(Project).order_by(Project.id)))


def project_by_name(session: Session, name: str) -> Project:
    """The project of that name or slug; raises NotFoundError naming those there are."""
    project = session.scalar(select(Project).where(Project.name == name))
    project = project or session.scalar(select(Project).where(Project.slug == name))
    if project is None:
        names = ", ".join(p.name for p in all_projects(session))
        mend = "The store is empty: make the project with `loop init`, or correct the store's address (LOOP_STORE_URL)."
        next_step = f"Projects there: {names}." if names else mend
        raise NotFoundError("a project is in the store", value=name, next_step=next_step)
    return project


def project_by_id(session: Session, project_id: int) -> Project:
    """The project with the store's own id; raises NotFoundError."""
    project = session.get(Project, project_id)
    if project is None:
        raise NotFoundError("a project is in the store", value=project_id, next_step="Name one that `loop init` made.")
    return project


def project_by_ls_id(session: Session, ls_project_id: int, ls_url: str | None = None) -> Project | None:
    """The project linked to this id in Label Studio, or None; `ls_url` where two servers use the same id.

    Without `ls_url` two servers' projects of one id cannot be told apart: RefusedError.
    """
    query = select(Project).where(Project.ls_project_id == ls_project_id)
    if ls_url is not None:
        query = query.where(Project.ls_url == normal_url(ls_url))
    found = list(session.scalars(query))
    if len(found) > 1:
        raise RefusedError(
            "an id in Label Studio names one project",
            value=f"{ls_project_id} on {', '.join(str(p.ls_url) for p in found)}",
            next_step="Say which server.",
        )
    return found[0] if found else None


def link(tx: Transaction, project_id: int, ls_url: str, ls_project_id: int) -> Project:
    """Tie the project to one in Label Studio; raises RefusedError when another project here is tied to it.

    A new link forgets how far the old one was pulled, and the task ids, which meant other tasks there.
    """
    project = lock_project(tx, project_id)
    _check_feeds_no_other(tx, project, ls_url, ls_project_id)
    if (project.ls_url, project.ls_project_id) != (normal_url(ls_url), ls_project_id):
        project.ls_url, project.ls_project_id = normal_url(ls_url), ls_project_id
        project.pull_watermark = project.ls_overlap = None
        tx.session.execute(update(Document).where(Document.project_id == project_id).values(ls_task_id=None))
    tx.session.flush()
    return project


def relocate(tx: Transaction, project_id: int, ls_url: str) -> Project:
    """Note that the server which the project is linked to has another address now; the link and all ids stay.

    Raises RefusedError for a project without a link, and when another project here is tied to that id there.
    """
    project = lock_project(tx, project_id)
    if project.ls_project_id is None:
        raise RefusedError("only a linked project moves", value=project.name, next_step="Link it: `loop connect`.")
    _check_feeds_no_other(tx, project, ls_url, project.ls_project_id)
    project.ls_url = normal_url(ls_url)
    tx.session.flush()
    return project


def same_server(project: Project, url: str) -> bool:
    """Whether the project is linked to the server at `url`."""
    return project.ls_url == normal_url(url)


def normal_url(url: str) -> str:
    """The address without a slash at its end."""
    return url.rstrip("/")


def set_label_config(tx: Transaction, project_id: int, label_config: str, labels: Sequence[str]) -> Project:
    """Take over a label config that changed; labels that come or go are dated."""
    project = lock_project(tx, project_id)
    note_labels(tx, project_id, project.labels, labels)
    project.label_config, project.labels = label_config, list(labels)
    tx.session.flush()
    return project


def set_label_map(tx: Transaction, project_id: int, label_map: Mapping[str, str]) -> Project:
    """Take over the label map of the settings; the next pull reads all tasks again when the map has changed."""
    project = lock_project(tx, project_id)
    project.label_map = dict(label_map)
    tx.session.flush()
    return project


def set_holdout_share(tx: Transaction, project_id: int, share: float) -> Project:
    """Take over the share of the settings, for documents that come from now on; those that have a split keep it."""
    project = lock_project(tx, project_id)
    _check_share(share)
    project.holdout_share = share
    tx.session.flush()
    return project


def set_pulled_label_map(tx: Transaction, project_id: int, label_map: Mapping[str, str]) -> None:
    """Remember the label map with which tasks are read from now on; the caller has all tasks read again."""
    lock_project(tx, project_id).pulled_label_map = dict(label_map)
    tx.session.flush()


def set_overlap(tx: Transaction, project_id: int, overlap: Mapping[str, Any]) -> None:
    """Remember what decides in Label Studio when a task counts as labelled."""
    lock_project(tx, project_id).ls_overlap = dict(overlap)
    tx.session.flush()


def set_watermark(tx: Transaction, project_id: int, watermark: datetime | None) -> None:
    """Remember that everything updated in Label Studio before `watermark` is in the store; None pulls all again.

    Commit it together with the page it belongs to. It never goes back otherwise.
    """
    project = lock_project(tx, project_id)
    if watermark is None or project.pull_watermark is None or watermark > project.pull_watermark:
        project.pull_watermark = watermark
    tx.session.flush()


def lock_project(tx: Transaction, project_id: int) -> Project:
    """The project's row, locked until the transaction ends: one writer a project, as SQLite has one a file."""
    project = tx.session.scalar(
        select(Project).where(Project.id == project_id).with_for_update().execution_options(populate_existing=True)
    )
    if project is None:
        raise NotFoundError("a project is in the store", value=project_id, next_step="Name one that `loop init` made.")
    return project


def _check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise RefusedError("the holdout's share lies in [0, 1)", value=share, next_step="0.2 is the default.")


def _check_feeds_no_other(tx: Transaction, project: Project, ls_url: str, ls_project_id: int) -> None:
    other = project_by_ls_id(tx.session, ls_project_id, ls_url)
    if other is not None and other.id != project.id:
        raise RefusedError(
            "a project in Label Studio feeds one project here",
            value=f"{ls_project_id} on {ls_url} feeds {other.name!r}",
            next_step="Link another, or work in that one.",
        )

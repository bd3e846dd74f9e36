"""What the store says of the projects that Label Studio may ask about."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.schema import Model, Project


@dataclass(frozen=True, slots=True)
class LinkedProject:
    """A project that is linked to one in Label Studio: its label config, and the model that ought to be in service.

    path: the model's folder, relative to MODEL_DIR; it and `version` are None before the first promotion.
    """

    project_id: int
    name: str
    slug: str
    label_config: str
    labels: tuple[str, ...]
    ls_url: str | None
    ls_project_id: int
    version: str | None
    path: str | None


def linked_projects(session: Session) -> list[LinkedProject]:
    """Every linked project, oldest first."""
    query = (
        select(Project, Model.path)
        .outerjoin(Model, Model.version == Project.promoted_version)
        .where(Project.ls_project_id.is_not(None))
        .order_by(Project.id)
    )
    return [_linked(project, path) for project, path in session.execute(query)]


def _linked(project: Project, path: str | None) -> LinkedProject:
    return LinkedProject(
        project_id=project.id,
        name=project.name,
        slug=project.slug,
        label_config=project.label_config,
        labels=tuple(project.labels),
        ls_url=project.ls_url,
        ls_project_id=project.ls_project_id or 0,
        version=project.promoted_version,
        path=path,
    )

"""The project that a folder's settings name: its row in the store, and its models."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from loop.settings.settings import Settings
from ner.errors import BundleError, ConfigError
from ner.label_studio.label_config import LabelConfig
from store.database.schema import Model, Project
from store.database.session import Store
from store.projects import project_by_name, set_holdout_share, set_label_config, set_label_map
from store.registry import model

if TYPE_CHECKING:
    from ner.models.bundle import Bundle
    from ner.tagger import Tagger

logger = logging.getLogger(__name__)


def current_project(store: Store, settings: Settings) -> Project:
    """The row of the project, with the label map, the holdout's share and the label config as the files say them now.

    A changed share counts for new documents: the others keep their split. Once the project is linked to Label Studio,
    the config there counts (pull brings it) and the file no longer does.
    Raises NotFoundError when the store has no such project, ConfigError for a file that cannot be read, InputError for
    a config that cannot be learned from.
    """
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
    if (settings.label_map or {}) != (project.label_map or {}):
        with store.transaction() as tx:
            project = set_label_map(tx, project.id, settings.label_map or {})
            tx.commit()
    if settings.holdout.share != project.holdout_share:
        logger.info("holdout.share of new documents: %g, and was %g", settings.holdout.share, project.holdout_share)
        with store.transaction() as tx:
            project = set_holdout_share(tx, project.id, settings.holdout.share)
            tx.commit()
    if project.ls_project_id is not None or not settings.labels_file.is_file():
        return project
    written = _read_config(settings.labels_file)
    if written == project.label_config:
        return project
    labels = LabelConfig.parse(written).labels
    logger.info("label config taken over from %s: %s", settings.labels_file, ", ".join(labels))
    with store.transaction() as tx:
        project = set_label_config(tx, project.id, written, labels)
        tx.commit()
    return project


def open_tagger(store: Store, settings: Settings, project: Project, version: str | None = None) -> Tagger:
    """A tagger with the model that `open_bundle` gives. Errors as there."""
    # The runtime of the model is imported by the commands that open one.
    from ner.tagger import Tagger

    return Tagger(open_bundle(store, settings, project, version)[1], settings.backend.threads)


def open_bundle(store: Store, settings: Settings, project: Project, version: str | None = None) -> tuple[Model, Bundle]:
    """(row, bundle) of the model `version`, else of the one in service, verified against the project's labels.

    Raises BundleError when there is none or it is not what it says, NotFoundError for an unknown version.
    """
    from ner.models.bundle import load_bundle

    wanted = version or project.promoted_version
    if wanted is None:
        raise BundleError(
            "a project has a model in service",
            value=f"{project.name} has none yet",
            next_step="Train one with `loop retrain` and promote it with `loop promote`.",
        )
    with store.read() as session:
        found = model(session, wanted)
    folder = settings.library.bundle(found.path, found.files)
    return found, load_bundle(folder, project.labels)


def _read_config(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the label config {path} can be read as UTF-8",
            value=f"{type(error).__name__}: {error}",
            next_step="Save it as UTF-8, or correct its permissions.",
        ) from error

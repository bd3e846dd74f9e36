"""Before a backend serves: whether the inference server that it is told has the right labels."""

from __future__ import annotations

import logging

from ml_backend.models.live_model import LinkedProject, linked_projects
from ml_backend.models.remote_engine import RemoteEngine, open_engine
from ml_backend.settings import ServerSettings
from ner.labels import LabelSet
from ner.models.inference_server import EngineUnavailableError
from store.database.session import open_store
from store.errors import StoreError

log = logging.getLogger(__name__)


def check_engine(settings: ServerSettings) -> None:
    """Raise EngineMismatchError where the server's model has other outputs than the labels of a project need.

    A server that does not answer is no mistake of the settings: the local bundles answer until it does. Nor is a store
    that cannot be read now, since each model is compared again when it is loaded.
    """
    engine = open_engine(settings)
    if engine is None:
        return
    for linked in _promoted(settings):
        _check(engine, linked)


def _check(engine: RemoteEngine, linked: LinkedProject) -> None:
    try:
        engine.check_labels(linked.slug, linked.version or "", LabelSet(linked.labels))
    except EngineUnavailableError as error:
        log.warning("project %s: the local bundle answers first: %s", linked.slug, error)


def _promoted(settings: ServerSettings) -> list[LinkedProject]:
    try:
        store = open_store(settings.store_url, migrate=False)
    except StoreError as error:
        log.warning("the inference server is not checked before the start: %s", error)
        return []
    try:
        with store.read() as session:
            return [linked for linked in linked_projects(session) if linked.version is not None]
    finally:
        store.close()

"""The tagger inside a server that is not this project's own, such as one of label-studio-ml.

With a store, it answers as `/predict` does: by the model that is promoted for the project, and held-out tasks get an
empty answer. Without a store, it answers every task by the one bundle that it was given.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ml_backend.backend import Backend
from ml_backend.models.live_model import Served, load_tagger
from ml_backend.payload import Limits, PredictRequest, UnknownProjectError, parse_config
from ml_backend.predict import find_project, predict, predict_free
from ml_backend.settings import ServerSettings
from ml_backend.starting import check
from ner.containers import with_secret_files
from ner.errors import ConfigError, InputError
from ner.models.bundle import MANIFEST, read_manifest
from store.database.session import open_store
from store.runs import add_hint

Task = dict[str, Any]


class Embedded(Protocol):
    """What answers for label-studio-ml; threads may share it.

    follows_store: whether the store says which model answers, and has the label configs.
    """

    follows_store: bool

    def version(self, project_id: int | None) -> str | None:
        """The version in service for the project; None where no model is."""

    def predict(self, tasks: Sequence[Task], project_id: int | None, config_xml: str | None) -> list[dict[str, Any]]:
        """[{"result", "score", "model_version"}], one for each task, in order. Raises RuleError."""

    def hint(self, project_id: int, action: str) -> bool:
        """Tell the loop that something changed in Label Studio; gives whether there is a loop to tell."""


class StoreTagger:
    """Answers by the models that the store says are promoted, and follows the store."""

    follows_store = True

    def __init__(self, settings: ServerSettings) -> None:
        self._backend = Backend(settings)
        self._backend.start()

    def version(self, project_id: int | None) -> str | None:
        """Also None for a project that is not linked, so that Label Studio can connect first."""
        try:
            return self._served(project_id).version
        except UnknownProjectError:
            return None

    def predict(self, tasks: Sequence[Task], project_id: int | None, config_xml: str | None) -> list[dict[str, Any]]:
        """As `/predict` answers; without `config_xml`, by the label config in the store."""
        backend, served = self._backend, self._served(project_id)
        config = parse_config(config_xml) if config_xml else None
        request = PredictRequest(served.linked.ls_project_id, list(tasks), config)
        return predict(request, served, backend.live, backend.limits, backend.settings.answer_seconds)

    def hint(self, project_id: int, action: str) -> bool:
        """A thread writes the hint to the store."""
        self._backend.hints.add(project_id, action)
        return True

    def close(self) -> None:
        """End the threads."""
        self._backend.stop()

    def _served(self, project_id: int | None) -> Served:
        served = self._backend.live.served
        if project_id is None and len(served) == 1:
            (project_id,) = served
        if project_id is None:
            raise UnknownProjectError(
                "tasks name the project that they belong to",
                value=f"no `project`, and {len(served)} linked projects",
                next_step="Send whole tasks, as Label Studio does.",
            )
        return find_project(served, project_id)


class BundleTagger:
    """Answers by one bundle. `config_xml` is used where the caller has no label config."""

    follows_store = False

    def __init__(self, folder: Path, settings: ServerSettings, config_xml: str | None = None) -> None:
        manifest = read_manifest(folder)
        self._settings, self._config_xml = settings, config_xml
        self._tagger = load_tagger(folder, manifest.version, manifest.labels, settings.model_threads)

    def version(self, project_id: int | None) -> str | None:  # noqa: ARG002 - one bundle answers for every project
        """The bundle's."""
        return self._tagger.version

    def predict(self, tasks: Sequence[Task], project_id: int | None, config_xml: str | None) -> list[dict[str, Any]]:  # noqa: ARG002
        """Every task is answered: without a store, nothing is known to be held out."""
        if not (config_xml or self._config_xml):
            raise InputError(
                "the names of the controls come from the project's label config",
                next_step="Open the model page of the project, so that Label Studio sends it, or set LABEL_CONFIG.",
            )
        settings = self._settings
        limits = Limits(settings.max_tasks, settings.max_text_chars)
        config = parse_config(config_xml or self._config_xml or "")
        return predict_free(self._tagger, list(tasks), config, limits, settings.answer_seconds)

    def hint(self, project_id: int, action: str) -> bool:  # noqa: ARG002 - there is nobody to tell
        """Nobody trains here."""
        return False


_started: dict[int, Embedded] = {}
_starting = threading.Lock()


def embedded(environ: Mapping[str, str] = os.environ) -> Embedded:
    """The tagger of this process, started by the first call; a fork starts its own. Raises RuleError."""
    with _starting:
        pid = os.getpid()
        if pid not in _started:
            _started.clear()
            _started[pid] = start(environ)
        return _started[pid]


def start(environ: Mapping[str, str]) -> Embedded:
    """A tagger as the environment says.

    LOOP_STORE_URL: the loop's store. Without it, BUNDLE_DIR is a bundle, or a folder of bundles of which MODEL_VERSION
    names one. BUNDLE_DIR falls back to MODEL_DIR; label-studio-ml keeps files of its own in MODEL_DIR. LABEL_CONFIG: a
    file with the label config, for a caller that sends none. All other variables are those of `ServerSettings`.
    """
    environ = _with_store_url(environ)
    folder = environ.get("BUNDLE_DIR") or environ.get("MODEL_DIR") or "models"
    if environ.get("LOOP_STORE_URL"):
        own = ServerSettings.from_environ({**environ, "MODEL_DIR": folder})
        check(own)
        return StoreTagger(own)
    settings = ServerSettings.from_environ({**environ, "LOOP_STORE_URL": "none", "MODEL_DIR": folder})
    return BundleTagger(find_bundle(Path(folder), environ.get("MODEL_VERSION", "")), settings, _config_of(environ))


def send_hint(project_id: int, action: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell the loop of a change, from whatever process this is; gives whether there is a loop to tell.

    label-studio-ml 1.0.9 handles each event in a process that it forks for the event. Such a process writes its hint
    to the store by itself, and loads no model. Raises StoreError when the store cannot be written to.
    """
    if os.getpid() in _started:
        return embedded().hint(project_id, action)
    url = _with_store_url(environ).get("LOOP_STORE_URL")
    if not url:
        return False
    store = open_store(url, migrate=False)
    try:
        with store.transaction() as tx:
            add_hint(tx, project_id, action)
            tx.commit()
    finally:
        store.close()
    return True


def find_bundle(folder: Path, version: str) -> Path:
    """The bundle that is `folder`, or the one in it that has this version; an only one needs no version.

    Raises ConfigError, naming what is there.
    """
    if (folder / MANIFEST).is_file() and version in ("", read_manifest(folder).version):
        return folder
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    named = [path for path in found if not version or path.name == version]
    if len(named) == 1:
        return named[0]
    there = ", ".join(path.name for path in found[:10]) or "no bundles"
    raise ConfigError(
        "BUNDLE_DIR is a bundle, or holds the bundle that MODEL_VERSION names",
        value=f"{folder} with {there}; MODEL_VERSION {version or 'is not set'}",
        next_step="Set BUNDLE_DIR (or MODEL_DIR) and MODEL_VERSION, or LOOP_STORE_URL to follow a store.",
    )


def _with_store_url(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the store's address, also where LOOP_STORE_URL_FILE names a file that holds it."""
    read = with_secret_files(environ, ["LOOP_STORE_URL"])
    return {name: value for name, value in read.items() if name != "LOOP_STORE_URL_FILE"}


def _config_of(environ: Mapping[str, str]) -> str | None:
    file = environ.get("LABEL_CONFIG")
    if not file:
        return None
    try:
        xml = Path(file).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError("LABEL_CONFIG is a file that can be read", value=str(error)) from error
    parse_config(xml)
    return xml

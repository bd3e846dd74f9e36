"""The models in service, one for each project. A new model is loaded and proven before it replaces the old model.

A thread of each process asks the store which version is promoted. A request reads one reference and keeps the model
that it got until it has answered. So a request never waits for a promotion, and no promotion fails a request. When a
new model cannot be loaded, the old model stays in service; the thread tries again, after ever longer pauses.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_backend.holdout import Holdout, fingerprint, read_holdout
from ml_backend.models.memory import Trimmer
from ml_backend.models.paired_network import PairedNetwork
from ml_backend.models.request_tagger import RequestTagger
from ner.errors import BundleError, RuleError
from ner.models.bundle import MODEL, Bundle, load_bundle
from ner.models.model_library import ModelLibrary
from ner.models.network import EngineName, Network
from ner.tagger import Tagger
from store.database.schema import Model, Project
from store.database.session import Store, open_store
from store.projects import project_by_id

log = logging.getLogger(__name__)

_FIRST_RETRY, _LAST_RETRY, _DOUBLINGS = 2.0, 60.0, 5
_WARM_UP = "A first answer allocates what later ones use again."
# Reading the splits of a large project takes at most this share of the thread's time.
_SPLIT_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class LinkedProject:
    """A project of the store that is linked to a project in Label Studio, and the model that is promoted for it.

    path: the model's folder, relative to MODEL_DIR. `path` and `version` are None before the first promotion.
    files: the SHA-256 of each of the model's files.
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
    files: Mapping[str, str] = field(default_factory=dict)


def linked_projects(session: Session) -> list[LinkedProject]:
    """Every linked project, oldest first."""
    query = (
        select(Project, Model.path, Model.files)
        .outerjoin(Model, Model.version == Project.promoted_version)
        .where(Project.ls_project_id.is_not(None))
        .order_by(Project.id)
    )
    return [_linked(project, path, files) for project, path, files in session.execute(query)]


def _linked(project: Project, path: str | None, files: Mapping[str, str] | None) -> LinkedProject:
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
        files=files or {},
    )


@dataclass(frozen=True, slots=True)
class Served:
    """What is in service for a project. `problem`: why the promoted version is not in service; None when it is."""

    linked: LinkedProject
    tagger: Tagger | None = None
    holdout: Holdout = field(default_factory=Holdout)
    problem: RuleError | None = None

    @property
    def version(self) -> str | None:
        """The version that answers now."""
        return self.tagger.version if self.tagger is not None else None

    @property
    def engine(self) -> EngineName | None:
        """What gives the logits now."""
        return self.tagger.bundle.network.engine if self.tagger is not None else None

    @property
    def engine_problem(self) -> RuleError | None:
        """Why the inference server does not give the logits; None where none should, or where it does."""
        return self.tagger.bundle.network.engine_problem if self.tagger is not None else None


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom to tell: `changed` that a version took over (slug, old, new), `failed` that one did not load (slug)."""

    changed: Callable[[str, str | None, str | None], object] = lambda *_: None
    failed: Callable[[str], object] = lambda _: None


Attach = Callable[[Bundle, str], Bundle]


def leave(bundle: Bundle, slug: str) -> Bundle:  # noqa: ARG001 - the shape of Attach
    """The bundle as it is: its own network runs in this process."""
    return bundle


def load_tagger(
    folder: Path,
    version: str,
    labels: tuple[str, ...],
    threads: int,
    attach: Callable[[Bundle], Bundle] = lambda bundle: bundle,
) -> Tagger:
    """A tagger whose files are verified and that has answered once; raises BundleError.

    `attach` puts an inference server in front of the bundle's network, where there is one. The order of the labels is
    the model's own: a label config may list the same labels in another order.
    """
    bundle = load_bundle(folder)
    if bundle.manifest.version != version:
        raise BundleError(
            "a model folder holds the version that the store has for it",
            value=f"{folder}: {bundle.manifest.version}, store {version}",
            next_step="Put the model's own folder back, or roll back to another version.",
        )
    check_labels(bundle.labels.types, labels)
    if threads > 1:
        bundle = replace(bundle, network=PairedNetwork(bundle.network, Network(folder / MODEL, threads)))
    tagger = RequestTagger(attach(bundle), threads)
    tagger.tag(_WARM_UP)
    return tagger


def check_labels(model: tuple[str, ...], config: tuple[str, ...]) -> None:
    """Raise BundleError, naming both lists, unless the model and the label config have the same labels."""
    if set(model) != set(config):
        raise BundleError(
            "a model's labels are those of the project's label config",
            value=f"model {sorted(model)}, config {sorted(config)}",
            next_step="Train for the new labels with `loop retrain`, or put the config back.",
        )


class LiveModel:
    """The model of one project, and its splits; used by one thread."""

    def __init__(self, library: ModelLibrary, threads: int, listener: Listener, attach: Attach = leave) -> None:
        self._library, self._threads, self._listener, self._attach = library, threads, listener, attach
        self.path: str | None = None  # of the model in service
        self._served: Served | None = None
        self._wanted: tuple[object, ...] = ()
        self._failures = 0
        self._retry_at = 0.0
        self._fingerprint: tuple[object, ...] = ()
        self._splits_due = 0.0
        self._splits_version: str | None = None

    @property
    def served(self) -> Served | None:
        """What to serve now; None until the splits are read, because a held-out task must not be answered."""
        return self._served if self._fingerprint else None

    def follow(self, linked: LinkedProject, store: Store) -> None:
        """Load the promoted model where it is new and can be loaded, and read the splits where they have changed.

        Raises StoreError when the splits cannot be read; then the model and the last splits are kept.
        """
        served = replace(self._served, linked=linked) if self._served is not None else Served(linked)
        self._served = self._load(served)
        self._served = self._read_splits(self._served, store)

    def close(self) -> None:
        """Tell the listener that the project is served no longer."""
        if self._served is not None and self._served.version is not None:
            self._listener.changed(self._served.linked.slug, self._served.version, None)

    def _load(self, served: Served) -> Served:
        linked = served.linked
        if linked.version == served.version:
            return replace(served, problem=None)
        if linked.version is None or linked.path is None:
            self._listener.changed(linked.slug, served.version, None)
            self.path = None
            return replace(served, tagger=None, problem=None)
        wanted = (linked.version, linked.labels)
        if wanted == self._wanted and time.monotonic() < self._retry_at:
            return served
        if wanted != self._wanted:
            self._wanted, self._failures = wanted, 0
        try:
            folder = self._library.bundle(linked.path, linked.files)
            tagger = load_tagger(
                folder,
                linked.version,
                linked.labels,
                self._threads,
                lambda bundle: self._attach(bundle, linked.slug),
            )
        except RuleError as error:
            return self._failed(served, error)
        except Exception as error:
            log.exception("loading %s failed in a way that nobody foresaw", linked.version)
            return self._failed(served, BundleError("a model folder can be loaded", value=repr(error)))
        log.info("project %s: %s is in service, after %s", linked.slug, tagger.version, served.version or "none")
        self._listener.changed(linked.slug, served.version, tagger.version)
        self.path = linked.path
        return replace(served, tagger=tagger, problem=None)

    def _failed(self, served: Served, error: RuleError) -> Served:
        wait = min(_FIRST_RETRY * 2 ** min(self._failures, _DOUBLINGS), _LAST_RETRY)
        self._failures += 1
        self._retry_at = time.monotonic() + wait
        self._listener.failed(served.linked.slug)
        log.error(
            "project %s: %s cannot be served, %s stays; next try in %.0f s: %s",
            served.linked.slug,
            served.linked.version,
            served.version or "no model",
            wait,
            error,
        )
        return replace(served, problem=error)

    def _read_splits(self, served: Served, store: Store) -> Served:
        started = time.monotonic()
        linked, version = served.linked, served.version
        if started < self._splits_due and version == self._splits_version:
            return served
        with store.read() as session:
            now = (linked.ls_url, linked.ls_project_id, *fingerprint(session, linked.project_id, version))
            if now != self._fingerprint:
                holdout = read_holdout(session, project_by_id(session, linked.project_id), version)
                served, self._fingerprint = replace(served, holdout=holdout), now
        self._splits_version = version
        ended = time.monotonic()
        self._splits_due = ended + (ended - started) / _SPLIT_SHARE
        return served


class LiveModels:
    """Follows the store for every linked project. Start it in the process that serves, after any fork."""

    def __init__(
        self,
        store_url: str,
        library: ModelLibrary,
        *,
        poll_seconds: float,
        threads: int,
        listener: Listener | None = None,
        attach: Attach = leave,
    ) -> None:
        self._store_url, self._library = store_url, library
        self._poll_seconds, self._threads = poll_seconds, threads
        self._listener, self._attach = listener or Listener(), attach
        self._models: dict[int, LiveModel] = {}
        self._served: Mapping[int, tuple[Served, ...]] = {}
        self._store: Store | None = None
        self._opening = threading.Lock()
        self._store_problem: RuleError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Load what is promoted, then follow the store from a thread; the thread waits for a store that is away."""
        self._stop.clear()
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="live-models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let go of the store."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._store is not None:
            self._store.close()

    @property
    def served(self) -> Mapping[int, tuple[Served, ...]]:
        """What is served for each project id of Label Studio; several where projects of two servers share an id."""
        return self._served

    @property
    def store_problem(self) -> RuleError | None:
        """Why the store could not be read the last time; None when it could."""
        return self._store_problem

    def store(self) -> Store:
        """The open store; raises StoreError when it cannot be opened."""
        with self._opening:
            if self._store is None:
                self._store = open_store(self._store_url, migrate=False)
            return self._store

    def refresh(self) -> None:
        """Bring what is served in line with the store. Never raises: what cannot be read now stays as it was."""
        try:
            with self.store().read() as session:
                linked = linked_projects(session)
            problems = [self._follow_one(project) for project in linked]
            self._drop_all_but({project.project_id for project in linked})
            self._library.release(keep={model.path for model in self._models.values() if model.path is not None})
        except RuleError as error:
            self._note_store(error)
        except Exception:
            log.exception("following the store failed; what is in service stays")
        else:
            self._note_store(next((problem for problem in problems if problem is not None), None))

    def _follow_one(self, project: LinkedProject) -> RuleError | None:
        """Follow one project; gives why the store could not be read for it, so that the others are followed as well."""
        model, problem = self._model(project.project_id), None
        try:
            model.follow(project, self.store())
        except RuleError as error:
            problem = error
        except Exception:
            log.exception("project %s: following it failed; what is in service stays", project.slug)
        if model.served is not None:
            self._put(model.served)
        return problem

    def _model(self, project_id: int) -> LiveModel:
        if project_id not in self._models:
            self._models[project_id] = LiveModel(self._library, self._threads, self._listener, self._attach)
        return self._models[project_id]

    def _put(self, served: Served) -> None:
        """Serve this from now on. One reference is replaced: a request sees the old mapping or the new mapping."""
        self._serve([*self._others({served.linked.project_id}), served])

    def _drop_all_but(self, project_ids: set[int]) -> None:
        gone = self._models.keys() - project_ids
        for project_id in gone:
            self._models.pop(project_id).close()
        if gone:
            self._serve(self._others(gone))

    def _others(self, project_ids: set[int]) -> list[Served]:
        every = (served for group in self._served.values() for served in group)
        return [served for served in every if served.linked.project_id not in project_ids]

    def _serve(self, every: list[Served]) -> None:
        by_ls_id: dict[int, tuple[Served, ...]] = {}
        for served in every:
            key = served.linked.ls_project_id
            by_ls_id[key] = (*by_ls_id.get(key, ()), served)
        self._served = by_ls_id

    def _note_store(self, problem: RuleError | None) -> None:
        if problem is not None and self._store_problem is None:
            log.error("the store cannot be read, what is in service stays: %s", problem)
        if problem is None and self._store_problem is not None:
            log.info("the store can be read again")
        self._store_problem = problem

    def _follow(self) -> None:
        trimmer = Trimmer()
        while not self._stop.wait(self._poll_seconds):
            self.refresh()
            trimmer.trim()

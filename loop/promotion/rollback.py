"""`loop rollback`: an earlier model serves again, and the annotations that the withdrawn models led to are found.

The pointer moves in one transaction, which the backend follows. The work in Label Studio comes after it. Where that
work fails, the rollback stands, and the same rollback given again by its version does what was left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from loop.label_studio.client import LabelStudioClient
from loop.settings.settings import Settings
from loop.sync.publish import PublishCounts, publish
from loop.sync.pull import linked_project_id, pull
from loop.sync.requeue import offer_again, requeue
from ner.errors import RuleError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import to_result
from ner.models.bundle import Bundle, load_bundle
from ner.models.shared_folder import SharedFolderError
from ner.spans import Span
from ner.tagger import Tagger
from store import registry
from store.database.schema import HOLDOUT, Project, Promotion
from store.database.session import Store, Transaction
from store.documents import stored_documents
from store.errors import RefusedError, RunHeldError
from store.gold import gold
from store.predictions import (
    BegunFromPrelabel,
    Published,
    begun_from_prelabels,
    moves,
    predictions,
    published_on,
    version_shown,
    withdrawn_since,
)
from store.projects import project_by_id
from store.registry import model, promotions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Affected:
    """An annotation that was begun from a pre-label of `version`, a withdrawn model.

    annotator: the number of Label Studio's user. at: when the annotation was submitted. unchanged: the annotation says
    exactly what the pre-label said, and so may be a mistake of the model that nobody looked at; None where the
    pre-label is not known. gold: the annotation is the gold of its text now.
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
    """The affected annotations, oldest first. exact: each was found by its prediction, none by comparing times."""

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
    not be asked. The version of any other prediction is told by times: see `version_shown`. An empty prediction, as
    the holdout gets it, showed nobody anything: an annotation that was begun from it is not affected.
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
        version = known.get(item.parent_prediction) or version_shown(item.made_at, shown, moved)
        if version is not None and version in withdrawn and not _was_blind(item, version, shown):
            affected.append(_affected(item, version, shown, gold=item.annotation_version_id in believed))
    return Found(tuple(affected), exact)


def _was_blind(item: BegunFromPrelabel, version: str, shown: Iterable[Published]) -> bool:
    """Whether nothing was shown. The backend, too, gives an empty prediction for a text of the holdout."""
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


NOT_LINKED = "the project is not linked to Label Studio"


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A rollback as it stands.

    withdrawn: the versions that served since `version` last did; the one that `version` replaced comes last. affected:
    the annotations that were begun from pre-labels of the withdrawn versions, found by the predictions themselves where
    `exact`, else guessed from times. requeued: how many tasks stand in the queue again, None where that was not asked
    or not reached. published: what was sent. publish_problem: why Label Studio does not have all predictions yet;
    `loop run` sends the rest.
    """

    version: str
    withdrawn: tuple[str, ...]
    reason: str
    who: str
    at: datetime
    affected: tuple[Affected, ...]
    exact: bool
    requeued: int | None
    published: PublishCounts | None
    publish_problem: str | None

    @property
    def previous(self) -> str:
        """The version that was in service until then."""
        return self.withdrawn[-1]


def rollback(
    store: Store,
    settings: Settings,
    project: Project,
    *,
    who: str,
    reason: str,
    to: str | None = None,
    client: LabelStudioClient | None = None,
    requeue: bool = False,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> RolledBack:
    """Put the model that was in service before (or `to`) back, once its bundle is verified; then see to Label Studio.

    With a `client` of the linked server, new annotations are pulled, the affected annotations are found, their tasks go
    back into the queue where `requeue` says so, and the predictions of the restored version are published. The result
    says where the server refused or did not answer. Where a rollback put `to` into service already, that rollback and
    its reason stand, and only the work in Label Studio is done again.

    The pointer moves without the project's lock, so that a rollback works while a training runs. Raises the errors of
    the registry, and BundleError for a bundle that the backend would not serve: one that is not what it says, or has
    other labels than the project.
    """
    moved, withdrawn, bundle = _move(store, settings, project, who=who, reason=reason, to=to)
    begin = RolledBack(moved.version, withdrawn, moved.reason, moved.who, moved.at, (), False, None, None, None)
    return _AfterMove(store, project, client, bundle, begin, threads, progress).all(requeue)


def _move(
    store: Store, settings: Settings, project: Project, *, who: str, reason: str, to: str | None
) -> tuple[Promotion, tuple[str, ...], Bundle]:
    decide = partial(_decided, project=project, who=who, reason=reason, to=to)
    version, bundle = _verified(store, settings, project, decide)
    with store.transaction() as tx:
        decision = decide(tx)
        if decision.version != version:
            raise RefusedError(
                "nobody else moves the project's models meanwhile", value=decision.version, next_step="Try again."
            )
        before = [one for one in moves(promotions(tx.session, project.id)) if one.id < decision.id]
        withdrawn = withdrawn_since(before, decision.version)
        tx.commit()
    return decision, withdrawn, bundle


def _decided(tx: Transaction, *, project: Project, who: str, reason: str, to: str | None) -> Promotion:
    return _standing(tx, project, to) or registry.rollback(tx, project.id, reason=reason, who=who, to=to)


def _verified(
    store: Store, settings: Settings, project: Project, decide: Callable[[Transaction], Promotion]
) -> tuple[str, Bundle]:
    """(the version that will serve, its verified bundle). No transaction is open while the bundle is fetched."""
    with store.transaction() as tx:  # never committed
        found = model(tx.session, decide(tx).version)
        version, path, files = found.version, found.path, dict(found.files)
    try:
        settings.library.share(path, files)  # a backend must be able to fetch it
    except SharedFolderError as error:
        logger.warning("%s served before, and is put back although it cannot be sent again: %s", version, error)
    return version, load_bundle(settings.library.bundle(path, files), project.labels)


def _standing(tx: Transaction, project: Project, to: str | None) -> Promotion | None:
    """The rollback that put `to` into service, None where `to` serves for another reason or not at all."""
    if to is None or project_by_id(tx.session, project.id).promoted_version != to:
        return None
    last = moves(promotions(tx.session, project.id))[-1]
    return last if last.action == registry.ROLLBACK else None


@dataclass(slots=True)
class _AfterMove:
    """The work in Label Studio that follows the move of the pointer."""

    store: Store
    project: Project
    client: LabelStudioClient | None
    bundle: Bundle
    result: RolledBack
    threads: int
    progress: Callable[[int, int], None] | None

    def all(self, put_back: bool) -> RolledBack:
        """Find, put back, publish. Where the server refuses, the result says so, and holds what the store knows."""
        if self.client is None or self.project.ls_project_id is None:
            self._find(None)
            return replace(self.result, publish_problem=NOT_LINKED if self.project.ls_project_id is None else None)
        try:
            self._with_server(self.client, put_back)
        except RuleError as error:
            if not self.result.exact:
                self._find(None)
            return replace(self.result, publish_problem=str(error))
        return self.result

    def _find(self, versions: Mapping[int, str] | None) -> None:
        found = find_affected(self.store, self.project, self.result.withdrawn, versions)
        self.result = replace(self.result, affected=found.affected, exact=found.exact)

    def _with_server(self, client: LabelStudioClient, put_back: bool) -> None:
        ls_project_id = linked_project_id(self.project, client)
        self._pull(client)
        self._find(client.prediction_versions(ls_project_id, tasks_to_ask_about(self.store, self.project)))
        queued: Sequence[int] = self._requeue(client, ls_project_id) if put_back else ()
        with closing(Tagger(self.bundle, self.threads)) as tagger:
            published = publish(self.store, client, self.project, tagger, progress=self.progress)
        self.result = replace(self.result, published=published)
        self._offer_again(client, queued)

    def _requeue(self, client: LabelStudioClient, ls_project_id: int) -> Sequence[int]:
        """The tasks that stand in the queue again. They are pulled once more, so that they get their predictions."""
        doubted: dict[int, set[int]] = {}
        for item in self.result.affected:
            doubted.setdefault(item.task_id, set()).add(item.annotation_id)
        done = requeue(client, ls_project_id, doubted, self.result.at)
        self.result = replace(self.result, requeued=len(done.queued))
        if done.opened or done.closed:
            self._pull(client)
        return done.queued

    def _pull(self, client: LabelStudioClient) -> None:
        """Pull new annotations, unless `loop run` pulls just now."""
        with suppress(RunHeldError):
            pull(self.store, client, self.project)

    def _offer_again(self, client: LabelStudioClient, queued: Sequence[int]) -> None:
        """The queue never offers a task twice to one person: tasks of this key's user come as drafts."""
        if not queued:
            return
        me = str(client.whoami().get("id"))
        mine = {item.document_id for item in self.result.affected if item.annotator == me and item.task_id in queued}
        offer_again(client, self._prelabels(mine))

    def _prelabels(self, document_ids: set[int]) -> dict[int, list[dict[str, Any]]]:
        """The published predictions of the restored version for these texts, by task id."""
        with self.store.read() as session:
            config = LabelConfig.parse(project_by_id(session, self.project.id).label_config)
            known = predictions(session, self.result.version)
            documents = stored_documents(session, self.project.id, document_ids=document_ids)
        return {
            doc.ls_task_id: to_result(
                known[doc.document_id].spans if doc.document_id in known else (), doc.text, config
            )
            for doc in documents
            if doc.ls_task_id is not None
        }

"""Give the open tasks the predictions of what serves, and let Label Studio show and order them by these.

A model serves or, before there is one, the agreed votes of the sources of weak labels, under a version of their own.

The store notes each prediction before it is sent, and confirms it once Label Studio has it and shows it. A publish
that was cut off in between leaves predictions of which the store does not know whether they arrived: the next publish
asks Label Studio for them, and settles the difference.

Predictions of earlier versions stay: their deletion is slow, and breaks the link from annotations to what was shown.
Of the version in service a prediction is replaced where the task's text was edited since, and where the document was
drawn into the holdout or left the holdout.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Protocol

from loop.label_studio.client import UNCERTAINTY, Json, LabelStudioClient, LabelStudioError
from loop.sync.pull import linked_project_id, note_deletions
from loop.sync.queue import QueueItem, least_confident_first, plan
from ner.errors import ConfigError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import clip_score, read_result, to_result
from ner.labels import LabelSet
from ner.tagger import Tagging
from store.database.schema import HOLDOUT, Prediction, Project
from store.database.session import Store
from store.documents import StoredDocument, open_documents
from store.predictions import NewPrediction, confirm_predictions, predictions, save_predictions, save_ranks
from store.projects import project_by_id
from store.runs import tracked
from store.tasks import edited_documents

KIND = "publish"
_BAD_REQUEST = 400


class Predictor(Protocol):
    """What pre-labels texts: the tagger of the model in service, or the agreed votes."""

    @property
    def version(self) -> str:
        """The name under which its predictions stand."""

    @property
    def labels(self) -> LabelSet:
        """The entity types that it knows."""

    def tag_many(self, texts: Iterable[str], progress: Callable[[int], object] | None = None) -> Sequence[Tagging]:
        """A tagging for each text, in order; `progress` is called with the number done."""


@dataclass(frozen=True)
class PublishCounts:
    """What a publishing did. open: tasks to be labelled that are in the store; sent and created: predictions now.

    carried: open tasks that carried this version already; holdout: those sent that are held out, and thus empty.
    deleted: tasks found to be gone on the way. activated: the project's `model_version` or sampling had to be set.
    there: predictions of this version that the project holds now, labelled tasks' too. server_seconds: time spent
    waiting for Label Studio.
    """

    version: str
    open: int = 0
    carried: int = 0
    sent: int = 0
    created: int = 0
    holdout: int = 0
    deleted: int = 0
    activated: bool = False
    there: int = 0
    server_seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether Label Studio was changed."""
        return self.activated or self.created > 0


def publish(
    store: Store,
    client: LabelStudioClient,
    project: Project,
    predictor: Predictor,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> PublishCounts:
    """Send what open tasks lack of the predictor's version, in one call, then make it the version that is shown.

    Safe to repeat, also after a kill: the server is asked what it has. `progress` is called with (tagged, to tag).
    Raises LabelStudioError when the server fails or stores fewer predictions than it was sent, ConfigError when the
    project is not linked to this server or lacks a label of the predictor, RunHeldError while another publish is at
    work.
    """
    with tracked(store, project.id, KIND, exclusive=True) as run:
        waited = client.http.seconds
        counts = _Publish(store, client, project, predictor, progress or (lambda _done, _total: None)).all()
        counts = replace(counts, server_seconds=round(client.http.seconds - waited, 3))
        run.counts.update(asdict(counts))
    return counts


def still_stands(client: LabelStudioClient, project: Project, version: str, there: int) -> bool:
    """Whether Label Studio holds as many predictions of `version` as the last publishing left, and goes by them.

    Two cheap requests, to notice what people deleted or set there. Raises LabelStudioError, ConfigError.
    """
    ls_project_id = linked_project_id(project, client)
    number = client.model_versions(ls_project_id).get(version, 0)
    return number == there and not _to_set(client.project(ls_project_id), version if number else None)


_Tasks = dict[int, StoredDocument]


@dataclass
class _Publish:
    """One publishing at work. Tasks are named by Label Studio's ids."""

    store: Store
    client: LabelStudioClient
    project: Project
    predictor: Predictor
    progress: Callable[[int, int], None]

    def __post_init__(self) -> None:
        self.version = self.predictor.version
        self.ls_project_id = linked_project_id(self.project, self.client)
        self.settings = self.client.project(self.ls_project_id)
        self.config = LabelConfig.parse(str(self.settings["label_config"]))
        _check_labels(self.predictor, self.config)

    def all(self) -> PublishCounts:
        """Find what is lacking or wrong, note what is to be sent, send it, activate the version, confirm."""
        tasks = self._open_tasks()
        lacking = self._lacking(tasks)
        wrong = self._settle({task: tasks[task] for task in tasks.keys() - lacking})
        items = self._plan(tasks, lacking | wrong)
        self._note(NewPrediction(item.document.document_id, item.score, item.spans, item.holdout) for item in items)
        try:
            created, deleted = self._send(items, wrong), 0
        except LabelStudioError as error:
            deleted = note_deletions(self.store, self.client, self.project) if error.status == _BAD_REQUEST else 0
            if not deleted:
                raise
            still_open = self._open_tasks()
            tasks = {task: document for task, document in tasks.items() if task in still_open}
            items = [item for item in items if item.document.ls_task_id in tasks]
            created = self._send(items, wrong)
        activated = self._activate(any_carry=created > 0 or bool(tasks.keys() - lacking))
        self._confirm(tasks)
        return PublishCounts(
            version=self.version,
            open=len(tasks),
            carried=len(tasks) - len(items),
            sent=len(items),
            created=created,
            holdout=sum(item.holdout for item in items),
            deleted=deleted,
            activated=activated,
            there=self.client.model_versions(self.ls_project_id).get(self.version, 0),
        )

    def _open_tasks(self) -> _Tasks:
        with self.store.read() as session:
            documents = open_documents(session, self.project.id, tasks_only=True)
        return {document.ls_task_id: document for document in documents if document.ls_task_id is not None}

    def _lacking(self, tasks: _Tasks) -> set[int]:
        """The open tasks that carry no prediction of this version."""
        versions = self.client.model_versions(self.ls_project_id)
        if not tasks or not versions.get(self.version):
            return set(tasks)
        return tasks.keys() & self.client.open_tasks_without(self.ls_project_id, self.version, versions)

    def _settle(self, carrying: _Tasks) -> set[int]:
        """The tasks whose prediction of this version has to be replaced.

        Label Studio is asked for the predictions that the store does not know, or does not know to have arrived: those
        of a publish that was cut off, and those that Label Studio got from the ML backend. What may stay is noted as
        Label Studio has it.
        """
        with self.store.read() as session:
            known = predictions(session, self.version)
            edited = edited_documents(session, self.project.id)
        confirmed = {key for key, row in known.items() if row.confirmed_at is not None}
        there = self._there([task for task, document in carrying.items() if document.document_id not in confirmed])
        wrong, stays = set[int](), list[NewPrediction]()
        for task, document in carrying.items():
            row, held = known.get(document.document_id), document.split == HOLDOUT
            if not _may_stay(held, row, there.get(task, ()), edited=document.document_id in edited):
                wrong.add(task)
            elif row is None or row.holdout != held:
                stays.append(self._as_it_is_there(document, there[task][-1]))
        self._note(stays)
        return wrong

    def _there(self, tasks: Sequence[int]) -> dict[int, list[Json]]:
        """Label Studio's predictions of this version, by task."""
        found = self.client.predictions(self.ls_project_id, tasks) if tasks else {}
        return {
            task: [one for one in listed if one.get("model_version") == self.version] for task, listed in found.items()
        }

    def _as_it_is_there(self, document: StoredDocument, prediction: Json) -> NewPrediction:
        spans = read_result(prediction["result"], document.text, self.config).spans
        score = clip_score(float(prediction.get("score") or 0.0))
        return NewPrediction(document.document_id, score, spans, holdout=document.split == HOLDOUT)

    def _plan(self, tasks: _Tasks, wanted: Collection[int]) -> list[QueueItem]:
        """Items for these tasks; their scores fall in among those of the other open tasks."""
        with self.store.read() as session:
            known = predictions(session, self.version)
            salt = project_by_id(session, self.project.id).salt
        others = [known.get(document.document_id) for task, document in tasks.items() if task not in wanted]
        published = [row.score for row in others if row is not None and not row.holdout]
        pool = [tasks[task] for task in tasks if task in wanted and tasks[task].split != HOLDOUT]
        held = [tasks[task] for task in tasks if task in wanted and tasks[task].split == HOLDOUT]
        taggings = self.predictor.tag_many(
            (document.text for document in pool), lambda done: self.progress(done, len(pool))
        )
        return plan(list(zip(pool, taggings, strict=True)), held, published, salt)

    def _note(self, new: Iterable[NewPrediction]) -> None:
        """Store what is there, or may be there from now on."""
        with self.store.transaction() as tx:
            if save_predictions(tx, self.version, new):
                tx.commit()

    def _send(self, items: Sequence[QueueItem], wrong: Collection[int]) -> int:
        """Delete what is wrong, and send all items in one call; gives how many predictions were created."""
        if not items:
            return 0
        replaced = [task for item in items if (task := item.document.ls_task_id) in wrong and task is not None]
        for prediction in chain.from_iterable(self._there(replaced).values()):
            self.client.delete_prediction(int(prediction["id"]))
        sent = [self._as_prediction(item) for item in items]
        created = self.client.import_predictions(self.ls_project_id, sent)
        if created != len(sent):
            raise LabelStudioError(
                f"{self.client.url} stores every prediction that it is sent",
                value=f"{created} of {len(sent)} created",
                next_step="It drops, without a word, those that do not fit the label config: compare the model's labels"
                " with the project's, pull, and publish again (only what is missing will be sent).",
            )
        return created

    def _as_prediction(self, item: QueueItem) -> Json:
        """The item as Label Studio's import takes it. Raises InputError for a label outside the config."""
        return {
            "task": item.document.ls_task_id,
            "result": to_result(item.spans, item.document.text, self.config),
            "score": item.score,
            "model_version": self.version,
        }

    def _activate(self, *, any_carry: bool) -> bool:
        """Show this version, and order the queue by it. A version that no prediction carries would be refused."""
        carried = any_carry or self.client.model_versions(self.ls_project_id).get(self.version)
        missing = _to_set(self.settings, self.version if carried else None)
        if missing:
            self.client.update_project(self.ls_project_id, **missing)
        return bool(missing)

    def _confirm(self, tasks: _Tasks) -> None:
        """Note that every open task shows its prediction, and the order of all of them, in one transaction."""
        open_documents = {document.document_id for document in tasks.values()}
        with self.store.transaction() as tx:
            if not confirm_predictions(tx, self.version, open_documents):
                return
            shown = predictions(tx.session, self.version)
            scores = {key: row.score for key, row in shown.items() if key in open_documents}
            save_ranks(tx, self.version, [(key, scores[key]) for key in least_confident_first(scores)])
            tx.commit()


def _may_stay(held: bool, row: Prediction | None, there: Sequence[Json], *, edited: bool) -> bool:
    """Whether a task's prediction is right. `there`: what Label Studio has, where the store does not know that.

    A held-out text shows nothing of what a model says. Any other text shows what the model says of its present words.
    """
    if row is not None and row.confirmed_at is not None:
        return row.holdout == held
    if not there:
        return False
    if held:
        return not any(one["result"] for one in there)
    if row is not None and bool(row.spans) != any(one["result"] for one in there):
        return False  # a publish that was cut off noted this prediction, and did not send it
    return not edited and not (row is not None and row.holdout)


def _to_set(settings: Mapping[str, Any], version: str | None) -> dict[str, Any]:
    """The project's settings that are not as they must be for the queue, and for `version` to be shown."""
    wanted = {"sampling": UNCERTAINTY, "show_collab_predictions": True}
    if version is not None:
        wanted["model_version"] = version
    return {key: value for key, value in wanted.items() if settings.get(key) != value}


def _check_labels(predictor: Predictor, config: LabelConfig) -> None:
    unknown = sorted(set(predictor.labels.types) - set(config.labels))
    if unknown:
        raise ConfigError(
            "the project's label config has every label of what pre-labels",
            value=f"{predictor.version} also knows {', '.join(unknown)}",
            next_step="Put them back into the config, or pull and retrain: `loop pull`, `loop retrain --from-scratch`.",
        )

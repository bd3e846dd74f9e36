"""Who is asked about next: pure functions from confidences to an order, and the place of the holdout in it.

Label Studio serves tasks in ascending prediction score, so a score is a confidence in 0..1: low means worth labelling.

What is published for each open task, and in which order the tasks will be offered. Pure.

A pool task gets its pre-label and its confidence as score. A holdout task gets an empty prediction, so that what
annotators are shown cannot leak into what judges the model, and a score that spreads it evenly through the pool.

Give the open tasks the predictions of the model in service, and let Label Studio show and order them by it.

Predictions of earlier versions stay: deleting them is slow, and breaks the link from annotations to what was shown.
Those of the version in service are deleted only where the task's text was edited since, whose words their regions no
longer mark, and where the document was drawn into the holdout, or left it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loop.label_studio.client import UNCERTAINTY, LabelStudioClient, LabelStudioError
from loop.sync.pull import linked_project_id, note_deletions
from ner.errors import ConfigError
from ner.label_config import LabelConfig
from ner.label_studio import clip_score, to_result
from ner.spans import Span
from ner.tagger import Tagger, Tagging
from store.documents import StoredDocument, open_documents
from store.predictions import NewPrediction, misplaced_predictions, predictions, save_predictions, save_ranks
from store.projects import project_by_id
from store.runs import tracked
from store.schema import HOLDOUT, Project
from store.session import Store
from store.tasks import edited_documents


def least_confident_first(confidences: Mapping[int, float]) -> list[int]:
    """The keys in ascending confidence; ties by key, so that the order can be repeated.

    Uncertainty sampling: Lewis and Gale, "A sequential algorithm for training text classifiers", SIGIR 1994.
    """
    return sorted(confidences, key=lambda key: (confidences[key], key))


def spread(keys: Mapping[int, str], confidences: Sequence[float], salt: str) -> dict[int, float]:
    """A score for each of `keys` (an id and its name) that puts them evenly among `confidences` when sorted.

    The holdout is met in the stream at the rate at which it stands in the open tasks, whatever the model thinks of it.
    Stratified: with h keys over m confidences, the j-th of the shuffled keys lands at a random place within ranks
    j*m/h..(j+1)*m/h. Shuffle and places come from hashes of salt and name: the same in every run, and even in the long
    run when keys come one at a time.
    """
    ladder = [0.0, *sorted(confidences), 1.0]
    shuffled = sorted(keys, key=lambda key: _uniform(salt, "order", keys[key]))
    return {
        key: _score_at((j + _uniform(salt, "place", keys[key])) / len(shuffled), ladder)
        for j, key in enumerate(shuffled)
    }


def _score_at(quantile: float, ladder: Sequence[float]) -> float:
    """The score at `quantile` (0..1) of the ranks: between the two confidences that stand around that place."""
    gaps = len(ladder) - 1
    place = min(quantile * gaps, gaps - 1e-9)
    below = int(place)
    return ladder[below] + (ladder[below + 1] - ladder[below]) * (place - below)


def _uniform(*parts: str) -> float:
    """A number in 0..1 (1 excluded) from the SHA-256 of the parts."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One open task's prediction: `score` (0..1) is its place in Label Studio's queue, `spans` what annotators see."""

    document: StoredDocument
    spans: tuple[Span, ...]
    score: float
    holdout: bool


def plan(
    pool: Sequence[tuple[StoredDocument, Tagging]],
    holdout: Sequence[StoredDocument],
    published: Iterable[float],
    salt: str,
) -> list[QueueItem]:
    """An item for each document, first to be offered first; the holdout is not even tagged.

    `published`: scores of this version's predictions on pool tasks that are still open, among which new ones fall in.
    """
    scores = {document.document_id: clip_score(tagging.confidence) for document, tagging in pool}
    held = {document.document_id: document.external_id for document in holdout}
    scores |= spread(held, [*scores.values(), *published], salt)
    items = [QueueItem(doc, tagging.spans, scores[doc.document_id], holdout=False) for doc, tagging in pool]
    items += [QueueItem(doc, (), scores[doc.document_id], holdout=True) for doc in holdout]
    by_id = {item.document.document_id: item for item in items}
    return [by_id[key] for key in least_confident_first(scores)]


def as_prediction(item: QueueItem, config: LabelConfig, version: str) -> Mapping[str, Any]:
    """The item as Label Studio's import takes it. Raises InputError for a label outside the config."""
    return {
        "task": item.document.ls_task_id,
        "result": to_result(item.spans, item.document.text, config),
        "score": item.score,
        "model_version": version,
    }


KIND = "publish"
_BAD_REQUEST = 400


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
    tagger: Tagger,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> PublishCounts:
    """Send what open tasks lack of `tagger`'s version, in one call, then make it the version that is shown.

    Safe to repeat, also after a kill: the server is asked what it has. `progress` is called with (tagged, to tag).
    Raises LabelStudioError when the server fails or stores fewer predictions than it was sent, ConfigError when the
    project is not linked to this server or lacks a label of the model, RunHeldError while another publish is at work.
    """
    with tracked(store, project.id, KIND, exclusive=True) as run, client.http.announcing(run.beat):
        waited = client.http.seconds
        work = _Publish(store, client, project, tagger, progress, run.beat)
        counts = work.all()
        counts = PublishCounts(**(asdict(counts) | {"server_seconds": round(client.http.seconds - waited, 3)}))
        run.counts.update(asdict(counts))
    return counts


def still_stands(client: LabelStudioClient, project: Project, version: str, there: int) -> bool:
    """Whether Label Studio holds as many predictions of `version` as the last publishing left, and goes by them.

    Two cheap requests, to notice what people deleted or set there. Raises LabelStudioError, ConfigError.
    """
    ls_project_id = linked_project_id(project, client)
    number = client.model_versions(ls_project_id).get(version, 0)
    return number == there and not _to_set(client.project(ls_project_id), version if number else None)


class _Publish:
    """One publishing at work."""

    def __init__(
        self,
        store: Store,
        client: LabelStudioClient,
        project: Project,
        tagger: Tagger,
        progress: Callable[[int, int], None] | None,
        beat: Callable[[], None],
    ) -> None:
        self.store, self.client, self.project, self.tagger = store, client, project, tagger
        self.version = tagger.version
        self.progress, self.beat = progress, beat
        self.ls_project_id = linked_project_id(project, client)
        self.settings = client.project(self.ls_project_id)
        self.config = LabelConfig.parse(str(self.settings["label_config"]))
        _check_labels(tagger, self.config)

    def all(self) -> PublishCounts:
        """Plan, send, activate, remember."""
        documents = self._open_documents()
        lacking = self._lacking(documents)
        stale = self._stale(documents, lacking)
        lacking |= stale
        items = self._plan(documents, lacking)
        try:
            self._take_back(stale)
            created = self._send(items, lacking)
            deleted = 0
        except LabelStudioError as error:
            if error.status != _BAD_REQUEST:
                raise
            deleted = note_deletions(self.store, self.client, self.project)
            if not deleted:
                raise
            documents = self._open_documents()
            live = {document.document_id for document in documents}
            items = [item for item in items if item.document.document_id in live]
            self._take_back(stale & {document.ls_task_id for document in documents})
            created = self._send(items, lacking)
        activated = self._activate(any_carry=created > 0 or len(lacking) < len(documents))
        self._remember(items, documents)
        sent = _sent(items, lacking)
        return PublishCounts(
            version=self.version,
            open=len(documents),
            carried=len(documents) - len(sent),
            sent=len(sent),
            created=created,
            holdout=sum(item.holdout for item in sent),
            deleted=deleted,
            activated=activated,
            there=self.client.model_versions(self.ls_project_id).get(self.version, 0),
        )

    def _open_documents(self) -> list[StoredDocument]:
        with self.store.read() as session:
            return open_documents(session, self.project.id, tasks_only=True)

    def _lacking(self, documents: Sequence[StoredDocument]) -> set[int]:
        """The task ids among the open ones that carry no prediction of this version."""
        tasks = {document.ls_task_id for document in documents if document.ls_task_id is not None}
        versions = self.client.model_versions(self.ls_project_id)
        if not tasks or not versions.get(self.version):
            return tasks
        return tasks & self.client.open_tasks_without(self.ls_project_id, self.version, versions)

    def _stale(self, documents: Sequence[StoredDocument], lacking: Collection[int]) -> set[int]:
        """The task ids whose prediction of this version was made of a text that has been edited since, or is misplaced.

        An edited text is a new document, for which no prediction is remembered. A document that was drawn into the
        holdout must lose its pre-label, and one that left it may have one.
        """
        with self.store.read() as session:
            edited = edited_documents(session, self.project.id) - predictions(session, self.version).keys()
            wrong = edited | misplaced_predictions(session, self.version)
        stale = {doc.ls_task_id for doc in documents if doc.document_id in wrong and doc.ls_task_id is not None}
        return stale - set(lacking)

    def _take_back(self, stale: Collection[int]) -> None:
        """Delete what was predicted of the earlier texts. A task that is gone is refused with 400."""
        for task_id in sorted(stale):
            for prediction_id in self.client.prediction_ids(task_id, self.version):
                self.client.delete_prediction(prediction_id)

    def _plan(self, documents: Sequence[StoredDocument], lacking: Collection[int]) -> list[QueueItem]:
        """Items for what is to be sent, and for what was sent by a run that ended before it could remember it."""
        with self.store.read() as session:
            known = predictions(session, self.version)
            salt = project_by_id(session, self.project.id).salt
        wanted = [doc for doc in documents if doc.ls_task_id in lacking or doc.document_id not in known]
        there = {doc.document_id for doc in documents} - {doc.document_id for doc in wanted}
        published = [known[key].score for key in there if not known[key].holdout]
        pool = [document for document in wanted if document.split != HOLDOUT]
        held = [document for document in wanted if document.split == HOLDOUT]

        def told(done: int) -> None:
            self.beat()
            if self.progress is not None:
                self.progress(done, len(pool))

        taggings = self.tagger.tag_many((document.text for document in pool), told)
        return plan(list(zip(pool, taggings, strict=True)), held, published, salt)

    def _send(self, items: Sequence[QueueItem], lacking: Collection[int]) -> int:
        sent = _sent(items, lacking)
        if not sent:
            return 0
        created = self.client.import_predictions(
            self.ls_project_id, [as_prediction(item, self.config, self.version) for item in sent]
        )
        if created != len(sent):
            raise LabelStudioError(
                f"{self.client.url} stores every prediction that it is sent",
                value=f"{created} of {len(sent)} created",
                next_step="It drops, without a word, those that do not fit the label config: compare the model's labels"
                " with the project's, pull, and publish again (only what is missing will be sent).",
            )
        return created

    def _activate(self, *, any_carry: bool) -> bool:
        """Show this version, and order the queue by it. A version that no prediction carries would be refused."""
        carried = any_carry or self.client.model_versions(self.ls_project_id).get(self.version)
        missing = _to_set(self.settings, self.version if carried else None)
        if missing:
            self.client.update_project(self.ls_project_id, **missing)
        return bool(missing)

    def _remember(self, items: Sequence[QueueItem], documents: Sequence[StoredDocument]) -> None:
        """Keep what is shown, and the order of all open tasks, in one transaction."""
        if not items:
            return
        new = [NewPrediction(item.document.document_id, item.score, item.spans, item.holdout) for item in items]
        with self.store.transaction() as tx:
            save_predictions(tx, self.version, new)
            shown = predictions(tx.session, self.version)
            scores = {doc.document_id: shown[doc.document_id].score for doc in documents if doc.document_id in shown}
            save_ranks(tx, self.version, sorted(scores.items(), key=lambda pair: (pair[1], pair[0])))
            tx.commit()


def _sent(items: Sequence[QueueItem], lacking: Collection[int]) -> list[QueueItem]:
    return [item for item in items if item.document.ls_task_id in lacking]


def _to_set(settings: Mapping[str, Any], version: str | None) -> dict[str, Any]:
    """The project's settings that are not as they must be for the queue, and for `version` to be shown."""
    wanted = {"sampling": UNCERTAINTY, "show_collab_predictions": True}
    if version is not None:
        wanted["model_version"] = version
    return {key: value for key, value in wanted.items() if settings.get(key) != value}


def _check_labels(tagger: Tagger, config: LabelConfig) -> None:
    unknown = sorted(set(tagger.labels.types) - set(config.labels))
    if unknown:
        raise ConfigError(
            "the project's label config has every label of the model",
            value=f"{tagger.version} also knows {', '.join(unknown)}",
            next_step="Put them back into the config, or pull and retrain: `loop pull`, `loop retrain --from-scratch`.",
        )

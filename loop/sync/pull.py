"""Bring what changed in Label Studio into the store: incremental, idempotent, and resumable after any page.

Each page is stored in one transaction with the watermark that it reaches. What happens with skips, deletions, edited
texts and whatever cannot be learned from is stated in README under "Rules". Drafts are not listed as annotations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from loop.label_studio.client import Json, LabelStudioClient, TaskQuery
from loop.sync.pages import TaskIdDifference, TaskReader, Watermark, advanced, compare_ids, start_from
from loop.sync.tasks import (
    MALFORMED_ANNOTATION,
    ReadTask,
    RefusedTask,
    by_several_people,
    read_task,
    task_ids,
    task_reference,
    without_spans_of_earlier_texts,
)
from ner.errors import ConfigError
from ner.label_studio.label_config import LabelConfig, NotLearned
from ner.label_studio.results import TEXT_REFUSED
from store.annotations import LABEL_STUDIO, NewAnnotation, NewSetAside, mend_set_aside, save_set_aside, sync_annotations
from store.counts import Doubts, counted
from store.database.schema import Project
from store.database.session import Store, Transaction
from store.projects import project_by_id, set_label_config, set_overlap, set_pulled_label_map, set_watermark
from store.runs import forget_runs, last_run, tracked
from store.tasks import live_task_ids, mark_deleted, places_set_aside, set_aside_without_document, upsert_tasks

KIND = "pull"
UNSERVABLE = "Label Studio cannot serve this task"
RETRY_AFTER = timedelta(minutes=5)
_TRIED_AT = "unservable_tried_at"
# What may be in order the next time that the task is read.
_OF_TASKS = (UNSERVABLE, TEXT_REFUSED, MALFORMED_ANNOTATION)
# By these Label Studio decides when a task counts as labelled; a change of them moves no task's `updated_at`.
_OVERLAP_SETTINGS = ("maximum_annotations", "overlap_cohort_percentage", "skip_queue")
_PAGE_SIZE = 100
_RUNS_KEPT = 500
_RELINK = "Correct LABEL_STUDIO_URL, or say `loop connect --moved` if it is the same server at a new address."


@dataclass(frozen=True)
class PullCounts:
    """What a pull saw and stored. A task counts again when it was updated meanwhile.

    tasks: read. new: stored for the first time. edited: with another text than before, stored as new documents.
    refused: without a text that can be labelled. unservable: tasks that the server could not list whole. deleted: gone
    from the server. annotations: read. versions: annotations that were stored because something had changed. removed:
    annotations that are gone from their task. skipped, ground_truth: annotations of this kind. several_annotators:
    tasks that more than one person annotated. set_aside: what cannot be learned from, by reason. config_changed: the
    label config had changed, and everything was read again; labels_added and labels_removed say how. overlap_changed:
    the number of annotations that a task needs had changed, and everything was read again. label_map_changed: the
    `[label_map]` of loop.toml had changed, and everything was read again. doubts: of the tasks that were read, those
    that are in doubt, since something in their annotations was not understood. converted: annotations by what their
    offsets count, of those whose words stand in the text only if the offsets do not count code points. server_seconds:
    time spent waiting for Label Studio.
    """

    pages: int = 0
    tasks: int = 0
    new: int = 0
    edited: int = 0
    refused: int = 0
    unservable: int = 0
    deleted: int = 0
    annotations: int = 0
    versions: int = 0
    removed: int = 0
    skipped: int = 0
    ground_truth: int = 0
    several_annotators: int = 0
    set_aside: Mapping[str, int] = field(default_factory=dict)
    config_changed: bool = False
    labels_added: tuple[str, ...] = ()
    labels_removed: tuple[str, ...] = ()
    overlap_changed: bool = False
    label_map_changed: bool = False
    doubts: Doubts = field(default_factory=Doubts)
    converted: Mapping[str, int] = field(default_factory=dict)
    server_seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether the store holds anything now that it did not hold before."""
        parts = (self.new, self.edited, self.deleted, self.versions, self.removed)
        return self.config_changed or self.overlap_changed or any(parts)


def pull(
    store: Store, client: LabelStudioClient, project: Project, *, page_size: int = _PAGE_SIZE, full: bool = False
) -> PullCounts:
    """Pull the linked project's tasks and annotations since the last pull; `full`: all of them, compared by id.

    Raises ConfigError when the project is linked to no project on this server, LabelStudioError when the server fails
    (what was stored until then stays, and the next pull goes on from there), RunHeldError while another pull is at
    work, InputError for a label config that cannot be learned from.
    """
    with tracked(store, project.id, KIND, exclusive=True) as run:
        work = _Pull(store, client, project.id, page_size)
        counts = work.all(full)
        run.counts.update(asdict(counts), **work.remembered)
        with store.transaction() as tx:
            forget_runs(tx, project.id, KIND, keep=_RUNS_KEPT)
            tx.commit()
    return counts


def note_deletions(store: Store, client: LabelStudioClient, project: Project) -> int:
    """Mark the tasks that are gone from Label Studio, by comparing all ids; gives how many."""
    work = _Pull(store, client, project.id, _PAGE_SIZE)
    work.compare(all_ids=True)
    return work.counts["deleted"]


class _Pull:
    """One pull at work."""

    def __init__(self, store: Store, client: LabelStudioClient, project_id: int, page_size: int) -> None:
        self.store, self.client, self.project_id = store, client, project_id
        with store.read() as session:
            row = project_by_id(session, project_id)
            last = last_run(session, project_id, KIND)
            before = last.counts if last else {}
            self.before = Watermark.remembered(row.pull_watermark, before)
            self.places = places_set_aside(session, project_id, _OF_TASKS)
        self.label_config, self.labels, self.overlap = row.label_config, row.labels, row.ls_overlap
        self.ls_project_id = linked_project_id(row, client)
        self.reader = TaskReader(client, self.ls_project_id, page_size)
        self.config = LabelConfig.parse(row.label_config)
        self.label_map, self.pulled_map = row.label_map or {}, row.pulled_label_map
        self.counts: Counter[str] = Counter()
        self.aside: Counter[str] = Counter()
        self.doubted: dict[int, list[NotLearned]] = {}
        self.converted: Counter[str] = Counter()
        self.states: set[tuple[int, str]] = set()
        self.unservable: set[int] = set()
        # What the next pull is told by this one's counts.
        self.remembered: dict[str, Any] = {_TRIED_AT: before.get(_TRIED_AT)}

    def all(self, full: bool) -> PullCounts:
        """Config, changed tasks, tasks that could not be served before, deleted tasks."""
        began_at, waited = datetime.now(UTC), self.client.http.seconds
        settings = self.client.project(self.ls_project_id)
        written = str(settings["label_config"])
        changed = written.strip() != self.label_config.strip()  # the server strips it
        overlap = {name: settings.get(name) for name in _OVERLAP_SETTINGS}
        if changed or full or overlap != self.overlap or self.label_map != self.pulled_map:
            self._read_everything_again(written, overlap)
        reached = self._pages()
        self._try_again(began_at)
        self.compare(all_ids=full)
        if reached is not None:
            after = advanced(self.before, reached, began_at=began_at, ended_at=datetime.now(UTC))
            self.remembered |= after.as_counts()
        old, new = set(self.labels), set(self.config.labels)
        tallied: dict[str, Any] = dict(self.counts)
        return PullCounts(
            **tallied,
            set_aside=dict(self.aside),
            config_changed=changed,
            labels_added=tuple(sorted(new - old)),
            labels_removed=tuple(sorted(old - new)),
            overlap_changed=self.overlap is not None and overlap != self.overlap,
            label_map_changed=self.pulled_map is not None and self.label_map != self.pulled_map,
            doubts=counted(self.doubted.values()),
            converted=dict(self.converted),
            server_seconds=round(self.client.http.seconds - waited, 3),
        )

    def _read_everything_again(self, label_config: str, overlap: Mapping[str, Any]) -> None:
        """Begin at the first task. If this pull is interrupted, the next pull goes on with the same settings.

        Another config or label map may read old results as other spans, and so may a newer release of this program, for
        which no map is remembered yet. Another overlap opens or closes tasks without moving their `updated_at`.
        """
        self.config = LabelConfig.parse(label_config)
        with self.store.transaction() as tx:
            set_label_config(tx, self.project_id, label_config, self.config.labels)
            set_overlap(tx, self.project_id, overlap)
            set_pulled_label_map(tx, self.project_id, self.label_map)
            set_watermark(tx, self.project_id, None)
            tx.commit()
        self.before = None

    def _pages(self) -> datetime | None:
        """Store every page; the last moment reached, now or by an earlier pull."""
        reached = self.before.moment if self.before else None
        for page in self.reader.pages(start_from(self.before)):
            with self.store.transaction() as tx:
                self._store_page(tx, page.tasks, page.unservable)
                set_watermark(tx, self.project_id, page.read_until)
                tx.commit()
            self.counts["pages"] += 1
            reached = max(filter(None, (reached, page.read_until)))
        return reached

    def _try_again(self, now: datetime) -> None:
        """Read what the server could not serve in earlier pulls, every few minutes: its trouble may have passed."""
        tried_at = self.remembered[_TRIED_AT]
        if tried_at is not None and now - datetime.fromisoformat(tried_at) < RETRY_AFTER:
            return
        with self.store.read() as session:
            aside = set_aside_without_document(session, self.project_id, (UNSERVABLE,))
        waiting = sorted(task_ids(aside) - self.unservable)
        if not waiting:
            return
        self.remembered[_TRIED_AT] = now.isoformat()
        tasks = self.reader.again(waiting)
        with self.store.transaction() as tx:
            self._store_page(tx, tasks)
            tx.commit()

    def _store_page(self, tx: Transaction, tasks: Sequence[Json], failed: Iterable[int] = ()) -> None:
        fresh = [task for task in tasks if (task["id"], task["updated_at"]) not in self.states]
        self.states.update((task["id"], task["updated_at"]) for task in fresh)
        read = [read_task(task, self.config, self.label_map) for task in fresh]
        refused = [item for item in read if isinstance(item, RefusedTask)]
        self._mend(tx, (item.task_id for item in read))
        self._store_tasks(tx, [item for item in read if isinstance(item, ReadTask)])
        mark_deleted(tx, self.project_id, [item.task_id for item in refused])
        aside = [item.aside for item in refused]
        unservable = sorted(set(failed) - self.unservable)
        self.unservable.update(unservable)
        aside += [NewSetAside(task_reference(key), UNSERVABLE, {"task": key}) for key in unservable]
        self._set_aside(tx, aside)
        self.counts.update(tasks=len(fresh) + len(unservable), refused=len(refused), unservable=len(unservable))

    def _store_tasks(self, tx: Transaction, tasks: list[ReadTask]) -> None:
        stored = upsert_tasks(tx, self.project_id, [task.document for task in tasks])
        listed = {stored.document_ids[task.task_id]: task.annotations for task in tasks}
        annotations = without_spans_of_earlier_texts(tx.session, self.project_id, listed)
        synced = sync_annotations(tx, LABEL_STUDIO, annotations)
        malformed = [
            NewSetAside(task_reference(task.task_id), item.reason, item.payload, stored.document_ids[task.task_id])
            for task in tasks
            for item in task.malformed
        ]
        self._set_aside(tx, malformed)
        self.counts.update(new=stored.added, edited=stored.changed, versions=synced.added, removed=synced.deleted)
        self._count_annotations(annotations.values())
        self.converted.update(unit.value for task in tasks for unit in task.units)
        for document, given in annotations.items():
            self.doubted[document] = [doubt for item in given if not item.skipped for doubt in item.doubts]

    def _count_annotations(self, by_task: Iterable[Iterable[NewAnnotation]]) -> None:
        for listed in map(list, by_task):
            self.counts.update(
                annotations=len(listed),
                skipped=sum(item.skipped for item in listed),
                ground_truth=sum(item.ground_truth for item in listed),
                several_annotators=int(by_several_people(listed)),
            )
            self.aside.update(part.reason for item in listed for part in item.set_aside)

    def _mend(self, tx: Transaction, read_or_gone: Iterable[int]) -> None:
        """What was set aside of these tasks counts no more; what is still wrong with them is set aside again."""
        places = {task_reference(key) for key in read_or_gone} & self.places
        if places:
            mend_set_aside(tx, self.project_id, places, _OF_TASKS)
            self.places -= places

    def _set_aside(self, tx: Transaction, items: list[NewSetAside]) -> None:
        save_set_aside(tx, self.project_id, items)
        self.places.update(item.source_ref for item in items)
        self.aside.update(item.reason for item in items)

    def compare(self, *, all_ids: bool) -> None:
        """Mark tasks that are gone, and read those that are there though no page showed them."""
        found = self._difference(all_ids)
        if found.gone:
            with self.store.transaction() as tx:
                self.counts["deleted"] += mark_deleted(tx, self.project_id, found.gone)
                self._mend(tx, found.gone)
                tx.commit()
        unseen = sorted(found.unseen)
        for begin in range(0, len(unseen), self.reader.page_size):
            page = self.reader.read(TaskQuery(ids=tuple(unseen[begin : begin + self.reader.page_size])))
            if page is not None:
                with self.store.transaction() as tx:
                    self._store_page(tx, page.tasks, page.unservable)
                    tx.commit()

    def _difference(self, all_ids: bool) -> TaskIdDifference:
        """How the tasks that we know differ from the server's; tasks that were set aside whole are known, too."""
        with self.store.read() as session:
            known = live_task_ids(session, self.project_id)
            aside = set_aside_without_document(session, self.project_id, (TEXT_REFUSED, UNSERVABLE))
        nameless = task_ids(aside) - known
        there = self.client.existing(self.ls_project_id, sorted(nameless))
        found = TaskIdDifference(gone=frozenset(nameless - there))
        if all_ids or self.client.task_number(self.ls_project_id) != len(known | there):
            found |= compare_ids(self.client, self.ls_project_id, known | there)
        return found


def linked_project_id(project: Project, client: LabelStudioClient) -> int:
    """The id of the linked project on this server; raises ConfigError when there is none."""
    if project.ls_project_id is None or project.ls_url != client.url:
        raise ConfigError(
            f"project {project.name!r} is linked to a project on {client.url}",
            value=f"{project.ls_project_id} on {project.ls_url}" if project.ls_project_id else "no link",
            next_step=_RELINK if project.ls_project_id else "Link it with `loop connect`.",
        )
    return project.ls_project_id

"""Runs: the commands at work on a project, and how each of them ended. Beside them, the hints of webhooks.

A run belongs to one process: its host, its pid, and the start time of the process, since pids are used again. On its
own host a run is dead when its process is gone (a zombie is gone). No process can look into another host. A run of
another host is dead when its heartbeat is more than ten minutes old; `tracked` stores a heartbeat every minute. Hosts
are told apart by name: two machines or containers that share a store need different names. Start times are compared to
two seconds. A clock that is set by more than that while a run is at work makes the run look dead.

A run is dead, too, for the process that it belonged to, once it is over there, even where its end could not be stored.

An exclusive run takes the place of a dead one. A run that is only slow may lose its place that way. Such a run learns
it from `TrackedRun.transaction`, before it changes anything.

A hint is a webhook's word that something changed in Label Studio: a reason to pull sooner. A lost hint costs nothing.
"""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psutil
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ner.errors import RuleError
from store.database.columns import storable, utc_now
from store.database.schema import Hint, Model, Project, Run
from store.database.session import Store, Transaction, chunks
from store.errors import NotFoundError, RefusedError, RunHeldError
from store.projects import lock_project

logger = logging.getLogger(__name__)

RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"
# Kinds of runs that change a project's models and their folders, of which one runs at a time. A run of any other kind
# excludes its own kind only.
RETRAIN, PROMOTE, RENEW, MEND = "retrain", "promote", "renew-holdout", "mend"
_OF_MODELS = frozenset({RETRAIN, PROMOTE, RENEW, MEND})
TRAINING = "training"
STALE_AFTER = timedelta(minutes=10)
BEAT_SECONDS = 60.0
HINTS_KEPT = timedelta(days=1)
_SAME_START_SECONDS = 2.0
# Runs of this process that are over although the store could not be told so: (id, started_at). They are dead.
_OVER: set[tuple[int, datetime]] = set()


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run whose process is gone, and the versions it was training."""

    run_id: int
    kind: str
    pid: int
    host: str
    started_at: datetime
    models: tuple[str, ...]


@dataclass(slots=True)
class TrackedRun:
    """A run at work. `replaced`: the dead runs whose place it took. `counts` is stored when the run ends well."""

    id: int
    project_id: int
    store: Store
    replaced: tuple[Interrupted, ...] = ()
    counts: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write transaction that holds the project's row.

        Raises RunHeldError, before anything is written, when another process took this run for dead.
        """
        with self.store.transaction() as tx:
            lock_project(tx, self.project_id)
            _check_running(tx, self.id)
            yield tx


@contextmanager
def tracked(store: Store, project_id: int, kind: str, *, exclusive: bool = False) -> Iterator[TrackedRun]:
    """Begin a run, keep its heart beating, and store how it ended.

    It ends done, failed with the error, or interrupted (by Ctrl-C or exit). `exclusive` raises RunHeldError while a
    live run that excludes this kind is at work, and ends dead ones.
    """
    with store.transaction() as tx:
        replaced = recover(tx, project_id, _excluded_by(kind)) if exclusive else []
        run = begin_run(tx, project_id, kind, exclusive=exclusive)
        tx.commit()
    at_work = TrackedRun(run.id, project_id, store, tuple(replaced))
    over = (run.id, run.started_at)
    try:
        with _beating(store, run.id):
            yield at_work
    except BaseException as error:
        if not _note_failure(store, run.id, error):
            _OVER.add(over)
        raise
    if not _note_end(at_work):
        _OVER.add(over)


def begin_run(tx: Transaction, project_id: int, kind: str, *, exclusive: bool = False) -> Run:
    """A running run of this process; `exclusive` raises RunHeldError while a live run that excludes it is at work."""
    lock_project(tx, project_id)
    if exclusive:
        check_free(tx.session, project_id, kind)
    now = utc_now()
    own = psutil.Process()
    run = Run(
        project_id=project_id,
        kind=kind,
        state=RUNNING,
        pid=own.pid,
        process_started=own.create_time(),
        host=platform.node(),
        started_at=now,
        heartbeat_at=now,
        counts={},
    )
    tx.session.add(run)
    tx.session.flush()
    return run


def heartbeat(tx: Transaction, run_id: int) -> None:
    """Tell other hosts that the run is alive."""
    _running(tx, run_id).heartbeat_at = utc_now()
    tx.session.flush()


def finish_run(tx: Transaction, run_id: int, counts: Mapping[str, Any] | None = None) -> None:
    """Note that the run ended well, with what it did."""
    _end(tx, run_id, DONE, counts=dict(counts or {}))


def fail_run(tx: Transaction, run_id: int, error: str, *, interrupted: bool = False) -> None:
    """Note that the run failed or was interrupted; models it left in training end with it."""
    _end(tx, run_id, INTERRUPTED if interrupted else FAILED, error=error)
    _end_training(tx, run_id, INTERRUPTED if interrupted else FAILED, error)


def recover(tx: Transaction, project_id: int, kinds: Collection[str] | None = None) -> list[Interrupted]:
    """Mark dead runs (of these kinds where given), and the models they were training, as interrupted; gives them.

    Runs of this process that are over are marked whatever their kind: other processes take them for alive.
    """
    lock_project(tx, project_id)
    found = []
    for run in _running_runs(tx.session, project_id):
        wanted = kinds is None or run.kind in kinds or _is_over(run)
        if is_alive(run) or not wanted:
            continue
        tx.session.refresh(run, with_for_update=True)  # its process may have stored its end or a heartbeat meanwhile
        if run.state != RUNNING or is_alive(run):
            continue
        error = f"process {run.pid} on {run.host} ended without a word"
        _end(tx, run.id, INTERRUPTED, error=error)
        models = _end_training(tx, run.id, INTERRUPTED, error)
        found.append(Interrupted(run.id, run.kind, run.pid, run.host, run.started_at, models))
    return found


def last_run(session: Session, project_id: int, kind: str, *, state: str | None = DONE) -> Run | None:
    """The latest run of a kind that ended well, or in another state; None for any state."""
    query = select(Run).where(Run.project_id == project_id, Run.kind == kind)
    if state is not None:
        query = query.where(Run.state == state)
    return session.scalar(query.order_by(Run.id.desc()).limit(1))


def forget_runs(tx: Transaction, project_id: int, kind: str, *, keep: int) -> int:
    """Remove all ended runs of a kind that happens every few seconds, but the latest `keep`; gives how many."""
    lock_project(tx, project_id)
    ended = [Run.project_id == project_id, Run.kind == kind, Run.state != RUNNING]
    kept = select(Run.id).where(*ended).order_by(Run.id.desc()).limit(keep).subquery()
    old = list(tx.session.scalars(select(Run.id).where(*ended, Run.id.not_in(select(kept.c.id)))))
    for chunk in chunks(old):
        tx.session.execute(delete(Run).where(Run.id.in_(chunk)).execution_options(synchronize_session=False))
    return len(old)


def is_alive(run: Run) -> bool:
    """Whether the run's process is still there, as far as can be told from here."""
    if run.host != platform.node():
        return utc_now() - run.heartbeat_at < STALE_AFTER
    if _is_over(run):
        return False
    try:
        process = psutil.Process(run.pid)
        same = abs(float(process.create_time()) - run.process_started) < _SAME_START_SECONDS
        return same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _is_over(run: Run) -> bool:
    return (run.id, run.started_at) in _OVER


@contextmanager
def _beating(store: Store, run_id: int) -> Iterator[None]:
    """Store a heartbeat every minute, from a thread with a connection of its own, until the block ends."""
    ended = threading.Event()
    thread = threading.Thread(
        target=_beat_until, args=(ended, store, run_id), name=f"heart of run {run_id}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat_until(ended: threading.Event, store: Store, run_id: int) -> None:
    while not ended.wait(BEAT_SECONDS):
        try:
            with store.transaction() as tx:
                heartbeat(tx, run_id)
                tx.commit()
        except RuleError as error:
            logger.warning("the heartbeat of run %d could not be stored: %s", run_id, error)
            if isinstance(error, RefusedError):
                return  # another process ended the run; what is left of it learns that from `TrackedRun.transaction`


def _note_end(run: TrackedRun) -> bool:
    """Store that a run ended well; False where that fails. What the run did was committed, and stands all the same."""
    try:
        with run.store.transaction() as tx:
            finish_run(tx, run.id, run.counts)
            tx.commit()
    except RuleError as error:
        logger.warning("the end of run %d could not be noted: %s", run.id, error)
        return False
    return True


def _note_failure(store: Store, run_id: int, error: BaseException) -> bool:
    """Store how a run failed; False where even that fails. The error that ended the run stays the one to be raised."""
    try:
        with store.transaction() as tx:
            interrupted = not isinstance(error, Exception)
            fail_run(tx, run_id, f"{type(error).__name__}: {error}", interrupted=interrupted)
            tx.commit()
    except RuleError as second:
        error.add_note(f"The store could not note it: {second}")
        return False
    return True


def _excluded_by(kind: str) -> frozenset[str]:
    return _OF_MODELS if kind in _OF_MODELS else frozenset({kind})


def check_free(session: Session, project_id: int, kind: str) -> None:
    """Raise RunHeldError while a live run is at work that excludes this kind; an exclusive run asks as it begins."""
    excluded = _excluded_by(kind)
    for run in _running_runs(session, project_id):
        if run.kind in excluded and is_alive(run):
            what = "training or promotion" if excluded is _OF_MODELS else kind
            raise RunHeldError(
                f"one {what} at a time works on a project",
                value=f"{run.kind} of process {run.pid} on {run.host} since {run.started_at:%Y-%m-%d %H:%M:%S} UTC",
                next_step="Wait for it, or end that process.",
            )


def _check_running(tx: Transaction, run_id: int) -> None:
    run = tx.session.get_one(Run, run_id, with_for_update=True, populate_existing=True)
    if run.state != RUNNING:
        raise RunHeldError(
            "a run changes a project only while it holds the project",
            value=f"run {run_id} no longer does: {run.error or run.state}",
            next_step="Another process took it for dead. Wait for that process, then run the command again.",
        )


def _running_runs(session: Session, project_id: int) -> list[Run]:
    query = select(Run).where(Run.project_id == project_id, Run.state == RUNNING)
    return list(session.scalars(query.order_by(Run.id)))


def _running(tx: Transaction, run_id: int) -> Run:
    run = tx.session.get(Run, run_id, with_for_update=True, populate_existing=True)
    if run is None:
        raise NotFoundError("a run is in the store", value=run_id)
    if run.state != RUNNING:
        raise RefusedError(
            "a run ends once",
            value=f"run {run_id} is {run.state}: {run.error or 'no error'}",
            next_step="Begin another one.",
        )
    return run


def _end(
    tx: Transaction, run_id: int, state: str, *, counts: dict[str, Any] | None = None, error: str | None = None
) -> None:
    run = _running(tx, run_id)
    run.state, run.finished_at = state, utc_now()
    run.error = None if error is None else storable(error)
    run.counts = counts or {}
    tx.session.flush()


def _end_training(tx: Transaction, run_id: int, state: str, error: str) -> tuple[str, ...]:
    query = select(Model).where(Model.run_id == run_id, Model.state == TRAINING).order_by(Model.number)
    models = list(tx.session.scalars(query))
    for model in models:
        model.state, model.error, model.finished_at = state, storable(error), utc_now()
    tx.session.flush()
    return tuple(model.version for model in models)


def add_hint(tx: Transaction, ls_project_id: int, action: str) -> int:
    """Store a hint, whether or not one project here is linked to that id; gives the hint's id."""
    linked = list(tx.session.scalars(select(Project.id).where(Project.ls_project_id == ls_project_id)))
    hint = Hint(
        project_id=linked[0] if len(linked) == 1 else None,
        ls_project_id=ls_project_id,
        action=action,
        received_at=utc_now(),
    )
    tx.session.add(hint)
    tx.session.flush()
    return hint.id


def pending_hints(session: Session, ls_project_id: int) -> list[Hint]:
    """Hints about a project in Label Studio that nobody acted on yet, oldest first."""
    query = select(Hint).where(Hint.ls_project_id == ls_project_id, Hint.handled_at.is_(None))
    return list(session.scalars(query.order_by(Hint.id)))


def handle_hints(tx: Transaction, hint_ids: Iterable[int]) -> None:
    """Note that a pull which began after these hints came has ended, and forget all others that are a day old.

    A hint of yesterday that nobody acted on is worth nothing: whoever begins to pull pulls everything first.
    """
    now, given = utc_now(), list(hint_ids)
    for chunk in chunks(given):
        unhandled = update(Hint).where(Hint.id.in_(chunk), Hint.handled_at.is_(None)).values(handled_at=now)
        tx.session.execute(unhandled)
    # The last one stays, so that no id is given twice: who waits for hints remembers the last id that it saw.
    newest = max(given, default=0)
    old = delete(Hint).where(Hint.received_at < now - HINTS_KEPT, Hint.id < newest)
    tx.session.execute(old.execution_options(synchronize_session=False))

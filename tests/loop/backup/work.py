"""What tests of backups do to a project and ask of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from sqlalchemy import select

from loop.cli.app import run
from loop.settings.settings import Settings
from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.schema import AnnotationVersion
from store.database.session import Store, open_store
from store.documents import NewDocument, add_documents
from store.projects import project_by_name
from tests.loop.desk import Desk


def store_of(home: Path) -> Store:
    """The open store of the project in this folder."""
    return open_store(Settings.load(home, {}).store_url)


def add_texts(store: Store, number: int, prefix: str = "excel") -> list[int]:
    """Commit texts; gives their ids."""
    with store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        texts = [NewDocument(f"{prefix} {n} on windows", external_id=f"{prefix} {n}") for n in range(number)]
        added = add_documents(tx, project.id, texts, "train")
        tx.commit()
    return list(added.document_ids)


def annotate(store: Store, documents: list[int], number: int) -> None:
    """Commit one more text, and one more version of an annotation of each document: all of that, or nothing."""
    result = [{"value": {"start": 0, "end": 5, "labels": ["SOFTWARE"]}, "number": number}]
    new = NewAnnotation(
        source=FILE, source_id="1", result=result, spans=(Span(0, 5, "SOFTWARE"),), lead_time=float(number)
    )
    with store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        add_documents(tx, project.id, [NewDocument(f"word {number}", external_id=f"more {number}")], "train")
        append_annotations(tx, [(document, new) for document in documents])
        tx.commit()


def chains(store: Store) -> dict[int, list[tuple[int, float | None]]]:
    """(sequence, lead time) of the annotation versions of each document, in the order of the database."""
    found: dict[int, list[tuple[int, float | None]]] = {}
    version = AnnotationVersion
    query = select(version.document_id, version.sequence, version.lead_time).order_by(version.id)
    with store.read() as session:
        for document, sequence, lead_time in session.execute(query):
            found.setdefault(document, []).append((sequence, lead_time))
    return found


@contextmanager
def annotators_at_work(home: Path, documents: list[int]) -> Iterator[Callable[[], int]]:
    """Somebody who annotates all documents again and again, one transaction each time; gives how often so far."""
    done, ended = [0], threading.Event()
    store = store_of(home)

    def work() -> None:
        while not ended.is_set():
            annotate(store, documents, 1000 + done[0])
            done[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        ended.set()
        thread.join()
        store.close()


# In place of a call of a function, from 1, the process is killed.
_KILL = """
import os, signal, sys
from importlib import import_module
from itertools import count

def kill_at(module, name, number):
    calls, function = count(1), getattr(module, name)
    def called(*args, **options):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)
    setattr(module, name, called)

"""


def killed(desk: Desk, command: tuple[str, ...], *places: tuple[ModuleType, str, int]) -> None:
    """Run the command in a new process; SIGKILL ends it at one of these calls: (module, function, which call).

    A fork of this process would not do: now and then it waits for ever for a lock that a thread of the tests held.
    """
    kills = [f"kill_at(import_module({module.__name__!r}), {name!r}, {number})" for module, name, number in places]
    code = "\n".join([_KILL, *kills, f"from {run.__module__} import run", "run(sys.argv[1:])"])
    words = [sys.executable, "-c", code, "-C", str(desk.home), *command]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, f"the command ended by itself: {ended.stdout}{ended.stderr}"

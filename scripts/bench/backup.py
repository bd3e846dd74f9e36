"""Backup and restore of a large project while annotators submit: python -m scripts.bench.backup FOLDER

Makes a project of 10,000 documents and 10 models in FOLDER, on SQLite and on a PostgreSQL of its own. Each document has
two annotations of six regions, four weak votes, and a prediction of each model; each model has its training items. The
models are copies of one real bundle: the packaged encoder with a random classifier, by the loop's own export.

Then annotators submit, each submission being one transaction as a pull writes it. Meanwhile `loop backup` runs as a
process of its own: into an empty folder, and again into the same folder after one more model. `loop restore` restores
the second backup into an empty place. The script tells the time, the peak memory and the size of each, and how long a
submission takes with and without a backup beside it. At the end `loop doctor` looks at the restored project, and the
rows are compared with the manifest.

FOLDER keeps the bundle and the SQLite project, which are not made again. The results are printed as Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sqlalchemy import select, text

from loop.settings.toml_text import with_values
from ner.models.bundle import read_manifest, write_bundle
from ner.spans import Span
from scripts.bench.serving.prepare_backend import TYPES, prepare
from store.annotations import LABEL_STUDIO, NewAnnotation, append_annotations
from store.database.dump import count_rows
from store.database.schema import Document
from store.database.session import Store, open_store
from store.documents import NewDocument
from store.predictions import NewPrediction, save_predictions
from store.projects import link, project_by_name
from store.registry import TrainedOn, finish_model, promote, save_training_items, start_model
from store.runs import begin_run, finish_run
from store.tasks import upsert_tasks
from store.weak.votes import StoredVote, replace_votes
from tests.store import cluster

DATABASES = ("sqlite", "postgresql")
NAME = "desk"
_WORDS = ("the", "printer", "shows", "error", "0x80070005", "after", "updates", "of", "windows", "11", "and", "outlook")
_PAGE = 1_000
_QUIET_SECONDS = 5.0
_COLUMNS = ("step", "seconds", "peak MB", "MB in the backup", "MB written", "submissions", "median ms", "slowest ms")
_WITH_GAPS = (
    "SELECT count(*) FROM (SELECT 1 FROM annotation_versions GROUP BY document_id, source, source_id "
    "HAVING count(*) <> max(sequence)) AS found"
)


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments, make what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--annotators", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two submissions of an annotator")
    parser.add_argument("--databases", nargs="*", choices=DATABASES, default=DATABASES)
    given = parser.parse_args(words)
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    bundle = real_bundle(folder)
    with cluster.running(_binaries()) if "postgresql" in given.databases else nullcontext() as server:
        for name in given.databases:
            on_server = name == "postgresql" and server is not None
            urls = [server.url(server.create()) for _ in range(2)] if on_server else []
            Measurement(name, folder / name, urls, bundle, given).run()


def _binaries() -> Path:
    found = cluster.binaries()
    if found is None:
        raise SystemExit("PostgreSQL is not under /usr/lib/postgresql; Debian: apt-get install postgresql")
    return found


def real_bundle(folder: Path) -> Path:
    """The bundle that every model is a copy of; made once."""
    made, making = folder / "bundle", folder / "making"
    if not made.exists():
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        prepare(making, None, [text_of(number) for number in range(256)])
        (making / "models" / "bench" / "bench-0001").rename(made)
        shutil.rmtree(making)
    return made


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its answer, its seconds, and the most memory that it held, in MB."""

    answer: dict[str, Any]
    seconds: float
    peak: float


def loop(*words: object, **environ: str) -> Finished:
    """Run `loop WORDS... --json` as a process of its own. Ends the script where it fails."""
    started = time.monotonic()
    command = [sys.executable, "-m", "loop.cli", *map(str, words), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **environ}) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}: {said.decode()}")
    return Finished(json.loads(said), time.monotonic() - started, used.ru_maxrss / 1000)


@dataclass
class Measurement:
    """One database. `urls`: of the project's and of the restored one; none for files of SQLite."""

    database: str
    folder: Path
    urls: list[str]
    bundle: Path
    given: argparse.Namespace

    def run(self) -> None:
        """Make the project, back up with annotators at work, restore, and look at what came back."""
        home, out, restored = (self.folder / name for name in (NAME, "out", "restored"))
        self.make(home)
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(restored, ignore_errors=True)
        print(f"\n{self.database}\n\n| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}", flush=True)
        store = self.open(home, 0)
        with Annotators(store, self.given.annotators, self.given.pause) as people:
            people.taken()
            time.sleep(_QUIET_SECONDS)
            tell("nobody backs up", None, people.taken())
            tell("first backup", loop("-C", home, "backup", out), people.taken())
            self.add_model(store, home)
            people.taken()
            second = loop("-C", home, "backup", out)
            tell("backup after one more model", second, people.taken())
        store.close()
        other = ["--store", self.urls[1]] if self.urls else []
        tell("restore", loop("restore", out, restored, *other), [])
        self.check(restored, second.answer["manifest"]["rows"])

    def check(self, restored: Path, noted: dict[str, int]) -> None:
        """What the doctor says, and whether everything is there."""
        doctor = loop("-C", restored, "doctor").answer
        store = self.open(restored, 1)
        with store.read() as session:
            rows, gaps = count_rows(session), session.scalar(text(_WITH_GAPS))
        store.close()
        # A restore adds a run and a model, which keeps numbers free.
        added = {"runs": 1, "models": 1}
        wrong = {name: (noted[name], rows[name]) for name in noted if rows[name] != noted[name] + added.get(name, 0)}
        state = "whole" if doctor["healthy"] else "BROKEN"
        print(
            f"\n{sum(noted.values()):,} rows, of them {noted['annotation_versions']:,} annotation versions. "
            f"`loop doctor` finds the restored project {state}; tables with another number of rows: {wrong or 'none'}; "
            f"annotations that lack a version: {gaps}.",
            flush=True,
        )

    def make(self, home: Path) -> None:
        """The project, where it is not there yet. A database of PostgreSQL lives for one run alone."""
        done = self.folder / "made"
        if done.exists() and not self.urls:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        environ = {"LOOP_STORE_URL": self.urls[0]} if self.urls else {}
        loop("init", home, "--labels", ",".join(TYPES), "--name", NAME, **environ)
        if self.urls:
            toml = home / "loop.toml"
            toml.write_text(with_values(toml.read_text("utf-8"), {"store.url": self.urls[0]}), "utf-8")
        store = self.open(home, 0)
        with store.transaction() as tx:
            project = project_by_name(tx.session, NAME)
            project.holdout_share = 0.0
            link(tx, project.id, "http://label-studio.test", 1)
            tx.commit()
        for start in range(0, self.given.documents, _PAGE):
            add_page(store, range(start, min(start + _PAGE, self.given.documents)))
        add_votes(store)
        for _ in range(self.given.models):
            self.add_model(store, home)
        store.close()
        done.touch()

    def open(self, home: Path, which: int) -> Store:
        """The store of the project (0) or of the restored one (1)."""
        return open_store(self.urls[which] if self.urls else f"sqlite:///{home / 'loop.db'}")

    def add_model(self, store: Store, home: Path) -> None:
        """One more model, which takes over, with its bundle, its training items and its predictions."""
        with store.transaction() as tx:
            project = project_by_name(tx.session, NAME)
            run = begin_run(tx, project.id, "retrain")
            fields: dict[str, Any] = {"settings": {}, "libraries": {}, "data_fingerprint": "0", "encoder": "minilm"}
            parent = project.promoted_version
            made = start_model(tx, project.id, run_id=run.id, seed=13, parent=parent, **fields)
            final = home / "models" / made.path
            building = final.with_name(f".building-{final.name}")
            shutil.copytree(self.bundle, building)
            manifest = write_bundle(building, final, replace(read_manifest(building), version=made.version))
            finish_model(tx, made.version, files=manifest.files)
            documents = list(tx.session.scalars(select(Document.id).order_by(Document.id)))
            save_training_items(tx, made.version, [TrainedOn(key, None, "train", "weak") for key in documents])
            spans = spans_of(text_of(0))
            save_predictions(tx, made.version, [NewPrediction(key, 0.5, spans) for key in documents])
            promote(tx, project.id, made.version, reason="a benchmark", who="a benchmark")
            finish_run(tx, run.id)
            tx.commit()


class Annotators:
    """People who submit one annotation after the other. Each submission is one transaction, as a pull writes it."""

    def __init__(self, store: Store, number: int, pause: float) -> None:
        self._store, self._pause = store, pause
        self._ended, self._counter = threading.Event(), itertools.count(1)
        self._taken: list[float] = []
        with store.read() as session:
            self._documents = list(session.scalars(select(Document.id).order_by(Document.id)))
        self._threads = [threading.Thread(target=self._work) for _ in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def taken(self) -> list[float]:
        """The milliseconds of each submission since the last call."""
        taken, self._taken = self._taken, []
        return taken

    def _work(self) -> None:
        while not self._ended.wait(self._pause):
            number = next(self._counter)
            place = number * 7919 % len(self._documents)
            # Numbers that `add_page` did not give: a new annotation, or a later version of one.
            new = annotation(place, 1_000_000 + place, lead_time=float(number))
            started = time.monotonic()
            with self._store.transaction() as tx:
                append_annotations(tx, [(self._documents[place], new)])
                tx.commit()
            self._taken.append((time.monotonic() - started) * 1000)


def add_page(store: Store, numbers: range) -> None:
    """Documents with two annotations each."""
    with store.transaction() as tx:
        project = project_by_name(tx.session, NAME)
        upsert_tasks(tx, project.id, [NewDocument(text_of(number), ls_task_id=number + 1) for number in numbers])
        wanted = [number + 1 for number in numbers]
        query = select(Document.id).where(Document.ls_task_id.in_(wanted)).order_by(Document.ls_task_id)
        ids = list(tx.session.scalars(query))
        for copy in (1, 2):
            new = [annotation(number, 2 * number + copy) for number in numbers]
            append_annotations(tx, list(zip(ids, new, strict=True)))
        tx.commit()


def add_votes(store: Store) -> None:
    """Four weak votes for each document."""
    with store.transaction() as tx:
        project = project_by_name(tx.session, NAME)
        documents = list(tx.session.scalars(select(Document.id)))
        spans = spans_of(text_of(0))[:4]
        votes = [StoredVote(key, "gazetteer", span, "0") for key in documents for span in spans]
        replace_votes(tx, project.id, {"gazetteer": votes})
        tx.commit()


def text_of(number: int) -> str:
    """A text of about 60 words."""
    return f"ticket {number:06d}: " + " ".join(_WORDS[(number * 7 + place) % len(_WORDS)] for place in range(60))


def spans_of(words: str) -> tuple[Span, ...]:
    """Six spans of five characters."""
    starts = [words.index(" ", 20 * place) + 1 for place in range(1, 7)]
    return tuple(Span(start, start + 5, TYPES[place % len(TYPES)]) for place, start in enumerate(starts))


def annotation(number: int, name: int, lead_time: float | None = None) -> NewAnnotation:
    """An annotation of the text `number`, as Label Studio gives one."""
    spans = spans_of(text_of(number))
    result = [
        {
            "id": f"region{place}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "origin": "manual",
            "value": {"start": span.start, "end": span.end, "labels": [span.label], "text": "words"},
        }
        for place, span in enumerate(spans)
    ]
    return NewAnnotation(LABEL_STUDIO, str(name), result=result, spans=spans, lead_time=lead_time)


def tell(step: str, done: Finished | None, taken: list[float]) -> None:
    """A row of the table."""
    answer = {} if done is None else done.answer
    cells = [
        step,
        "-" if done is None else f"{done.seconds:.1f}",
        "-" if done is None else f"{done.peak:.0f}",
        f"{answer['bytes'] / 1e6:.1f}" if "bytes" in answer else "-",
        f"{answer['copied_bytes'] / 1e6:.1f}" if "bytes" in answer else "-",
        str(len(taken)) if taken else "-",
        f"{statistics.median(taken):.1f}" if taken else "-",
        f"{max(taken):.1f}" if taken else "-",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

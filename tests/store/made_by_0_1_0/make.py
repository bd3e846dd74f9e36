"""Make project.tar.gz: a small project folder, by the code of version 0.1.0 (commit a9feac6) and no other.

PYTHONPATH=CHECKOUT_OF_A9FEAC6 python make.py project.tar.gz
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from datetime import timedelta
from pathlib import Path

from store.columns import utc_now
from store.hints import add_hint
from store.queue import NewPrediction, save_predictions, save_ranks
from store.session import open_store
from store.set_aside import NewSetAside, save_set_aside
from store.votes import Vote, replace_votes

from loop.cli import run
from loop.settings import Settings
from ner.spans import Span
from store.annotations import LABEL_STUDIO, NewAnnotation, append_annotations
from store.documents import NewDocument, stored_documents
from store.projects import link, project_by_name, set_watermark
from store.registry import promoted
from store.runs import begin_run
from store.tasks import upsert_tasks
from tests.loop import tiny

TRAIN = {
    "encoder": "./encoder",
    "max_length": 24,
    "rank": 4,
    "alpha": 8,
    "learning_rate": 1e-2,
    "warm_learning_rate": 5e-3,
    "batch_size": 8,
    "epochs": 3,
    "min_steps": 160,
    "averaging": 0.9,
    "dev_share": 0.25,
    "encoder_dropout": 0.0,
    "threads": 1,
}
PROMOTION = {"reference": False, "robustness": 0, "timed": 0, "resamples": 1000, "first_model": "gates"}


def main() -> None:
    platform.node = lambda: "a-host"
    os.environ["LOGNAME"] = "lead"
    archive_path = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "project"
        ok(run(["init", str(home), "--labels", "OS,SOFTWARE", "--name", "desk"]))
        tiny.encoder(home / "encoder")
        configure(home)
        settings = Settings.load(home, {})
        store = open_store(settings.store_url)
        with store.read() as session:
            project = project_by_name(session, "desk")
        corpus = tiny.corpus(120)
        tiny.put(store, project, corpus[:60], "train")
        tiny.put(store, project, [(f"{text} again", spans) for text, spans in corpus[60:100]], "holdout")
        store.close()
        ok(run(["-C", str(home), "retrain"]))
        ok(run(["-C", str(home), "promote"]))
        store = open_store(settings.store_url)
        tiny.put(store, project, corpus[100:110], "train")
        store.close()
        ok(run(["-C", str(home), "retrain"]))
        run(["-C", str(home), "promote"])  # rejected: both models get everything right
        store = open_store(settings.store_url)
        tiny.put(store, project, corpus[110:], "train")
        store.close()
        ok(run(["-C", str(home), "retrain"]))
        in_label_studio(settings)
        shutil.rmtree(home / "reports")
        with sqlite3.connect(home / "loop.db") as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with tarfile.open(archive_path, "w:gz") as archive:
            for name in ("loop.toml", "labels.xml", "loop.db", "encoder", "models"):
                archive.add(home / name, f"project/{name}")


def ok(code: int) -> None:
    if code != 0:
        raise SystemExit(code)


def configure(home: Path) -> None:
    path = home / "loop.toml"
    document = path.read_text("utf-8")
    for section, values in {"train": TRAIN, "promotion": PROMOTION}.items():
        lines = "".join(f"{name} = {toml(value)}\n" for name, value in values.items())
        document = re.sub(rf"^\[{section}\]\n", f"[{section}]\n{lines}", document, flags=re.M)
    path.write_text(document, "utf-8")


def toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def in_label_studio(settings: Settings) -> None:
    """What a pull, a publishing and a process that died on another host leave in the store."""
    store = open_store(settings.store_url)
    with store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        link(tx, project.id, "http://studio.example", 17)
        tasks = upsert_tasks(tx, project.id, [NewDocument(f"my Excel is slow {n}", ls_task_id=n) for n in range(1, 7)])
        spans = (Span(3, 8, "SOFTWARE"),)
        first = NewAnnotation(LABEL_STUDIO, "1", [{"type": "labels"}], spans, creator="7", parent_prediction=9)
        append_annotations(tx, [(tasks.document_ids[1], first)])
        save_set_aside(tx, project.id, [NewSetAside("label_studio:99", "no text", {"data": {}})])
        replace_votes(tx, project.id, {"words": [Vote(tasks.document_ids[2], "words", spans[0], "0" * 8)]})
        set_watermark(tx, project.id, utc_now())
        add_hint(tx, 17, "ANNOTATION_CREATED")
        model = promoted(tx.session, project.id)
        assert model is not None
        documents = stored_documents(tx.session, project.id, document_ids=tasks.document_ids.values())
        held = {one.document_id: one.split == "holdout" for one in documents}
        shown = [NewPrediction(key, 0.5, () if held[key] else spans, held[key]) for key in held]
        save_predictions(tx, model.version, shown)
        save_ranks(tx, model.version, [(key, 0.5) for key in held])
        died = begin_run(tx, project.id, "retrain")
        died.host, died.heartbeat_at = "a-host-that-is-gone", utc_now() - timedelta(days=1)
        tx.commit()
    store.close()


if __name__ == "__main__":
    main()

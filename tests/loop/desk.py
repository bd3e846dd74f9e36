"""A project folder as `loop init` makes it, for tests of the command line."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loop.cli.app import run
from loop.settings.settings import Settings
from loop.settings.toml_text import SettingValue, with_values
from ner.disk import sha256
from ner.models.bundle import MANIFEST, read_manifest
from store.database.session import open_store
from store.projects import project_by_name
from store.registry import TypeScore, finish_model, promote, save_scores, start_model
from store.runs import begin_run, finish_run
from tests.fakes import tiny_bundle
from tests.store.empty import put_store

WORDS = {"excel": "SOFTWARE", "outlook": "SOFTWARE", "windows": "OS"}
LABELS = ("SOFTWARE", "OS")


@dataclass
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def heed_ctrl_c() -> None:
    """For a child: a shell's background jobs ignore SIGINT, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Desk:
    """Runs commands on one project folder, in this process."""

    home: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    versions: list[str] = field(default_factory=list)

    def loop(self, *words: str, given: str | None = None) -> Said:
        """`loop -C HOME WORDS...`, with `given` on standard input."""
        if given is not None:
            self.monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode("utf-8", "surrogatepass"))))
        code = run(["-C", str(self.home), *words])
        told = self.capsys.readouterr()
        return Said(code, told.out, told.err)

    def write(self, name: str, *records: Mapping[str, Any]) -> Path:
        """A file of JSON Lines."""
        path = self.home / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
        return path

    def configure(self, **values: SettingValue) -> None:
        """Set `section__key` in loop.toml."""
        path = self.home / "loop.toml"
        named = {name.replace("__", "."): value for name, value in values.items()}
        path.write_text(with_values(path.read_text("utf-8"), named), "utf-8")

    def candidate(self, words: Mapping[str, str] = WORDS) -> str:
        """A model that knows these words, waiting for its promotion; gives its version."""
        return self._model(words, None)

    def promoted_model(self, words: Mapping[str, str] = WORDS, f1: float = 0.75) -> str:
        """A model that knows these words, in service, with scores on the holdout; gives its version."""
        return self._model(words, f1)

    def _model(self, words: Mapping[str, str], f1: float | None) -> str:
        settings = Settings.load(self.home, {})
        store = open_store(settings.store_url)
        with store.transaction() as tx:
            project = project_by_name(tx.session, settings.project_name)
            at_work = begin_run(tx, project.id, "retrain")
            made = start_model(
                tx,
                project.id,
                run_id=at_work.id,
                encoder="tiny",
                seed=1,
                settings={},
                libraries={},
                data_fingerprint="0",
            )
            tiny_bundle(settings.model_dir / made.path, LABELS, words, version=made.version)
            folder = settings.model_dir / made.path
            noted = {**read_manifest(folder).files, MANIFEST: sha256(folder / MANIFEST)}
            finish_model(tx, made.version, files={} if f1 is not None else noted)
            finish_run(tx, at_work.id)
            if f1 is not None:
                rows = [TypeScore(name, f1, f1, f1, 8, 6, 8) for name in (*LABELS, "micro", "macro")]
                save_scores(tx, made.version, "holdout", rows, "0")
                promote(tx, project.id, made.version, reason="no incumbent", who="a test")
            tx.commit()
        store.close()
        return made.version


def make_desk(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A fresh project with LABELS."""
    make_environment(monkeypatch)
    put_store(home / "loop.db")
    assert run(["init", str(home), "--labels", ",".join(LABELS), "--name", "desk"]) == 0
    capsys.readouterr()
    return Desk(home, capsys, monkeypatch)


def make_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the shell that runs the tests are not seen, and its terminal has 80 columns."""
    for name in ("LOOP_HOME", "LOOP_STORE_URL", "MODEL_DIR", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")

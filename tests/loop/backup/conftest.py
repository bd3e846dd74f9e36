"""A project with models, a report and gazetteers, on either database."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loop.cli.app import run
from tests.loop.desk import LABELS, Desk, make_desk, make_environment
from tests.store import cluster

FUNCTIONS = """
from pathlib import Path

from weak_labeling.functions import labeling_function
from weak_labeling.gazetteers import Gazetteer, load_terms

LISTS = Path(__file__).parent / "gazetteers"
systems = labeling_function(name="systems")(Gazetteer(load_terms(LISTS / "os.txt"), "OS"))
"""
Databases = Callable[[str], str | None]


@pytest.fixture
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Makes an empty database of the kind: the URL of one on PostgreSQL, or None for a file in the project's folder."""
    made: list[str] = []

    def make(kind: str) -> str | None:
        if kind == "sqlite":
            return None
        server: cluster.Cluster = request.getfixturevalue("postgres")
        made.append(server.create())
        return server.url(made[-1])

    yield make
    for name in made:
        request.getfixturevalue("postgres").drop(name)


@pytest.fixture
def database() -> str:
    """The kind of database that the project has; tests override it."""
    return "sqlite"


@pytest.fixture(scope="session")
def made_desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `desk` on SQLite, to be copied."""
    home = tmp_path_factory.mktemp("made") / "desk"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        quiet: Any = SimpleNamespace(readouterr=lambda: None)
        furnish(make_desk(home, quiet, patch))
    return home


@pytest.fixture
def desk(
    database: str,
    databases: Databases,
    made_desk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A project with a model in service, a candidate, a report, and labelling functions that read a file."""
    home = tmp_path / "desk"
    make_environment(monkeypatch)
    desk = Desk(home, capsys, monkeypatch)
    url = databases(database)
    if url is None:
        shutil.copytree(made_desk, home)
        return desk
    with monkeypatch.context() as patch:
        patch.setenv("LOOP_STORE_URL", url)
        assert run(["init", str(home), "--labels", ",".join(LABELS), "--name", "desk"]) == 0
    desk.configure(store__url=url)
    furnish(desk)
    capsys.readouterr()
    return desk


def furnish(desk: Desk) -> None:
    """Put into a fresh project what a backup has to bring along."""
    (desk.home / "gazetteers").mkdir()
    (desk.home / "gazetteers" / "os.txt").write_text("windows\n")
    (desk.home / "functions.py").write_text(FUNCTIONS)
    desk.configure(weak__functions="functions.py")
    report = desk.home / "reports" / "desk-0001-1"
    report.mkdir(parents=True)
    (report / "report.md").write_text("promoted\n")
    desk.promoted_model()
    desk.candidate()

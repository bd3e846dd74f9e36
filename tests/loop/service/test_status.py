"""The status says what is running, what was cut short, and what needs labels; from one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from loop.cli.views.status import view
from loop.console import stdout
from loop.files.importing import import_file
from loop.files.reading import Request
from loop.service.status import ProjectStatus, project_status
from loop.settings.model import StatusSettings
from loop.settings.template import config_of_labels
from ner.label_studio.label_config import LabelConfig
from store.database.schema import Project, Run
from store.database.session import Store
from store.projects import create_project, set_label_config
from store.registry import TypeScore, fail_model, finish_model, model, promote, reject, save_scores, start_model
from store.runs import begin_run, fail_run, finish_run
from tests.store import given
from tests.store.empty import new_store
from tests.store.prelabelled import GNOME, LINUX, serve, show, submit, tasks


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "loop.db")
    yield store
    store.close()


@pytest.fixture
def project(store: Store) -> Project:
    with store.transaction() as tx:
        made = create_project(tx, "desk", label_config=config_of_labels("A,B"), labels=["A", "B"])
        tx.commit()
    return made


def status(store: Store, project: Project) -> ProjectStatus:
    return project_status(store, project.id, StatusSettings())


def shown(found: ProjectStatus, capsys: pytest.CaptureFixture[str], later: timedelta = timedelta(0)) -> str:
    for item in view(found, (found.last_pull or datetime.now(UTC)) + later):
        stdout().print(item)
    return capsys.readouterr().out


def test_a_run_at_work_is_running_and_one_whose_process_is_gone_was_interrupted(store: Store, project: Project):
    with store.transaction() as tx:
        begin_run(tx, project.id, "pull")
        gone = begin_run(tx, project.id, "retrain")
        tx.session.execute(update(Run).where(Run.id == gone.id).values(pid=2**22 + 1))
        tx.commit()
    found = status(store, project)
    assert [run.kind for run in found.running] == ["pull"]
    assert [run.kind for run in found.interrupted] == ["retrain"]


def test_an_interrupted_run_is_named_until_one_of_its_kind_ends_well(
    store: Store, project: Project, capsys: pytest.CaptureFixture[str]
):
    with store.transaction() as tx:
        fail_run(tx, begin_run(tx, project.id, "publish").id, "cut", interrupted=True)
        tx.commit()
    assert [run.kind for run in status(store, project).interrupted] == ["publish"]
    assert "interrupted: publish" in shown(status(store, project), capsys)
    with store.transaction() as tx:
        finish_run(tx, begin_run(tx, project.id, "publish").id)
        tx.commit()
    assert status(store, project).interrupted == ()


@pytest.mark.parametrize(
    ("later", "told"),
    [
        (timedelta(seconds=5), "5 s ago"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=30), "1 d ago"),
        (timedelta(hours=3), "3 h ago"),
        (timedelta(hours=-1), "0 s ago"),
    ],
)
def test_ages_are_told_in_the_largest_unit_that_fits(
    store: Store, project: Project, capsys: pytest.CaptureFixture[str], later: timedelta, told: str
):
    with store.transaction() as tx:
        finish_run(tx, begin_run(tx, project.id, "pull").id)
        tx.commit()
    assert told in shown(status(store, project), capsys, later)


def test_a_type_has_enough_labels_from_the_minimum_on(store: Store, project: Project):
    assert [label.enough for label in status(store, project).labels] == [False, False]
    assert all(label.enough for label in project_status(store, project.id, StatusSettings(minimum_labels=0)).labels)


def trained(store: Store, project: Project, ends: str) -> str:
    """A model that came to this end: candidate, rejected, promoted, failed or interrupted."""
    with store.transaction() as tx:
        at_work = begin_run(tx, project.id, "retrain")
        common = {"encoder": "tiny", "seed": 1, "settings": {}, "libraries": {}, "data_fingerprint": "0"}
        version = start_model(tx, project.id, run_id=at_work.id, **common).version
        if ends in ("failed", "interrupted"):
            fail_model(tx, version, "boom", interrupted=ends == "interrupted")
        else:
            finish_model(tx, version, files={})
            save_scores(tx, version, "holdout", [TypeScore("micro", 0.5, 0.5, 0.5, 2, 1, 2)], "0")
        if ends == "promoted":
            promote(tx, project.id, version, reason="better", who="a test")
        if ends == "rejected":
            reject(tx, project.id, version, reason="worse", who="a test")
        finish_run(tx, at_work.id)
        tx.commit()
    return version


def test_the_last_five_models_are_listed_with_what_became_of_them(
    store: Store, project: Project, capsys: pytest.CaptureFixture[str]
):
    ends = ("candidate", "promoted", "promoted", "rejected", "failed", "interrupted")
    versions = [trained(store, project, end) for end in ends]
    found = status(store, project)
    assert [one.version for one in found.latest] == versions[:0:-1]
    assert [one.f1 for one in found.latest] == [None, None, 0.5, 0.5, 0.5]
    assert found.latest[1].error == "boom"
    told = shown(found, capsys).split("latest models")[1]
    lines = [line.split(maxsplit=1) for line in told.splitlines()[1:]]
    assert [version for version, _ in lines] == versions[:0:-1]
    expected = ("interrupted", "failed", "rejected", "in service", "was in service")
    assert [rest.split("  ")[0] for _, rest in lines] == list(expected)


def test_a_model_that_no_gold_entity_has_judged_shows_no_figures(
    store: Store, project: Project, capsys: pytest.CaptureFixture[str]
):
    version = trained(store, project, "promoted")
    later = [TypeScore(name, 0.0, 0.0, 0.0, 0, 0, 3) for name in ("A", "B", "micro", "macro")]
    with store.transaction() as tx:
        save_scores(tx, version, "holdout", later, "1")
        tx.commit()
    found = status(store, project)
    assert found.latest[0].f1 is None
    told = " ".join(shown(found, capsys).split())
    assert "not judged yet: the holdout has no gold entity" in told
    assert "0.000" not in told
    assert f"promoted {version}" in told


def test_a_model_in_service_is_dated_by_the_end_of_its_training(
    store: Store, project: Project, capsys: pytest.CaptureFixture[str]
):
    version = trained(store, project, "promoted")
    with store.transaction() as tx:
        slow = model(tx.session, version)
        slow.created_at -= timedelta(hours=3)
        ended = slow.finished_at
        tx.commit()
    found = status(store, project)
    assert found.model is not None
    assert found.model.trained_at == ended
    assert ", trained 3 h ago" not in " ".join(shown(found, capsys).split())


def test_texts_with_a_label_that_the_config_lost_are_in_doubt_and_named_with_the_line_of_the_map(
    store: Store, project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    path = tmp_path / "gold.jsonl"
    path.write_text('{"text": "ab", "spans": [{"start": 0, "end": 1, "label": "B"}]}\n', "utf-8")
    import_file(store, project, path, "train", Request(LabelConfig.parse(project.label_config)))
    assert not status(store, project).counts.doubts
    with store.transaction() as tx:
        narrowed = set_label_config(tx, project.id, config_of_labels("A"), ["A"])
        tx.commit()
    found = status(store, narrowed)
    assert (found.counts.gold, found.counts.doubts.labels) == (0, {"B": 1})
    told = " ".join(shown(found, capsys).split())
    assert '! 1 labelled text is in doubt and is not learned from: label "B" (1).' in told
    assert 'Mend: [label_map] "B" = "..." in loop.toml' in told


def test_an_empty_project_says_how_to_fill_it(store: Store, project: Project, capsys: pytest.CaptureFixture[str]):
    told = shown(status(store, project), capsys)
    assert "none yet: `loop import` or `loop pull`" in told
    assert "()" not in told


def test_a_model_that_was_promoted_by_force_is_said_to_be(
    store: Store, project: Project, capsys: pytest.CaptureFixture[str]
):
    version = trained(store, project, "candidate")
    with store.transaction() as tx:
        promote(tx, project.id, version, reason="we must", who="boss", force=True)
        tx.commit()
    told = shown(status(store, project), capsys)
    assert f"{version}, by force, micro-F1" in told
    assert f"promoted {version} by force, " in told


def test_what_annotators_did_with_the_pre_labels_is_told_by_version(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    made = given.project(store, share=0.0)
    documents = tasks(store, made, "Linux Gnome", "Linux Minty", "Linux")
    first = serve(store, made, given.at(0))
    show(store, first, documents[:2], given.at(1), LINUX, GNOME)
    submit(store, documents[0], 2, LINUX, GNOME)
    submit(store, documents[1], 2, (0, 5, "SOFTWARE"))
    second = serve(store, made, given.at(3))
    submit(store, documents[2], 4, LINUX)
    found = status(store, made)
    assert [row.total.name for row in found.prelabels.versions] == [first]
    assert found.prelabels.unknown == 1
    lines = [line.split() for line in shown(found, capsys).splitlines() if line.startswith(first)]
    assert lines[-1] == [first, "2", "4", "50%", "5-95", "0", "1", "1", "0"]
    assert second in shown(found, capsys)

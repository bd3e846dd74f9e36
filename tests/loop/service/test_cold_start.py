"""Before a model serves, the agreed votes pre-label and order the queue, under a version of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loop.cli.views.status import view
from loop.console import stdout
from loop.label_studio.client import LabelStudioClient
from loop.service.cycle import Cycle, Skip, label_step, publish_step, publish_votes_step, pull_step
from loop.service.status import project_status
from loop.settings.model import StatusSettings
from loop.settings.settings import Settings
from loop.weak.agreed import agreed_version
from store.database.schema import HOLDOUT
from store.database.session import Store
from store.documents import NewDocument, add_documents, stored_documents
from store.predictions import is_of_votes, predictions, ranks
from store.projects import create_project, link
from store.weak.sources import set_muted
from tests.fakes import CONFIG, FakeLabelStudio
from tests.loop.weak.test_applying import functions
from tests.store import given
from tests.store.empty import new_store

AGREED, ALONE, SILENT = "excel on windows 10", "excel is slow", "the coffee is cold"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store.sqlite")
    yield store
    store.close()


def started(store: Store, home: Path, texts: list[str], *, holdout_share: float = 0.0) -> Cycle:
    """A cycle over a project with three functions, two of which agree on "windows", after its first pull."""
    server = FakeLabelStudio(CONFIG, texts)
    with store.transaction() as tx:
        project = create_project(
            tx, "it", label_config=CONFIG, labels=["SOFTWARE", "OS"], holdout_share=holdout_share, salt="s"
        )
        link(tx, project.id, server.url, 1)
        tx.commit()
    write_functions(home, "excel")
    (home / "loop.toml").write_text('[project]\nname = "it"\n[weak]\nfunctions = "functions.py"\n')
    cycle = Cycle(store, server, Settings.load(home, {}), project.id)
    pull_step(cycle)
    return cycle


def write_functions(home: Path, software: str) -> None:
    rows = [("software", software, "SOFTWARE"), ("systems", "windows", "OS"), ("also_systems", "windows", "OS")]
    functions(home / "functions.py", *rows)


def server_of(cycle: Cycle) -> FakeLabelStudio:
    client: LabelStudioClient = cycle.client
    assert isinstance(client, FakeLabelStudio)
    return client


def offered(server: FakeLabelStudio) -> list[tuple[str, list[str]]]:
    """(text, labels shown) of every task in the order in which one annotator is offered them."""
    met = []
    while (task := server.next_task(1)) is not None:
        shown = [part["value"]["labels"][0] for one in task["predictions"] for part in one["result"]]
        met.append((task["data"]["text"], shown))
        server.submit_annotation(task["id"], {"result": []})
    return met


def test_what_a_source_says_alone_comes_before_what_sources_agree_on_and_silent_texts_stand_anywhere(
    store: Store, tmp_path: Path
) -> None:
    agreed = [f"windows {n}" for n in range(6)]
    alone = [f"excel {n}" for n in range(6)]
    silent = [f"printer {n}" for n in range(6)]
    cycle = started(store, tmp_path, [*silent, *agreed, *alone])
    label_step(cycle)
    counts = publish_votes_step(cycle)
    assert (counts["created"], is_of_votes(counts["version"])) == (18, True)
    server = server_of(cycle)
    assert (server.settings["model_version"], server.settings["sampling"]) == (
        counts["version"],
        "Uncertainty sampling",
    )
    met = offered(server)
    assert [text for text, shown in met if shown] == [*alone, *agreed]
    assert dict(met) == {
        **{text: ["SOFTWARE"] for text in alone},
        **{text: ["OS"] for text in agreed},
        **{text: [] for text in silent},
    }
    places = [place for place, (text, _) in enumerate(met) if text in silent]
    assert min(places) < 6 and max(places) >= 12


def test_a_held_out_text_shows_nothing_of_the_votes(store: Store, tmp_path: Path) -> None:
    cycle = started(store, tmp_path, [f"excel {n}" for n in range(20)], holdout_share=0.4)
    label_step(cycle)
    counts = publish_votes_step(cycle)
    with store.read() as session:
        held = {one.text for one in stored_documents(session, cycle.project_id, [HOLDOUT])}
    assert counts["holdout"] == len(held) > 0
    assert all((not shown) == (text in held) for text, shown in offered(server_of(cycle)))


def test_nothing_is_sent_again_until_a_task_or_a_source_is_new(store: Store, tmp_path: Path) -> None:
    cycle = started(store, tmp_path, [AGREED, ALONE])
    label_step(cycle)
    first = publish_votes_step(cycle)["version"]
    with pytest.raises(Skip, match="every open task has its prediction"):
        publish_votes_step(cycle)

    server_of(cycle).import_tasks(1, [{"data": {"text": SILENT}}])
    pull_step(cycle)
    label_step(cycle)
    counts = publish_votes_step(cycle)
    assert (counts["version"], counts["sent"], counts["carried"]) == (first, 1, 2)

    write_functions(tmp_path, "coffee")
    label_step(cycle)
    counts = publish_votes_step(cycle)
    assert counts["version"] != first and counts["sent"] == 3
    assert dict(offered(server_of(cycle)))[SILENT] == ["SOFTWARE"]


def test_a_muted_source_makes_another_version_without_its_spans_and_muting_all_sends_nothing(
    store: Store, tmp_path: Path
) -> None:
    cycle = started(store, tmp_path, [ALONE, AGREED])
    label_step(cycle)
    first = publish_votes_step(cycle)["version"]
    with store.transaction() as tx:
        set_muted(tx, cycle.project_id, "software", True, "a person")
        tx.commit()
    counts = publish_votes_step(cycle)
    assert counts["version"] != first
    with store.read() as session:
        shown = predictions(session, counts["version"]).values()
        assert {span.label for one in shown for span in one.spans} == {"OS"}
        assert len(ranks(session, counts["version"])) == 2
    with store.transaction() as tx:
        for name in ("systems", "also_systems"):
            set_muted(tx, cycle.project_id, name, True, "a person")
        tx.commit()
    with pytest.raises(Skip, match="no source"):
        publish_votes_step(cycle)


def test_two_projects_with_the_same_sources_have_versions_of_their_own(store: Store, tmp_path: Path) -> None:
    cycle = started(store, tmp_path, [AGREED])
    label_step(cycle)
    with store.transaction() as tx:
        other = create_project(tx, "two", label_config=CONFIG, labels=["SOFTWARE", "OS"], holdout_share=0.0)
        add_documents(tx, other.id, [NewDocument(AGREED, "d")], "pool")
        tx.commit()
    label_step(Cycle(store, cycle.client, cycle.settings, other.id))
    with store.read() as session:
        first, second = (agreed_version(session, one) for one in (cycle.project(), other))
    assert first != second and is_of_votes(first) and is_of_votes(second)


def test_status_says_what_pre_labels_and_that_no_model_does(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cycle = started(store, tmp_path, [AGREED])
    assert project_status(store, cycle.project_id, StatusSettings()).votes is None
    label_step(cycle)
    version = publish_votes_step(cycle)["version"]
    status = project_status(store, cycle.project_id, StatusSettings())
    assert (status.model, status.votes) == (None, version)
    for part in view(status):
        stdout().print(part)
    told = " ".join(capsys.readouterr().out.split())
    assert (
        f"none yet: the votes pre-label so far pre-labels of the agreed votes of the sources of weak labels ({version})"
        in told
    )


def test_a_model_in_service_ends_the_service_of_the_votes(store: Store, tmp_path: Path) -> None:
    cycle = started(store, tmp_path, [AGREED])
    label_step(cycle)
    publish_votes_step(cycle)
    with pytest.raises(Skip, match="no model in service"):
        publish_step(cycle)
    given.promoted(store, cycle.project_id)
    with pytest.raises(Skip, match="a model is in service"):
        publish_votes_step(cycle)
    assert project_status(store, cycle.project_id, StatusSettings()).votes is None

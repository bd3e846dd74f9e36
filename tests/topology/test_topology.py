"""The services of `docker-compose.yml` as processes: a full cycle, and then faults while people are at work.

Commands, environments, users, capabilities, mounts, health checks and the order of starting are read from the compose
file and the Dockerfile. Each service has a network address, a root file system and process ids of its own. In place of
the images stand this environment's packages, the released `label-studio`, and Debian's PostgreSQL (`stand_ins/`).
This needs root and fails without it. It is never skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ner.documents import LabelledText
from tests.topology import team as teams
from tests.topology.accounts import repeated_versions
from tests.topology.faults import Suffered, suffer
from tests.topology.load import CHANGED, CREATED, DELETED, SKIPPED, Annotators
from tests.topology.team import BACKENDS, Team

# `python -m scripts.bench.topology` stops Label Studio for a whole minute.
STOPPED_SECONDS = float(os.environ.get("TOPOLOGY_STOPPED_SECONDS", "5"))
TASKS, FIRST = 240, 40

pytestmark = [pytest.mark.server, pytest.mark.training, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def gold() -> list[LabelledText]:
    return teams.gold(TASKS)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, gold: list[LabelledText]) -> Iterator[Team]:
    with teams.working(tmp_path_factory.mktemp("topology"), gold) as team:
        yield team


@pytest.fixture(scope="module")
def people(team: Team, gold: list[LabelledText]) -> Iterator[Annotators]:
    """Annotators who submit enough for a first model, and go on."""
    people = team.annotators(gold)
    people.start()
    people.wait(FIRST, 240)
    yield people
    people.stop()


@pytest.fixture(scope="module")
def suffered(team: Team, people: Annotators) -> Suffered:
    """What happened while one service after another failed."""
    team.wait_for_a_model()
    return suffer(team, people, team.visitor("visitor", threads=2, pause=0.1), stopped=STOPPED_SECONDS)


@pytest.mark.parametrize("name", ["init", "loop", *BACKENDS])
def test_our_services_run_as_the_compose_file_says(team: Team, name: str) -> None:
    """No root, no capabilities, and a root file system that nobody can write to."""
    container = team.topology[name]
    assert container.identity.uid != 0
    assert container.read_only
    if container.exit_code is not None:  # a one-shot, which ended well
        assert container.exit_code == 0
        return
    process = psutil.Process(container.pid)
    assert process.uids().real == container.identity.uid
    status = Path(f"/proc/{container.pid}/status").read_text()
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert container.run(["touch", "/etc/file"]).returncode != 0


def test_annotations_become_a_model_that_serves(team: Team, people: Annotators) -> None:
    """init -> pull -> retrain -> promote -> publish, and both backends take the model over."""
    version = team.wait_for_a_model()
    shown = team.open_task()["predictions"]
    assert {one["model_version"] for one in shown} == {version}
    for name in BACKENDS:
        served = [one["model_version"] for one in team.health(name)["projects"].values()]
        assert served == [version]


def test_no_annotation_is_lost_or_doubled(team: Team, suffered: Suffered) -> None:
    there = team.agreed()
    done = suffered.done
    assert len(there) >= done[CREATED] + done[SKIPPED] - done[DELETED]
    assert min(done[CREATED], done[CHANGED], done[SKIPPED], done[DELETED]) > 0
    assert not repeated_versions(team.store)


def test_only_requests_in_flight_at_the_kill_failed(suffered: Suffered) -> None:
    unexplained = [one for one in suffered.failed if not any(kill.meets(one) for kill in suffered.kills)]
    assert not unexplained
    assert all(kill.end - kill.begin < 5 for kill in suffered.kills)
    assert len(suffered.requests) > 100

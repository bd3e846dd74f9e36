"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.store import cluster

if TYPE_CHECKING:
    from tests.s3_server import S3Server

# Files that take minutes, the longest first. The third worker trains while the second one makes a Label Studio.
LONGEST = (
    "topology",
    "server/test_kill_server.py",
    "loop/training/test_retrain.py",
    "server",
    "test_several_hosts.py",
    "ml_backend",
)

# Torch reads this when it is first imported. The workers share the cores: two threads on a tiny model wait awake for
# each other, and take twice the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow machine is no fault of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: no worker must end with it."""
    folders = [Path(__file__).parent / name for name in LONGEST]

    def place(item: pytest.Item) -> int:
        around = (item.path, *item.path.parents)
        return next((number for number, folder in enumerate(folders) if folder in around), len(folders))

    items.sort(key=place)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it skip with the reason where it is missing."""
    folder = Path(os.environ.get("LOOP_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set LOOP_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[cluster.Cluster]:
    """A PostgreSQL server for the session; skips with the reason where it is not installed."""
    binaries = cluster.binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not under /usr/lib/postgresql; Debian: apt-get install postgresql")
    with cluster.running(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def s3_of_session() -> Iterator[S3Server]:
    """An S3 server for the session."""
    from tests.s3_server import running  # its import takes half a second

    with running() as server:
        yield server


@pytest.fixture
def s3(s3_of_session: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, which this process finds by its environment."""
    for name, value in s3_of_session.environ().items():
        monkeypatch.setenv(name, value)
    return s3_of_session

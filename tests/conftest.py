"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers: a file is one worker's, and so is all that needs the server, which comes first.

    The server's tests wait half of their time, so that the others get done beside them.
    """
    server = Path(__file__).parent / "server"
    for item in items:
        name = "server" if server in item.path.parents else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda item: server not in item.path.parents)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it skip with the reason where it is missing."""
    folder = Path(os.environ.get("LOOP_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set LOOP_SHARED_DATA")
    return folder

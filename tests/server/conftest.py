"""Fixtures that start a real Label Studio, once for the whole session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from loop.label_studio.client import LabelStudioClient
from tests.server.real_label_studio import RealLabelStudio, make_template


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever stands in this folder needs the server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def label_studio_template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated data folder to copy. Its migrations take a minute, so pytest's cache keeps it between sessions."""
    name = f"label-studio-{version('label-studio')}-template"
    cache = getattr(request.config, "cache", None)
    return make_template((cache.mkdir("label-studio") if cache else tmp_path_factory.mktemp("label-studio")) / name)


@pytest.fixture(scope="session")
def label_studio(label_studio_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLabelStudio]:
    """A running server; tests make their own projects in it, and leave it running if they restart it."""
    data_dir = tmp_path_factory.mktemp("label-studio-server") / "data"
    shutil.copytree(label_studio_template, data_dir)
    server = RealLabelStudio(data_dir)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(label_studio: RealLabelStudio) -> LabelStudioClient:
    """The first annotator's client."""
    return LabelStudioClient(label_studio.url, label_studio.first.token)


@pytest.fixture
def second_client(label_studio: RealLabelStudio) -> LabelStudioClient:
    """The second annotator's client."""
    return LabelStudioClient(label_studio.url, label_studio.second.token)

"""The model for label-studio-ml: the released 1.0.9 in an environment of its own, and a stand-in for the 2.x line."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from ml_backend import embedded
from store.runs import pending_hints
from tests.ml_backend import stand_in_2
from tests.ml_backend.given import CONFIG, Home, request_body, until
from tests.store.cluster import free_port

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "label_studio_ml"
SETUP = {"project": "7.1795219575", "schema": CONFIG, "hostname": "", "access_token": "secret", "extra_params": None}
EVENT = {"action": "ANNOTATION_CREATED", "project": {"id": 7, "label_config": CONFIG}, "annotation": {"id": 1}}


@pytest.fixture(scope="session")
def released(request: pytest.FixtureRequest) -> Path:
    """The programs of an environment with the example's requirements.txt; pytest's cache keeps it between sessions."""
    wanted = (EXAMPLE / "requirements.txt").read_bytes() + sys.version.encode()
    cache = getattr(request.config, "cache", None)
    kept = cache.mkdir("label-studio-ml") if cache else Path(tempfile.gettempdir())
    made = kept / f"label-studio-ml-{hashlib.sha256(wanted).hexdigest()[:12]}"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes of the same run want it, too
        if not (made / "whole").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", made], check=True)
            install = [made / "bin" / "pip", "install", "--quiet", "-r", EXAMPLE / "requirements.txt"]
            subprocess.run(install, check=True, timeout=600)
            (made / "whole").touch()
    return made / "bin"


@contextmanager
def started(programs: Path, folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """The address of `label-studio-ml start`; the server that it starts ends with the block."""
    port = free_port()
    own = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    command = [programs / "label-studio-ml", "start", folder, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=own | environ, cwd=folder, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or answers(url), 60)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).json()["status"] == "UP"
    except requests.ConnectionError:
        return False


def post(url: str, body: Any) -> Any:
    answer = requests.post(url, json=body, timeout=30)
    assert answer.ok, answer.text
    return answer.json()


def words_of(answer: Mapping[str, Any]) -> list[list[str]]:
    return [[region["value"]["text"] for region in one["result"]] for one in answer["results"]]


def hints(home: Home) -> list[str]:
    with home.store.read() as session:
        return [hint.action for hint in pending_hints(session, 7)]


def test_the_released_package_serves_the_model_of_the_store(released: Path, served: Home):
    environ = {"LOOP_STORE_URL": served.store_url, "BUNDLE_DIR": str(served.model_dir), "POLL_SECONDS": "0.05"}
    with started(released, EXAMPLE, environ) as url:
        answer = post(f"{url}/predict", request_body("open excel", "on windows"))
        assert words_of(answer) == [["excel"], ["windows"]], "also before the first /setup"
        assert post(f"{url}/setup", SETUP) == {"model_version": "it-support-0001"}
        post(f"{url}/webhook", EVENT)
        until(lambda: hints(served) == ["ANNOTATION_CREATED"])
        post(f"{url}/train", {"project": "7.1", "annotations": [{"id": 1, "project": 7}], "label_config": CONFIG})
        until(lambda: hints(served) == ["ANNOTATION_CREATED", "START_TRAINING"])
        second = served.promote(served.model())
        until(lambda: post(f"{url}/predict", request_body("open excel"))["results"][0]["model_version"] == second)
    assert sorted(path.name for path in served.model_dir.iterdir()) == ["it-support"], "the package writes nothing here"


def test_the_released_package_serves_a_bundle_in_a_folder_that_it_made_itself(
    released: Path, served: Home, tmp_path: Path
):
    """`label-studio-ml init` writes a `_wsgi.py` of its own, which knows nothing of this project."""
    command = [released / "label-studio-ml", "init", "made", "--root-dir", tmp_path, "--script", EXAMPLE / "model.py"]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT), "PATH": f"{released}:{os.environ['PATH']}"})
    environ = {"BUNDLE_DIR": str(served.model_dir / "it-support")}
    with started(released, tmp_path / "made", environ) as url:
        post(f"{url}/setup", SETUP)
        answer = post(f"{url}/predict", request_body("open excel"))
        assert words_of(answer) == [["excel"]]
        assert answer["results"][0]["model_version"] == "it-support-0001"
        assert "job_id" in post(f"{url}/webhook", EVENT)


def test_the_released_package_says_at_the_start_what_is_missing(released: Path, tmp_path: Path):
    environ = {"PATH": f"{released}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "BUNDLE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [released / "python", EXAMPLE / "_wsgi.py"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 3
    assert ended.stderr.splitlines()[-1].startswith("BUNDLE_DIR is a bundle, or holds the bundle that MODEL_VERSION")


def test_the_example_pins_what_the_project_pins():
    own = (EXAMPLE / "requirements.txt").read_text("utf-8").split("# What this project's serving code needs", 1)[1]
    pinned = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", own, re.MULTILINE))
    locked = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    assert len(pinned) > 5
    assert pinned == {name: locked[name] for name in pinned}


def test_the_image_of_the_example_takes_what_is_there():
    copied = re.findall(r"^COPY (.+) \S+$", (EXAMPLE / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert all((ROOT / source).exists() for line in copied for source in line.split())
    assert len(copied) > 3


@pytest.fixture
def second_line(served: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a server with the stand-in for the 2.x interface, on a store with a model in service."""
    stand_in_2.install(monkeypatch)
    for name, value in served.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "ml_backend.label_studio_ml_model", raising=False)
    made = importlib.import_module("ml_backend.label_studio_ml_model")
    yield made.application(made.NerTagger).test_client()
    for tagger in embedded._started.values():
        tagger.close()  # type: ignore[attr-defined]
    embedded._started.clear()
    sys.modules.pop("ml_backend.label_studio_ml_model")


def test_the_second_line_names_the_version_in_service(second_line: Any, served: Home):
    assert second_line.post("/setup", json=SETUP).json == {"model_version": "it-support-0001"}
    second = served.promote(served.model())
    until(lambda: second_line.post("/setup", json=SETUP).json == {"model_version": second})


def test_the_second_line_can_connect_a_project_without_a_model(second_line: Any):
    assert second_line.post("/setup", json=SETUP | {"project": "8.1"}).json == {"model_version": "no model yet"}


def test_the_second_line_answers_each_task_in_the_sdk_s_type(second_line: Any):
    answer = second_line.post("/predict", json=request_body("open excel", "", "on windows")).json
    assert words_of(answer) == [["excel"], [], ["windows"]]
    assert {one["model_version"] for one in answer["results"]} == {"it-support-0001"}


def test_the_second_line_leaves_a_hint_and_trains_nothing(second_line: Any, served: Home):
    told = second_line.post("/webhook", json=EVENT).json
    assert told["result"]["trained"] is False
    assert told["result"]["hint"] is True
    until(lambda: hints(served) == ["ANNOTATION_CREATED"])

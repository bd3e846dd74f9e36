"""What the service `init` makes of an example, up to Label Studio's door."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from loop.settings.settings import Settings
from loop.up import first_project
from loop.up.first_project import main


def environ(home: Path, example: str) -> dict[str, str]:
    return {"LOOP_HOME": str(home), "EXAMPLE": example, "LOOP_STORE_URL": f"sqlite:///{home.parent / 'store.sqlite'}"}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the loop that were run; none of them really is."""
    said: list[list[str]] = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        said.append(words[3:])
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(first_project.subprocess, "run", run)
    return said


def test_two_examples_are_two_projects_in_one_store(tmp_path: Path, ran: list[list[str]]) -> None:
    names = []
    for example in ("it_support", "kitchen"):
        given = environ(tmp_path / example, example)
        assert main(given) == 0
        names.append(Settings.load(tmp_path / example, given).project_name)
    assert names[0] != names[1]
    assert [words[0] for words in ran] == ["import", "connect", "weak"] * 2  # nothing has voted: nothing is published


def test_a_second_start_makes_nothing_anew_and_connects_again(tmp_path: Path, ran: list[list[str]]) -> None:
    given = environ(tmp_path / "home", "kitchen")
    assert main(given) == 0
    functions, config = tmp_path / "home" / "labeling_functions.py", tmp_path / "home" / "loop.toml"
    functions.write_text("# mine\n")
    config.write_text(config.read_text().replace('functions = "labeling_functions.py"', 'functions = "mine.py"'))
    before = config.read_text()
    assert "mine.py" in before
    assert main(given) == 0
    assert functions.read_text() == "# mine\n"
    assert config.read_text() == before
    assert ran[:3] == ran[3:]


def test_label_studio_is_told_the_address_that_it_reaches_the_backend_at(tmp_path: Path, ran: list[list[str]]) -> None:
    given = environ(tmp_path / "home", "kitchen")
    main(given)
    assert Settings.load(tmp_path / "home", given).backend.address == first_project.BACKEND_URL


@pytest.mark.parametrize("name", ["", "bakery", "../kitchen", "label_studio_ml"])
def test_an_example_that_is_none_is_refused_by_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(environ(tmp_path / "home", name)) == 3
    said = capsys.readouterr().err
    assert "EXAMPLE is one of " in said and "it_support, kitchen" in said and ".env" in said
    assert not (tmp_path / "home").exists()


def test_the_exit_code_is_that_of_the_command_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_project.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 5))
    assert main(environ(tmp_path / "home", "kitchen")) == 5


def test_a_source_that_is_left_out_does_not_end_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 4 if words[3:] == ["weak", "apply"] else 0)

    monkeypatch.setattr(first_project.subprocess, "run", run)
    assert main(environ(tmp_path / "home", "kitchen")) == 0


def test_a_missing_home_is_told_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = environ(tmp_path / "home", "kitchen")
    del given["LOOP_HOME"]
    assert main(given) == 3
    assert "LOOP_HOME" in capsys.readouterr().err

"""The passwords and tokens of docker-compose.yml: made once, kept, and each service's in a volume of its own."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import make_url

from loop.up.secret_volumes import main

VOLUMES = ("kept", "postgres", "label-studio", "backend", "loop")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in VOLUMES:
        (tmp_path / f"secrets-{name}").mkdir()
    return tmp_path


def files(place: Path) -> dict[str, str]:
    return {str(path.relative_to(place)): path.read_text() for path in place.glob("*/*")}


def test_a_second_start_changes_nothing(place: Path) -> None:
    assert main(["make"], {}, place) == 0
    first = files(place)
    assert main(["make"], {}, place) == 0
    assert files(place) == first


def test_a_lost_volume_is_filled_again_with_the_same_secrets(place: Path) -> None:
    main(["make"], {}, place)
    first = files(place)
    shutil.rmtree(place / "secrets-backend")
    (place / "secrets-backend").mkdir()
    main(["make"], {}, place)
    assert files(place) == first


def test_a_secret_that_is_taken_out_is_made_anew_and_the_others_stay(place: Path) -> None:
    main(["make"], {}, place)
    kept = place / "secrets-kept" / "secrets.json"
    before = json.loads(kept.read_text())
    kept.chmod(0o600)
    kept.write_text(json.dumps({**before, "backend_password": ""}))
    main(["make"], {}, place)
    after = json.loads(kept.read_text())
    assert {name for name in before if before[name] != after[name]} == {"backend_password"}
    assert (place / "secrets-backend" / "backend_password").read_text() == after["backend_password"]
    assert (place / "secrets-loop" / "backend_password").read_text() == after["backend_password"]


def test_every_secret_is_random_and_long(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for name in VOLUMES:
        (other / f"secrets-{name}").mkdir()
    main(["make"], {}, place)
    main(["make"], {}, other)
    values = [value for one in (place, other) for value in json.loads(files(one)["secrets-kept/secrets.json"]).values()]
    assert len(set(values)) == len(values) == 12
    assert all(re.fullmatch("[0-9a-f]{40}", value) for value in values)


def test_everybody_reads_what_is_handed_out_and_only_its_owner_what_is_kept(place: Path) -> None:
    main(["make"], {}, place)
    modes = {str(path.relative_to(place)): path.stat().st_mode & 0o777 for path in place.glob("*/*")}
    assert modes.pop("secrets-kept/secrets.json") == 0o400
    assert set(modes.values()) == {0o444}


def test_label_studio_and_the_loop_hold_the_same_token_and_the_stores_address_has_its_password(place: Path) -> None:
    main(["make"], {}, place)
    found = files(place)
    words = ["bash", "-c", '. "$0" && env', str(place / "secrets-label-studio" / "environment")]
    sourced = subprocess.run(words, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, check=True).stdout
    environment = dict(line.split("=", 1) for line in sourced.splitlines())
    assert environment["LABEL_STUDIO_USER_TOKEN"] == found["secrets-loop/label_studio_token"]
    assert environment["POSTGRE_PASSWORD"] == found["secrets-postgres/label_studio_database_password"]
    for one in ("loop", "backend"):
        assert make_url(found[f"secrets-{one}/store_url"]).password == found["secrets-postgres/store_database_password"]


def test_nothing_secret_is_told_by_make(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["make"], {}, place)
    said = "".join(capsys.readouterr())
    assert "postgres_password" in said
    assert not [value for value in json.loads(files(place)["secrets-kept/secrets.json"]).values() if value in said]


def test_show_tells_the_first_user_and_the_password(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["make"], {}, place)
    capsys.readouterr()
    assert main(["show"], {"LABEL_STUDIO_USERNAME": "admin@example.com"}, place) == 0
    password = json.loads(files(place)["secrets-kept/secrets.json"])["label_studio_password"]
    shown = capsys.readouterr().out
    assert "admin@example.com" in shown and password in shown


def test_a_secret_that_a_person_gives_reaches_the_services_that_use_it_and_no_other_secret_changes(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["make"], {}, place)
    before = json.loads(files(place)["secrets-kept/secrets.json"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("p@ss/w:rd %41\n"))
    assert main(["set", "store_database_password"], {}, place) == 0
    assert "p@ss" not in "".join(capsys.readouterr())
    found = files(place)
    assert json.loads(found["secrets-kept/secrets.json"]) == {**before, "store_database_password": "p@ss/w:rd %41"}
    for one in ("loop", "backend"):
        assert make_url(found[f"secrets-{one}/store_url"]).password == "p@ss/w:rd %41"
    main(["make"], {}, place)
    assert files(place) == found


@pytest.mark.parametrize(
    ("words", "said"), [(["set", "nothing"], "backend_password"), (["set", "backend_password"], "a line of text")]
)
def test_a_secret_without_a_name_or_a_value_changes_nothing(
    words: list[str], said: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["make"], {}, place)
    before = files(place)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert main(words, {}, place) == 3
    assert said in capsys.readouterr().err
    assert files(place) == before


@pytest.mark.parametrize("text", ["{", "[1]", "7", '"word"', '{"backend_password": 7}'])
def test_kept_secrets_that_cannot_be_read_are_never_replaced(
    text: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = place / "secrets-kept" / "secrets.json"
    kept.write_text(text)
    assert main(["make"], {}, place) == 3
    assert "Restore the volume" in capsys.readouterr().err
    assert kept.read_text() == text


def test_show_before_make_says_what_to_do(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show"], {}, place) == 3
    assert "make" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_a_volume_of_another_user_is_told_with_the_user_who_needs_it(place: Path) -> None:
    asks = (
        "import os, sys; from pathlib import Path; from loop.up.secret_volumes import main\n"
        "os.setuid(65534); sys.exit(main(['make'], {}, Path(sys.argv[1])))"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o755)
        shutil.copytree(place, folder, dirs_exist_ok=True)
        words = [sys.executable, "-c", asks, folder]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    told = ended.stderr.replace("\n", " ")
    assert "secrets-kept as user 65534" in told and "chown -R 65534" in told and "Traceback" not in told

"""A secret comes from NAME or from the file that NAME_FILE names; what is wrong with the file is told by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loop.settings.settings import Settings
from ml_backend.settings import ServerSettings
from ner.containers import with_secret_files
from ner.errors import ConfigError

SECRET = "c0ffee-and-nobody-knows"


def read(**environ: str) -> str | None:
    return with_secret_files(environ, ["KEY"]).get("KEY")


def refusal(**environ: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read(**environ)
    assert SECRET not in str(refused.value)
    return str(refused.value)


def test_the_files_content_is_the_secret_without_white_space_at_its_ends(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"\ufeff {SECRET}\r\n")
    assert read(KEY_FILE=str(tmp_path / "key")) == SECRET


def test_without_a_file_the_variable_counts_and_an_empty_name_is_no_file() -> None:
    assert read(KEY=SECRET) == SECRET
    assert read(KEY=SECRET, KEY_FILE="") == SECRET
    assert read() is None


def test_both_variables_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    told = refusal(KEY=SECRET, KEY_FILE=str(tmp_path / "key"))
    assert "both KEY and KEY_FILE" in told and "Unset one" in told


def test_a_missing_file_is_told_by_its_path(tmp_path: Path) -> None:
    told = refusal(KEY_FILE=str(tmp_path / "none"))
    assert "KEY_FILE" in told and f"{tmp_path / 'none'} (No such file or directory)" in told


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(KEY_FILE=str(tmp_path))


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("\n")
    assert "which is empty" in refusal(KEY_FILE=str(tmp_path / "key"))


def test_a_file_that_is_not_text_is_told_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(SECRET.encode() + b"\xff")
    assert "not UTF-8" in refusal(KEY_FILE=str(tmp_path / "key"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "key").chmod(0o400)
    asks = (
        "import os, sys; from ner.containers import with_secret_files; os.setuid(65534)\n"
        "try: with_secret_files({'KEY_FILE': sys.argv[1]}, ['KEY'])\n"
        "except Exception as error: print(error)"
    )
    words = [sys.executable, "-c", asks, str(tmp_path / "key")]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "(Permission denied)" in told and "the owner and the mode" in told and SECRET not in told


def test_the_backend_takes_its_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql+psycopg://loop:word@postgres/loop\n")
    (tmp_path / "password").write_text(SECRET)
    environ = {"LOOP_STORE_URL_FILE": str(tmp_path / "url"), "BASIC_AUTH_USER": "user"}
    settings = ServerSettings.from_environ({**environ, "BASIC_AUTH_PASS_FILE": str(tmp_path / "password")})
    assert (settings.store_url, settings.password) == ("postgresql+psycopg://loop:word@postgres/loop", SECRET)
    assert SECRET not in repr(settings)


def test_the_loop_takes_its_secrets_from_files(tmp_path: Path) -> None:
    for name, text in (("url", "postgresql+psycopg://loop:word@postgres/loop"), ("key", SECRET), ("password", SECRET)):
        (tmp_path / name).write_text(text + "\n")
    environ = {
        "LOOP_STORE_URL_FILE": str(tmp_path / "url"),
        "LABEL_STUDIO_API_KEY_FILE": str(tmp_path / "key"),
        "BASIC_AUTH_PASS_FILE": str(tmp_path / "password"),
    }
    settings = Settings.of_text(tmp_path, '[project]\nname = "desk"\n', environ)
    assert settings.store_url == "postgresql+psycopg://loop:word@postgres/loop"
    assert (settings.label_studio.api_key, settings.backend.basic_auth_pass) == (SECRET, SECRET)
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("module", ["ml_backend", "loop.cli"])
def test_a_program_ends_at_its_start_with_3_and_names_the_file(module: str, tmp_path: Path) -> None:
    (tmp_path / "loop.toml").write_text('[project]\nname = "desk"\n')
    environ = {**os.environ, "LOOP_HOME": str(tmp_path), "LOOP_STORE_URL_FILE": str(tmp_path / "none")}
    environ.pop("LOOP_STORE_URL", None)
    words = [sys.executable, "-m", module, *(["status"] if module == "loop.cli" else [])]
    ended = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert "LOOP_STORE_URL_FILE" in ended.stderr and str(tmp_path / "none") in ended.stderr.replace("\n", "")
    assert "Traceback" not in ended.stderr


def test_serve_hands_the_backend_the_secrets_that_it_read_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loop.cli.invocation import Invocation
    from loop.cli.server import serve

    (tmp_path / "loop.toml").write_text('[project]\nname = "desk"\n')
    for name, text in (("URL", f"sqlite:///{tmp_path}/loop.db"), ("PASS", SECRET)):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("LOOP_STORE_URL_FILE", str(tmp_path / "URL"))
    monkeypatch.setenv("BASIC_AUTH_USER", "user")
    monkeypatch.setenv("BASIC_AUTH_PASS_FILE", str(tmp_path / "PASS"))
    handed: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda _program, _words, environ: handed.append(environ))
    serve(Invocation(tmp_path))
    settings = ServerSettings.from_environ(handed[0])
    assert (settings.store_url, settings.password) == (f"sqlite:///{tmp_path}/loop.db", SECRET)

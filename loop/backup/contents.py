"""What of a project's folder belongs into a backup, and what must not: secrets."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import make_url

from loop.backup.files import told
from loop.backup.manifest import LeftOut
from loop.settings.settings import CONFIG_NAME, Settings

# In a URL: user:password@host, and the parameter that SQLAlchemy takes in its place. Comments may hold URLs, too.
# A password may hold the quotation mark that does not end its string; the first alternative knows neither mark.
_IN_ADDRESS = re.compile(
    r"""(://[^\s:/@"']*):(?:[^\s@"']*|(?:[^\s@"]|\\")*(?=@[^\s"']*(?:"|$))|[^\s@']*(?=@[^\s"']*'))@"""
)
_IN_PARAMETER = re.compile(r"""(?i)([?&](?:password|secret|secret_key|token|signature)=)[^\s&"']*""")
STORE_PASSWORD = "the password of the store's database: set LOOP_STORE_URL, or write it into store.url of loop.toml"


def project_files(settings: Settings) -> Iterator[Path | LeftOut]:
    """The files of the project's folder that a restored project needs, without loop.toml; and what is left out.

    They are the label config, the file of labelling functions, what stands beside it and is named in it (gazetteers),
    weak.toml and likewise what it names, the encoder where it is a folder, and the reports.
    """
    home = settings.home
    encoder = Path(settings.train.encoder)
    wanted = [settings.labels_file]
    if encoder.is_absolute() and encoder.is_dir():
        wanted += [encoder]
    for sources in filter(None, (settings.weak_functions, settings.weak_file)):
        wanted += [sources, *_named_beside(sources, _of_the_project(settings))]
    wanted += [settings.reports]
    for path in dict.fromkeys(wanted):
        if not path.resolve().is_relative_to(home):
            yield LeftOut(str(path), "it lies outside of the project's folder: keep a copy of it yourself")
        elif path.is_file():
            yield path
        elif path.is_dir():
            yield from (file for file in sorted(path.rglob("*")) if file.is_file() and not _is_passing(file, home))
        elif path != settings.reports:
            yield LeftOut(str(path), "it is missing")


def public_loop_toml(settings: Settings) -> str:
    """The text of loop.toml without the passwords in its addresses."""
    path = settings.home / CONFIG_NAME
    with told(f"{path} can be read"):
        return without_passwords(path.read_text("utf-8-sig"))


def without_passwords(text: str) -> str:
    """`text` with every URL in it as it is without its password."""
    return _IN_PARAMETER.sub(r"\1", _IN_ADDRESS.sub(r"\1@", text))


def secrets_needed(settings: Settings) -> Iterator[str]:
    """What a restored project has to be given again, in words."""
    server, backend = settings.label_studio, settings.backend
    if server.api_key_file:
        yield f"the API key of Label Studio: write it into {server.api_key_file}, or set LABEL_STUDIO_API_KEY"
    elif server.api_key:
        yield "the API key of Label Studio: set LABEL_STUDIO_API_KEY"
    if make_url(settings.store_url).password:
        yield STORE_PASSWORD
    if backend.basic_auth_user:
        yield "the password of the ML backend: set BASIC_AUTH_PASS"
    if without_passwords(settings.mlflow.tracking_uri) != settings.mlflow.tracking_uri:
        yield "the password of MLflow: write it into mlflow.tracking_uri of loop.toml"
    if without_passwords(settings.models.remote) != settings.models.remote:
        yield "the password of the shared folder of models: set MODEL_STORE, or write it into models.remote"


def _is_passing(file: Path, home: Path) -> bool:
    """Whether a file is of a writing in progress, or a cache."""
    parts = file.relative_to(home).parts
    return any(part.startswith(".") or part == "__pycache__" for part in parts)


def _of_the_project(settings: Settings) -> list[Path]:
    """What a word in a file of sources does not mean, although it may be a name of it; secrets among them."""
    key, store = settings.label_studio.api_key_file, make_url(settings.store_url)
    file = store.database if store.get_backend_name() == "sqlite" else None
    names: list[str | Path] = [CONFIG_NAME, settings.model_dir, *filter(None, (key, file))]
    return [Path(settings.home, name).resolve() for name in names]


def _named_beside(sources: Path, without: Sequence[Path]) -> Iterator[Path]:
    """Files and folders beside a file of sources whose name is a string in it.

    Nothing that is among `without`, or that holds it.
    """
    try:
        words = _strings_of_toml(sources) if sources.suffix == ".toml" else _strings_of_python(sources)
    except (OSError, SyntaxError, ValueError):  # the copy of the file tells
        return
    for word in sorted(words):
        path = sources.parent / word
        if not re.fullmatch(r"\w[\w./ -]*", word) or "\n" in word or not os.access(path, os.F_OK):
            continue  # `Path.exists` raises for a sentence that is too long for a name
        if not any(one.is_relative_to(path.resolve()) for one in without):
            yield path


def _strings_of_python(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_bytes()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _strings_of_toml(path: Path) -> set[str]:
    found: set[str] = set()
    waiting: list[object] = [tomllib.loads(path.read_text("utf-8-sig"))]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
    return found

"""`loop init`: a project folder with its loop.toml and label config, its store and its row there; no server needed."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from xml.sax.saxutils import quoteattr

from sqlalchemy import select
from sqlalchemy.orm import Session

from loop.settings.sections import is_one_line
from loop.settings.settings import CONFIG_NAME, Settings
from loop.settings.training import TrainSettings
from loop.settings.whole_files import write_whole
from ner.errors import ConfigError, InputError
from ner.label_studio import LabelConfig
from store.projects import all_projects, create_project
from store.schema import Document, Model, Project, Run
from store.session import open_store

# Readable behind black text in Label Studio's page; repeated when there are more labels than colours.
_COLOURS = ("#7ec8e3", "#ffb347", "#77dd77", "#ff9aa2", "#cba6f7", "#f9e154", "#a0d8b3", "#d4a373", "#b5c7ff")
LABELS_NAME = "labels.xml"


@dataclass(frozen=True)
class Scaffolded:
    """What `loop init` made; `joined` when the store had the project's row already, with nothing done on it yet."""

    home: Path
    name: str
    labels: tuple[str, ...]
    files: tuple[Path, ...]
    joined: bool


def scaffold(
    home: Path, name: str, label_config: str, *, environ: Mapping[str, str] | None = None, salt: str | None = None
) -> Scaffolded:
    """Make the project `name` in the folder `home`, which is made when missing.

    `salt` decides, with the share, which documents are held out; random unless given.
    Raises InputError for a name that is not one line; ConfigError when a project is there already, or a different
    labels.xml, or the folder cannot be made; RefusedError when the store has a project of that name that is in use.
    loop.toml is written last: a run that was cut short left none and can be run again.
    """
    environ = os.environ if environ is None else environ
    labels = LabelConfig.parse(label_config).labels
    _check_name(name)
    _refuse_existing(home, label_config)
    _make_folder(home)
    write_whole(home / LABELS_NAME, label_config)
    document = toml_document(name)
    settings = Settings.of_document(home, tomllib.loads(document), environ)
    joined = not _create_in_store(settings, label_config, labels, salt)
    write_whole(home / CONFIG_NAME, document)
    return Scaffolded(home, name, labels, (home / CONFIG_NAME, home / LABELS_NAME), joined)


def config_of_labels(words: str) -> str:
    """A label config, Labels over Text, for label names parted by commas; InputError for none or one twice."""
    labels = [word.strip() for word in words.split(",")]
    if not all(labels):
        raise InputError("labels are names parted by commas", value=words, next_step="Write --labels SOFTWARE,OS.")
    twice = next((label for i, label in enumerate(labels) if label in labels[:i]), None)
    if twice is not None:
        raise InputError("each label is named once", value=twice, next_step="Remove one of the two.")
    return _config_of(labels)


def toml_document(name: str) -> str:
    """The text of a new loop.toml, with every section explained."""
    quoted = json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")  # which JSON allows and TOML does not
    defaults = TrainSettings()
    lines = (f"# {field.name} = {json.dumps(getattr(defaults, field.name))}\n" for field in fields(defaults))
    return _TEMPLATE.format(name=quoted, train="".join(lines))


def _config_of(labels: Sequence[str]) -> str:
    rows = "".join(
        f"    <Label value={quoteattr(label)} background={quoteattr(_COLOURS[i % len(_COLOURS)])}/>\n"
        for i, label in enumerate(labels)
    )
    return (
        f'<View>\n  <Labels name="label" toName="text">\n{rows}  </Labels>\n'
        '  <Text name="text" value="$text"/>\n</View>\n'
    )


def _refuse_existing(home: Path, label_config: str) -> None:
    if (home / CONFIG_NAME).exists():
        raise ConfigError(
            "a folder holds one project", value=str(home / CONFIG_NAME), next_step="Choose another folder, or use it."
        )
    if home.exists() and not home.is_dir():
        raise ConfigError("a project is a folder", value=str(home), next_step="Choose another name.")
    labels = home / LABELS_NAME
    if labels.exists() and labels.read_bytes() != label_config.encode():
        raise ConfigError(
            "no file is overwritten", value=str(labels), next_step=f"Use it with --config {labels}, or move it away."
        )


def _check_name(name: str) -> None:
    if not is_one_line(name):
        raise InputError(
            "a project's name is one line of Unicode text, without control characters and lone surrogates",
            value=name,
            next_step="Choose another with --name.",
        )


def _make_folder(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "the folder of a project can be made", value=str(error), next_step="Choose another folder."
        ) from error


def _create_in_store(settings: Settings, label_config: str, labels: tuple[str, ...], salt: str | None) -> bool:
    """The project's row, True when it was made now; one with the same config, on which nothing was done, is joined.

    An init that was cut short leaves such a row, and so does one in another folder that shares the store. A row in use
    is never joined: `create_project` refuses its name.
    """
    store = open_store(settings.store_url)
    try:
        with store.transaction() as tx:
            left = next((p for p in all_projects(tx.session) if p.name == settings.project_name), None)
            made = left is None or left.label_config != label_config or _is_used(tx.session, left)
            if made:
                share = settings.holdout_share
                name = settings.project_name
                create_project(tx, name, label_config=label_config, labels=labels, holdout_share=share, salt=salt)
            tx.commit()
            return made
    finally:
        store.close()


def _is_used(session: Session, project: Project) -> bool:
    """Whether it is linked, or anything was done with it."""
    done = (session.scalar(select(kind.project_id).where(kind.project_id == project.id).limit(1)) for kind in _WORK)
    return project.ls_project_id is not None or any(found is not None for found in done)


_WORK = (Document, Model, Run)
_TEMPLATE = """\
# A project of the annotation loop. Relative paths are relative to this file. Everything but the name has a default;
# what is commented out shows it. Environment variables win over this file (see README). No secret belongs in here.

[project]
name = {name}
labels = "labels.xml"               # Label Studio's label config: Labels over Text

[store]
# url = "sqlite:///loop.db"         # or PostgreSQL; LOOP_STORE_URL

[models]
# dir = "models"                    # one folder per model version; MODEL_DIR

[label_studio]
# url = "http://localhost:8080"     # LABEL_STUDIO_URL
# project = 1                       # the project's id on the server; `loop connect` links one
# api_key_file = "api-key"          # a file that only you can read; or LABEL_STUDIO_API_KEY

# The encoder may be any name or folder that transformers loads (BERT, DistilBERT, RoBERTa). What each of these does
# stands in loop/settings/training.py; changed recipes are worth a look at BENCHMARKS.md.
[train]
{train}
[holdout]
# share = 0.2                       # of the pool's documents, drawn at random, never trained on

# When a candidate goes into service; each setting is explained in loop/settings/promotion.py and in README.
[promotion]
# alpha = 0.05                      # the chance of one false promotion over all looks at one holdout
# looks = 10                        # candidates that one holdout judges before another is drawn
# spending = "even"                 # or "decreasing": more for the first looks
# delta = 0.03                      # F1 that an entity type may lose
# confidence = 0.95                 # of intervals, and of the bound that is held against delta
# least_documents = 20              # labelled documents in the holdout before a candidate is judged by them
# wanted = 0.02                     # the difference in F1 that you would like to see
# resamples = 10000                 # of the test and of the intervals, at least
# seed = 13
# first_model = "gates"             # or "weak vote": a first model has to beat the labelling functions
# reference = true                  # run each candidate in FP32, too: a minute, and the INT8 loss is known
# robustness = 300                  # held-out texts that are perturbed; 0 for none
# timed = 100                       # texts that are timed; 0 for none
# texts = true                      # whether reports quote held-out texts

# Targets on the holdout and on this machine, all optional.
[gates]
# f1 = 0.85                         # micro, at least
# precision = 0.80
# recall = 0.80
# latency_ms = 100                  # median of one text, at most
# documents_per_second = 100        # in calls of 8, at least
# bundle_mb = 100                   # of the model's folder, at most
# memory_mb = 400                   # of a process that runs it, at most
# types = {{ VERSION = {{ f1 = 0.80, recall = 0.75 }} }}

[mlflow]
# tracking_uri = ""                 # log each attempt there, too; needs the extra "mlflow"
# experiment = ""                   # by default the project's name

[service]
# poll_seconds = 15                 # how often `loop run` asks Label Studio for news
# retrain_after = 50                # newly labelled documents that start a training

[weak]
# functions = "functions.py"        # labelling functions for the cold start

[backend]
# host = "127.0.0.1"                # where `loop serve` listens
# port = 9090                       # PORT
# workers = 1                       # WORKERS: processes, each with its own copy of the models
# threads = 4                       # THREADS: requests at once in each
# url = ""                          # how Label Studio reaches it, where that is not http://host:port
# basic_auth_user = ""              # BASIC_AUTH_USER; the password only as BASIC_AUTH_PASS

[status]
# minimum_labels = 50               # labels per type below which `loop status` warns

[log]
# level = "INFO"                    # DEBUG, INFO, WARNING or ERROR; LOG_LEVEL

# Labels of imported files -> labels of this project. Once there is a map, labels that are neither in it nor the
# project's own are dropped and counted.
# [label_map]
# Application = "SOFTWARE"
"""

"""`loop init`: a project folder with its loop.toml and label config, its store and its row there; no server needed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from sqlalchemy import select
from sqlalchemy.orm import Session

from loop.settings.model import is_one_line
from loop.settings.settings import CONFIG_NAME, Settings
from loop.settings.toml_text import new_loop_toml
from loop.settings.whole_files import write_whole
from ner.errors import ConfigError, InputError
from ner.label_studio.label_config import Control, LabelConfig, OtherControl
from store.database.schema import Document, Model, Project, Run
from store.database.session import open_store
from store.projects import all_projects, create_project

# Readable behind black text in Label Studio's page; repeated when there are more labels than colours.
_COLOURS = ("#7ec8e3", "#ffb347", "#77dd77", "#ff9aa2", "#cba6f7", "#f9e154", "#a0d8b3", "#d4a373", "#b5c7ff")
LABELS_NAME = "labels.xml"


@dataclass(frozen=True)
class Scaffolded:
    """What `loop init` made; `joined` when the store had the project's row already, with nothing done on it yet.

    left_out: the controls of the label config that mark spans and are not learned from.
    """

    home: Path
    name: str
    labels: tuple[str, ...]
    files: tuple[Path, ...]
    joined: bool
    left_out: tuple[OtherControl, ...] = ()


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
    config = LabelConfig.parse(label_config)
    _check_name(name)
    _refuse_existing(home, label_config)
    _make_folder(home)
    write_whole(home / LABELS_NAME, label_config)
    text = new_loop_toml(name)
    settings = Settings.of_text(home, text, environ)
    joined = not _create_in_store(settings, label_config, config.labels, salt)
    write_whole(home / CONFIG_NAME, text)
    made = (home / CONFIG_NAME, home / LABELS_NAME)
    return Scaffolded(home, name, config.labels, made, joined, config.left_out)


def config_of_labels(words: str) -> str:
    """A label config, Labels over Text, for names separated by commas; InputError for an empty or repeated name."""
    labels = [word.strip() for word in words.split(",")]
    if not all(labels):
        raise InputError("labels are names separated by commas", value=words, next_step="Write --labels SOFTWARE,OS.")
    twice = next((label for i, label in enumerate(labels) if label in labels[:i]), None)
    if twice is not None:
        raise InputError("each label is named once", value=twice, next_step="Remove one of the two.")
    return xml_of(LabelConfig((Control("label", tuple(labels)),), "text", "text"))


def xml_of(config: LabelConfig) -> str:
    """The label config that `LabelConfig.parse` reads as `config`; controls that are not learned from are left out."""
    colours = itertools.cycle(_COLOURS)
    lines = ["<View>"]
    for control in config.controls:
        lines.append(f"  <Labels name={quoteattr(control.name)} toName={quoteattr(config.to_name)}>")
        rows = zip(control.labels, colours, strict=False)
        lines += [f"    <Label value={quoteattr(label)} background={quoteattr(colour)}/>" for label, colour in rows]
        lines.append("  </Labels>")
    lines.append(f"  <Text name={quoteattr(config.to_name)} value={quoteattr('$' + config.data_field)}/>")
    return "\n".join([*lines, "</View>", ""])


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
    name = settings.project_name
    with closing(open_store(settings.store_url)) as store, store.transaction() as tx:
        left = next((p for p in all_projects(tx.session) if p.name == name), None)
        made = left is None or left.label_config != label_config or _is_used(tx.session, left)
        if made:
            share = settings.holdout.share
            create_project(tx, name, label_config=label_config, labels=labels, holdout_share=share, salt=salt)
        tx.commit()
        return made


def _is_used(session: Session, project: Project) -> bool:
    """Whether it is linked, or anything was done with it."""
    queries = (select(kind.project_id).where(kind.project_id == project.id).limit(1) for kind in (Document, Model, Run))
    return project.ls_project_id is not None or any(session.scalar(query) is not None for query in queries)

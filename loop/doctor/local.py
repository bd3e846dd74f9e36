"""What can be checked on this machine: the store, the label config, the model, the encoder, the disk, the key file."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from loop.doctor.checks import Check, fail, guarded, ok, skip, warn
from loop.settings.project import current_project, open_tagger
from loop.settings.settings import Settings, without_password
from ner.label_config import LabelConfig
from store.runs import RUNNING, is_alive
from store.schema import Project, Run
from store.session import Store, open_store

# What the hub takes for the name of a model: `name` or `owner/name`.
_REPOSITORY = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*")
_MIB = 1024 * 1024
_SCARCE, _TOO_LITTLE = 2048 * _MIB, 200 * _MIB


def check_store(settings: Settings) -> tuple[list[Check], Store | None, Project | None]:
    """(findings, the open store, the project's row); None for what cannot be had."""
    held: list[Store | Project] = []

    def opened() -> Check:
        store = open_store(settings.store_url)
        held.append(store)
        return ok("store", f"{without_password(settings.store_url)}, schema {store.schema_version()}")

    def found() -> Check:
        project = current_project(next(one for one in held if isinstance(one, Store)), settings)
        held.append(project)
        return ok("project", f"{project.name}: {', '.join(project.labels)}")

    findings = list(guarded("store", opened))
    if held:
        findings += guarded("project", found)
    store = next((one for one in held if isinstance(one, Store)), None)
    return findings, store, next((one for one in held if isinstance(one, Project)), None)


def check_project_here(settings: Settings, store: Store, project: Project) -> Iterator[Check]:
    """What the store and the model folder say of the project."""
    yield from guarded("label config", lambda: check_label_config(project))
    yield from guarded("model in service", lambda: check_model(store, settings, project))
    yield from guarded("interrupted runs", lambda: check_runs(store, project))


def check_machine(settings: Settings) -> Iterator[Check]:
    """What needs neither the store nor a server."""
    yield from guarded("encoder", lambda: check_encoder(settings))
    yield from guarded("disk space for models", lambda: check_disk("disk space for models", settings.model_dir))
    yield from guarded("API key file", lambda: check_key_file(settings))


def check_label_config(project: Project) -> Check:
    """Labels over Text; other controls are named, since nothing is learned from them."""
    config = LabelConfig.parse(project.label_config)
    read = f"<Labels name={config.from_name!r}> over <Text name={config.to_name!r}> showing data.{config.data_field}"
    if not config.set_aside:
        return ok("label config", read)
    others = "; ".join(f"{item.payload['tag']} {item.payload['name']!r}: {item.reason}" for item in config.set_aside)
    return warn("label config", f"{read}; not learned from: {others}", "Nothing, if that is meant.")


def check_model(store: Store, settings: Settings, project: Project) -> Check:
    """The bundle's hashes, labels and output width, and that it runs."""
    if project.promoted_version is None:
        return warn("model in service", "none yet", "Train one: `loop retrain`, then `loop promote`.")
    tagger = open_tagger(store, settings, project)
    try:
        return ok("model in service", f"{tagger.version}: hashes, labels and output width agree")
    finally:
        tagger.close()


def check_encoder(settings: Settings) -> Check:
    """That the base encoder of the next training is there, and for the packaged one that its hash is right."""
    from huggingface_hub import try_to_load_from_cache  # these two imports take seconds; nothing else here needs them

    from loop.training.encoder import MINILM, find_source

    name, chosen = "encoder", settings.train.encoder
    source = find_source(chosen)
    if chosen == MINILM:
        return ok(name, f"{chosen}: the SHA-256 of its weights is right")
    if Path(source).is_dir():
        return _encoder_folder(name, source)
    if not _REPOSITORY.fullmatch(source):
        return fail(name, f"no folder {source}", "Correct train.encoder; it is relative to the project's folder.")
    if isinstance(try_to_load_from_cache(source, "config.json"), str):
        return ok(name, f"{source}, in the cache of the hub")
    mend = "The next training downloads it. If a folder was meant, correct train.encoder."
    return warn(name, f"{source} is neither a folder nor in the cache", mend)


def _encoder_folder(name: str, source: str) -> Check:
    if (Path(source) / "config.json").is_file():
        return ok(name, f"folder {source}")
    return fail(name, f"folder {source} has no config.json", "Name the folder that holds it as train.encoder.")


def check_disk(name: str, folder: Path) -> Check:
    """Free space where models go; a model takes about 30 MB, a training three times that."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    shown = f"{free // _MIB:,} MiB free at {there}"
    if free < _TOO_LITTLE:
        return fail(name, shown, "Free some space: a training would fail.")
    return warn(name, shown, "Free some space.") if free < _SCARCE else ok(name, shown)


def check_key_file(settings: Settings) -> Check:
    """That the file with the API key is there and nobody else may read it."""
    name, written = "API key file", settings.label_studio.api_key_file
    if written is None:
        return skip(name, "none is named; the key comes from LABEL_STUDIO_API_KEY")
    path = (settings.home / Path(written).expanduser()).resolve()
    if not path.is_file():
        if settings.label_studio.api_key:
            return ok(name, "missing, but LABEL_STUDIO_API_KEY is set")
        return fail(name, f"{path} is missing", "Write the key into it, and `chmod 600` it.")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warn(name, f"{path} can be read by others", f"chmod 600 {path}")
    return ok(name, f"{path}, readable by its owner alone")


def check_runs(store: Store, project: Project) -> Check:
    """Runs whose process died without a word."""
    name = "interrupted runs"
    with store.read() as session:
        query = select(Run).where(Run.project_id == project.id, Run.state == RUNNING)
        running = [run for run in session.scalars(query) if not is_alive(run)]
    if not running:
        return ok(name, "none")
    kinds = ", ".join(f"{run.kind} of {run.started_at:%Y-%m-%d %H:%M}" for run in running)
    return warn(name, kinds, "Run it again: it says what it found, and goes on from there.")

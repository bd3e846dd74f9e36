"""What can be checked on this machine: store, label config, model, runs, encoder, disk, key file."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path

from sqlalchemy import select

from loop.doctor.checks import Check, fail, ok, skip, warn
from loop.files.doubts import doubts_sentence, mend
from loop.settings.project import open_tagger
from loop.settings.settings import Settings, without_password
from loop.training.recovery import UNFINISHED
from loop.wording import number_of
from ner.label_studio.label_config import LabelConfig
from ner.labels import OUTSIDE, LabelSet
from ner.models.shared_folder import check_local
from store.counts import doubts_of
from store.database.schema import Project, Run
from store.database.session import Store
from store.gold import labelled
from store.registry import CANDIDATE, models
from store.runs import RETRAIN, RUNNING, is_alive

# What the hub takes for the name of a model: `name` or `owner/name`.
_REPOSITORY = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*")
_MIB = 1024 * 1024
_SCARCE, _TOO_LITTLE = 2048 * _MIB, 200 * _MIB


def check_store(settings: Settings, store: Store) -> Check:
    """Where the open store is, and its schema."""
    return ok(f"{without_password(settings.store_url)}, schema {store.schema_version()}")


def check_labels(project: Project) -> Check:
    """What the project is called, and its entity types."""
    return ok(f"{project.name}: {', '.join(project.labels)}")


def check_label_config(project: Project) -> Check:
    """The <Labels> over the one <Text>. Other controls are named, since nothing is learned from them."""
    config = LabelConfig.parse(project.label_config)
    names = ", ".join(repr(control.name) for control in config.controls)
    read = f"<Labels> {names} over <Text name={config.to_name!r}> showing data.{config.data_field}"
    if not config.others:
        return ok(read)
    others = "; ".join(map(str, config.others))
    return warn(f"{read}; not learned from: {others}", "Nothing, if that is meant.")


def check_label_map(project: Project) -> Check:
    """Whether the map leads to labels that the project has."""
    label_map = project.label_map or {}
    wrong = sorted(name for name, label in label_map.items() if label not in (*project.labels, OUTSIDE))
    if not label_map:
        return ok("none: every label keeps its name")
    if not wrong:
        return ok(number_of(len(label_map), "label is renamed", "labels are renamed"))
    shown = ", ".join(f'"{name}" = "{label_map[name]}"' for name in wrong)
    known = ", ".join(project.labels)
    return fail(f"the project has no such label: {shown}", f'Map to one of {known}, or to "O" for no entity.')


def check_doubts(store: Store, project: Project) -> Check:
    """Labelled texts that are not learned from, since something that was said about them was not understood."""
    with store.read() as session:
        doubts = doubts_of(session, labelled(session, project.id).doubtful)
    if not doubts:
        return ok("none: everything that was said about the labelled texts was understood")
    return warn(
        doubts_sentence(doubts, project.labels), f"{mend(doubts, project.labels)} `loop doctor --data` shows some."
    )


def check_model(store: Store, settings: Settings, project: Project) -> Check:
    """The bundle's hashes, labels and output width, and that it runs."""
    if project.promoted_version is None:
        return warn(*_no_model(store, project))
    tagger = open_tagger(store, settings, project)
    tagger.close()
    return ok(f"{tagger.version}: hashes, labels and output width agree")


def _no_model(store: Store, project: Project) -> tuple[str, str]:
    """How far a first model is, and what to do for it."""
    with store.read() as session:
        candidates = models(session, project.id, {CANDIDATE})
        running = session.scalars(select(Run).where(Run.project_id == project.id, Run.state == RUNNING))
        is_training = any(run.kind == RETRAIN and is_alive(run) for run in running)
    if is_training:
        return "none yet: a model is in training", "Wait for the training. `loop promote` judges its model."
    if candidates:
        return f"none yet: {candidates[-1].version} is a candidate", "Judge it: `loop promote`."
    return "none yet", "Train one: `loop retrain`, then `loop promote`."


def check_shared_models(store: Store, settings: Settings, project: Project) -> Check:
    """Whether the folder that the hosts share can be used, and has the models of this host."""
    library = settings.library
    if library.shared is None:
        return skip("none: `[models] remote` is not set, and every model stays on this machine")
    check_local(library.folder)
    library.shared.check(writing=True)
    with store.read() as session:
        finished = [one for one in models(session, project.id) if one.state not in UNFINISHED]
    there = library.shared.names(project.slug)
    here = [one.version for one in finished if one.version not in there and (library.folder / one.path).is_dir()]
    cache = f"{library.size() // _MIB:,} of {settings.models.cache_mb:,} MiB are cached in {library.folder}"
    counted = number_of(len(there), "model of the project is", "models of the project are")
    found = f"{library.shared.shown} can be read and written; {counted} there; {cache}"
    if here:
        return warn(f"{found}; only here: {', '.join(here)}", "`loop run` sends them; so does `loop promote`.")
    return ok(found)


def check_engine(store: Store, settings: Settings, project: Project) -> Check:
    """Whether the inference server serves the very model that is in service here."""
    from ner.models.inference_server import InferenceServer
    from ner.models.remote_model import Fingerprint, RemoteModel, model_name

    backend = settings.backend
    server = InferenceServer(backend.engine, backend.engine_seconds)
    name = model_name(backend.engine_model, project.slug, project.promoted_version or "")
    remote = RemoteModel(server, name, LabelSet(tuple(project.labels)))
    if project.promoted_version is None:
        remote.check_metadata()
        return warn(f"{remote.shown} has the right labels, but no model is in service here", "`loop promote` one.")
    tagger = open_tagger(store, settings, project)
    tagger.close()
    distance = remote.check(Fingerprint.of(tagger.bundle))
    return ok(f"{remote.shown} is {tagger.version}: {distance:.3f} nats from the bundle")


def check_runs(store: Store, project: Project) -> Check:
    """Runs whose process died without a word."""
    with store.read() as session:
        query = select(Run).where(Run.project_id == project.id, Run.state == RUNNING)
        dead = [run for run in session.scalars(query) if not is_alive(run)]
    if not dead:
        return ok("none")
    kinds = ", ".join(f"{run.kind} of {run.started_at:%Y-%m-%d %H:%M}" for run in dead)
    return warn(kinds, "Run it again: it says what it found, and goes on from there.")


def check_encoder(settings: Settings) -> Check:
    """Whether the base encoder of the next training is there; for the packaged one, whether its hash is right."""
    from huggingface_hub import try_to_load_from_cache  # these two imports take seconds; nothing else here needs them

    from loop.training.encoder import MINILM, find_source

    chosen = settings.train.encoder
    source = find_source(chosen)
    if chosen == MINILM:
        return ok(f"{chosen}: the SHA-256 of its weights is right")
    if (Path(source) / "config.json").is_file():
        return ok(f"folder {source}")
    if Path(source).is_dir():
        return fail(f"folder {source} has no config.json", "Name the folder that holds it as train.encoder.")
    if not _REPOSITORY.fullmatch(source):
        return fail(f"no folder {source}", "Correct train.encoder; it is relative to the project's folder.")
    if isinstance(try_to_load_from_cache(source, "config.json"), str):
        return ok(f"{source}, in the cache of the hub")
    mend = "The next training downloads it. If a folder was meant, correct train.encoder."
    return warn(f"{source} is neither a folder nor in the cache", mend)


def check_disk(folder: Path) -> Check:
    """Free space where models go; a model takes about 30 MB, a training three times that."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    shown = f"{free // _MIB:,} MiB free at {there}"
    if free < _TOO_LITTLE:
        return fail(shown, "Free some space: a training would fail.")
    return warn(shown, "Free some space.") if free < _SCARCE else ok(shown)


def check_key_file(settings: Settings) -> Check:
    """Whether the file with the API key is there, and nobody else may read it."""
    written = settings.label_studio.api_key_file
    if written is None:
        return skip("none is named; the key comes from LABEL_STUDIO_API_KEY")
    path = (settings.home / Path(written).expanduser()).resolve()
    if not path.is_file():
        if settings.label_studio.api_key:
            return ok("missing, but LABEL_STUDIO_API_KEY is set")
        return fail(f"{path} is missing", "Write the key into it, and `chmod 600` it.")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warn(f"{path} can be read by others", f"chmod 600 {path}")
    return ok(f"{path}, readable by its owner alone")

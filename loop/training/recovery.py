"""What a process that died left behind in the store and in the model folder: found, mended, and said."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ner.errors import BundleError
from ner.models.bundle import MANIFEST
from ner.models.model_library import ModelLibrary
from store.database.schema import Model, Project
from store.registry import CANDIDATE, FAILED, INTERRUPTED, TRAINING, fail_model, models
from store.runs import TrackedRun, recover

BUILDING = ".building-"
SET_ASIDE = ".set-aside-"
UNFINISHED = (TRAINING, INTERRUPTED, FAILED)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was not as a finished run leaves it, and what was done about it, as one sentence each."""

    what: str
    done: str

    def __str__(self) -> str:
        return f"{self.what}: {self.done}"


def recover_project(run: TrackedRun, library: ModelLibrary, project: Project) -> list[Finding]:
    """Make store and model folder agree. `run` is an exclusive run of a kind that changes models: nobody else builds.

    Dead runs are marked interrupted, with the models they trained; half-built folders and folders of
    models that never were finished are removed; a folder that the store knows nothing of is set aside under another
    name; a candidate without its folder is marked failed; any other model without one is named. With a shared folder, a
    model that is there is no finding, and a candidate that is not may still be on the host that trained it.
    """
    with run.transaction() as tx:
        dead = [*run.replaced, *recover(tx, project.id)]
        tx.commit()
    findings = [
        Finding(
            f"run {one.run_id} ({one.kind}, process {one.pid}) was interrupted",
            f"marked so{', with ' + ', '.join(one.models) if one.models else ''}",
        )
        for one in dead
    ]
    with run.store.read() as session:
        known = {model.version: model for model in models(session, project.id)}
    findings += _clean(library.folder / project.slug, known)
    if library.shared is None:
        return findings + list(_without_folder(run, library.folder, known))
    return findings + list(_nowhere(library, project.slug, known.values()))


def _clean(folder: Path, known: dict[str, Model]) -> Iterator[Finding]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.is_dir():
            continue
        if path.name.startswith(BUILDING):
            shutil.rmtree(path)
            yield Finding(f"{path} was half built", "removed")
        elif path.name.startswith("."):
            continue
        elif path.name not in known:
            if (path / MANIFEST).exists():
                aside = _free_name(folder / f"{SET_ASIDE}{path.name}")
                path.rename(aside)
                yield Finding(f"{path} is in no store row", f"set aside as {aside.name}")
        elif known[path.name].state in UNFINISHED:
            shutil.rmtree(path)
            yield Finding(f"{path} is of a model that is {known[path.name].state}", "removed")


def _without_folder(run: TrackedRun, model_dir: Path, known: dict[str, Model]) -> Iterator[Finding]:
    for model in known.values():
        if model.state in UNFINISHED or (model_dir / model.path).is_dir():
            continue
        what = f"{model.version} ({model.state}) has no folder {model_dir / model.path}"
        if model.state != CANDIDATE:
            yield Finding(what, "put it back from a backup, or roll back and train again")
            continue
        with run.transaction() as tx:
            fail_model(tx, model.version, "its folder is gone")
            tx.commit()
        yield Finding(what, "marked failed")


def _nowhere(library: ModelLibrary, slug: str, known: Iterable[Model]) -> Iterator[Finding]:
    """Models that are neither here nor in the shared folder."""
    assert library.shared is not None
    away = [one for one in known if one.state not in UNFINISHED and not (library.folder / one.path).is_dir()]
    try:
        there = library.shared.names(slug) if away else frozenset()
    except BundleError as error:
        yield Finding(f"the models in {library.shared.shown} cannot be listed ({error})", "nothing is decided by that")
        return
    for model in away:
        if model.path.rpartition("/")[2] not in there:
            what = f"{model.version} ({model.state}) is neither here nor in {library.shared.shown}"
            yield Finding(what, "run `loop run` or `loop promote` on the host that trained it, which sends it")


def _free_name(wanted: Path) -> Path:
    """`wanted`, or with the first number that is free behind it."""
    number, free = 1, wanted
    while free.exists():
        number += 1
        free = wanted.with_name(f"{wanted.name}-{number}")
    return free

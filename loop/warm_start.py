"""Whether a training can go on from the adapter of the model in service, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loop.encoder import BaseModel
from loop.lora import ADAPTER
from loop.training_settings import TrainSettings
from ner.bundle import load_bundle
from ner.errors import BundleError
from ner.labels import LabelSet
from ner.manifest import Manifest
from store.schema import Model

ENCODER_SHA256 = "encoder_sha256"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a training starts: at `adapter` of the model `parent`, or, both None, at the base; `notice` says why."""

    parent: str | None = None
    adapter: Path | None = None
    notice: str | None = None


def find_start(
    promoted: Model | None, model_dir: Path, base: BaseModel, labels: LabelSet, settings: TrainSettings
) -> Start:
    """The promoted model's adapter, its hashes verified, if encoder, labels and the adapter's shape are the same."""
    if promoted is None:
        return Start()
    folder = model_dir / promoted.path
    try:
        manifest = load_bundle(folder).manifest
    except BundleError as error:
        return Start(notice=f"training starts from the base: {promoted.version} cannot be loaded ({error})")
    obstacle = _obstacle(manifest, base, labels, settings)
    if obstacle:
        return Start(notice=f"training starts from the base, not from {promoted.version}: {obstacle}")
    return Start(promoted.version, folder / ADAPTER)


def _obstacle(manifest: Manifest, base: BaseModel, labels: LabelSet, settings: TrainSettings) -> str | None:
    if manifest.labels != labels.types:
        return f"its labels are {', '.join(manifest.labels)}, the project's {', '.join(labels.types)}"
    if manifest.settings.get(ENCODER_SHA256) != base.sha256:
        return f"its encoder is {manifest.encoder}, with other weights than {base.name}"
    shape = {name: manifest.settings.get(name) for name in ("rank", "alpha")}
    if shape != {"rank": settings.rank, "alpha": settings.alpha}:
        return f"its adapter has rank {shape['rank']} and alpha {shape['alpha']}"
    if not any(name.startswith(f"{ADAPTER}/") for name in manifest.files):
        return "it carries no adapter"
    return None

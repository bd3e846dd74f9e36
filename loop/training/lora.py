"""The LoRA adapter (Hu et al. 2021) of an encoder: attached, loaded, saved, and merged into the encoder.

`find_start` says whether a training can go on from the adapter of the model in service, and if not, why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from loop.settings.model import TrainSettings
from loop.training.encoder import BaseModel, classifier_name, lora_targets, quiet
from loop.training.progress import TrainingError
from ner.arrays import IntArray
from ner.errors import BundleError
from ner.labels import LabelSet
from ner.models.bundle import Manifest, load_bundle
from ner.models.model_library import ModelLibrary
from store.database.schema import Model

ADAPTER = "adapter"
WEIGHTS = "adapter_model.safetensors"
ENCODER_SHA256 = "encoder_sha256"


def attach(base: BaseModel, settings: TrainSettings, num_tags: int) -> Any:
    """A peft model that trains the adapter and the classifier, both drawn from torch's generator."""
    head = classifier_name(base.model, num_tags)
    with torch.no_grad():
        torch.nn.init.normal_(base.model.get_submodule(head).weight, std=0.02)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=lora_targets(base.model),
        modules_to_save=[head],
    )
    with quiet():
        model = get_peft_model(base.model, config)
    # Without this line, adapter_config.json would name a folder of this machine.
    model.peft_config["default"].base_model_name_or_path = base.name
    return model


def start_at_prior(model: Any, tag_counts: IntArray) -> None:
    """Set the classifier's bias to the log prior of the (num_tags,) counts, add-one smoothed.

    A new classifier then knows from the start how rare entities are, and does not spend its first steps, at the highest
    gradients, on learning that (Lin et al. 2017, section 3.3).
    """
    prior = np.log((tag_counts + 1) / (tag_counts + 1).sum())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name.endswith(".bias") and parameter.shape == prior.shape:
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(prior))


def load_weights(model: Any, folder: Path) -> None:
    """Load adapter and classifier from `folder` into `model`. Raises TrainingError unless every weight arrives."""
    try:
        saved = load_file(folder / WEIGHTS)
        with quiet():
            set_peft_model_state_dict(model, saved)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise TrainingError(
            "an adapter can be loaded into its encoder",
            value=f"{folder}: {str(error).splitlines()[0]}",
            next_step="Train with --from-scratch.",
        ) from error
    now = get_peft_model_state_dict(model, save_embedding_layers=False)
    lost = sorted(saved.keys() ^ now.keys()) or [name for name in saved if not torch.equal(saved[name], now[name])]
    if lost:
        raise TrainingError(
            "every weight of an adapter arrives in the model, the classifier's too",
            value=f"{folder}: {len(lost)} did not, such as {lost[0]}",
            next_step="Train with --from-scratch.",
        )


def save(model: Any, folder: Path) -> None:
    """Write the adapter with its classifier into `folder`, as peft's own loaders read it."""
    with quiet():
        model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def merge(model: Any) -> Any:
    """The encoder with the adapter folded into its weights, in eval mode; `model` is used up."""
    with quiet():
        return model.merge_and_unload(safe_merge=True).eval()


def trainable(model: Any) -> dict[str, Any]:
    """The parameters that a training changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Where a training starts: at `adapter` of the model `parent`, or at the base where both are None.

    notice: why the training starts at the base although a model is in service.
    """

    parent: str | None = None
    adapter: Path | None = None
    notice: str | None = None


def find_start(
    promoted: Model | None, library: ModelLibrary, base: BaseModel, labels: LabelSet, settings: TrainSettings
) -> WarmStart:
    """The promoted model's adapter, its hashes verified, if encoder, labels and the adapter's shape are the same."""
    if promoted is None:
        return WarmStart()
    try:
        folder = library.bundle(promoted.path, promoted.files)
        manifest = load_bundle(folder).manifest
    except BundleError as error:
        return WarmStart(notice=f"training starts from the base: {promoted.version} cannot be loaded ({error})")
    obstacle = _obstacle(manifest, base, labels, settings)
    if obstacle:
        return WarmStart(notice=f"training starts from the base, not from {promoted.version}: {obstacle}")
    return WarmStart(promoted.version, folder / ADAPTER)


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

"""The LoRA adapter (Hu et al. 2021) of an encoder: attached, loaded, saved, and merged into the encoder.

`find_start` says whether a training can go on from the adapter of the model in service, and if not, why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from loop.settings.model import TrainSettings
from loop.training import prefinetuned
from loop.training.encoder import BaseModel, classifier_name, lora_targets, quiet
from loop.training.progress import TrainingError
from ner.errors import BundleError
from ner.labels import LabelSet
from ner.models.bundle import Manifest, load_bundle
from ner.models.model_library import ModelLibrary
from store.database.schema import Model

ADAPTER = "adapter"
WEIGHTS = "adapter_model.safetensors"
ENCODER_SHA256 = "encoder_sha256"


def attach(base: BaseModel, settings: TrainSettings, num_tags: int, windows: int = 0) -> Any:
    """A peft model that trains the adapter and the classifier, both drawn from torch's generator.

    The adapter then starts at the prefinetuned one, where that fits (`loop.training.prefinetuned`). windows: how many
    windows of gold will be learned.
    """
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
    prefinetuned.start(model, base, settings, windows)
    return model


def load_weights(model: Any, folder: Path, rows: Sequence[int] | None = None) -> None:
    """Load adapter and classifier from `folder` into `model`. Raises TrainingError unless every weight arrives.

    rows: for each tag of `model`, its row in the classifier of `folder`; without rows, the tags are the same.
    """
    try:
        saved = load_file(folder / WEIGHTS)
        with quiet():
            if rows is not None:
                saved = {name: part if "lora_" in name else part[list(rows)] for name, part in saved.items()}
            set_peft_model_state_dict(model, saved)
    except (OSError, SafetensorError, RuntimeError, IndexError) as error:
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

    notice: why the training starts at the base although a model is in service, or what becomes of labels that the
    parent does not share with the project. rows: for `load_weights`; None where the labels are the same. in_fp32: the
    nodes of the parent's served file that are not INT8.
    """

    parent: str | None = None
    adapter: Path | None = None
    notice: str | None = None
    rows: tuple[int, ...] | None = None
    in_fp32: tuple[str, ...] = ()


def find_start(
    promoted: Model | None,
    library: ModelLibrary,
    base: BaseModel,
    labels: LabelSet,
    settings: TrainSettings,
    label_map: Mapping[str, str] | None = None,
) -> WarmStart:
    """The promoted model's adapter, its hashes verified, if encoder and the adapter's shape are the same, and a label.

    Labels may be gone, or have been renamed by `label_map`: the classifier keeps the rows of those that stay. A label
    that is new takes all the passes of a training from the base, and starts there: what the model learned without the
    label is in the way of the others. So does a label that is joined with another: texts that the model knows say
    something else now.
    """
    if promoted is None:
        return WarmStart()
    try:
        folder = library.bundle(promoted.path, promoted.files)
        manifest = load_bundle(folder).manifest
    except BundleError as error:
        return WarmStart(notice=f"training starts from the base: {promoted.version} cannot be loaded ({error})")
    obstacle = _obstacle(manifest, base, labels, settings, label_map or {})
    if obstacle:
        return WarmStart(notice=f"training starts from the base, not from {promoted.version}: {obstacle}")
    if manifest.labels == labels.types:
        return WarmStart(promoted.version, folder / ADAPTER, in_fp32=_in_fp32(manifest))
    names = _earlier_names(manifest.labels, labels, label_map or {})
    notice = (
        f"training goes on from {promoted.version}, whose labels are others: {_label_changes(manifest.labels, names)}"
    )
    return WarmStart(
        promoted.version, folder / ADAPTER, notice, _rows(LabelSet(manifest.labels), names.values()), _in_fp32(manifest)
    )


def _in_fp32(manifest: Manifest) -> tuple[str, ...]:
    """As the manifest tells; manifests of earlier releases may not."""
    attempts = manifest.scores.get("parity", {}).get("attempts") or [{}]
    return tuple(attempts[-1].get("in_fp32", ()))


def _earlier_names(before: Collection[str], labels: LabelSet, label_map: Mapping[str, str]) -> dict[str, str | None]:
    """For each type, its name in the model before: its own, or that of a type that is gone and mapped to it; or None.

    Of several types that were joined, the first gives its name.
    """
    gone = [name for name in before if name not in labels.types]
    renamed = {label_map[old]: old for old in reversed(gone) if old in label_map}
    return {name: name if name in before else renamed.get(name) for name in labels.types}


def _label_changes(before: Collection[str], names: Mapping[str, str | None]) -> str:
    """In words; a type that only has another place among the types is none."""
    new = [name for name, old in names.items() if old is None]
    renamed = [f"{old} is {name} now" for name, old in names.items() if old not in (None, name)]
    gone = sorted(set(before) - set(names.values()))
    parts = [f"{', '.join(new)} {'is' if len(new) == 1 else 'are'} new"] if new else []
    parts += renamed
    parts += [f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} forgotten"] if gone else []
    return "; ".join(parts) or "they stand in another order"


def _rows(before: LabelSet, names: Iterable[str | None]) -> tuple[int, ...]:
    """For each tag of today, the tag's number before. names: of the types before, in today's order; none is None."""
    return (0, *(row for old in names if old for row in (before.begin(old), before.inside(old))))


def _obstacle(
    manifest: Manifest, base: BaseModel, labels: LabelSet, settings: TrainSettings, label_map: Mapping[str, str]
) -> str | None:
    names = _earlier_names(manifest.labels, labels, label_map)
    gone = [old for old in manifest.labels if old not in names]
    if joined := [old for old in gone if names.get(label_map.get(old, ""), old) != old]:
        return "; ".join(f"{old} is part of {label_map[old]} now" for old in joined)
    if None in names.values():
        return _label_changes(manifest.labels, names)
    if manifest.settings.get(ENCODER_SHA256) != base.sha256:
        return f"its encoder is {manifest.encoder}, with other weights than {base.name}"
    shape = {name: manifest.settings.get(name) for name in ("rank", "alpha")}
    if shape != {"rank": settings.rank, "alpha": settings.alpha}:
        return f"its adapter has rank {shape['rank']} and alpha {shape['alpha']}"
    if not any(name.startswith(f"{ADAPTER}/") for name in manifest.files):
        return "it carries no adapter"
    return None

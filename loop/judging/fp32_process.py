"""`python -m loop.judging.fp32_process`: a candidate in FP32, from its base encoder and the adapter in its bundle.

The base must be the encoder that the candidate was trained from, with the tokenizer that serves, and the classifier as
wide as the labels: else the figures would not be the candidate's, and the process refuses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from loop.judging.ask import reply
from loop.judging.contract import WrongFileError
from loop.judging.measured import ONNX_FP32, TORCH_FP32, served_runtime
from loop.judging.speeds import Runtime, measure_speeds, onnx_runtime
from loop.settings.model import TrainSettings
from loop.training import lora
from loop.training.batches import IGNORED, FramedWindow
from loop.training.dev_split import torch_reader
from loop.training.encoder import BaseModel, classifier_name, load_base
from loop.training.lora import ENCODER_SHA256
from loop.training.served_file.export import to_onnx
from loop.training.trainer import reproducible
from ner.arrays import Logits
from ner.errors import BundleError
from ner.models.bundle import MODEL, TOKENIZER, Bundle, Manifest, load_bundle
from ner.models.network import FunctionNetwork, Network
from ner.spans import Span
from ner.tagger import Tagger
from ner.windows import windows

_FP32 = "fp32.onnx"
_RETRAIN = "Train the candidate again."


@dataclass(frozen=True, slots=True, eq=False)
class Rebuilt:
    """The candidate in torch, merged, and as an FP32 ONNX file; parameters as `loop.judging.ask.Reference` has them."""

    model: Any
    fp32: Path
    padding_id: int
    trainable_parameters: int
    total_parameters: int


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """`{spans, speeds, trainable_parameters, total_parameters}`, as `loop.judging.ask.Reference` has them.

    Request: bundle, encoder (its name or folder), texts, timed (how many of them are timed), threads, seed, and
    workspace, an empty folder. Raises WrongFileError where the bundle is shown to be wrong, RuleError where no
    reference can be made.
    """
    bundle, workspace = load_bundle(Path(request["bundle"])), Path(request["workspace"])
    settings = recorded_settings(bundle.manifest)
    base = load_base(request["encoder"], bundle.labels, bundle.manifest.max_length)
    check_base(bundle, base, workspace)
    texts: Sequence[str] = request["texts"]
    with reproducible(request["seed"], request["threads"]):
        rebuilt = rebuild(bundle, base, settings, workspace)
        threads = torch.get_num_threads()
        spans = tag(bundle, rebuilt, texts, threads)
        speeds = measure_speeds(runtimes_of(bundle, rebuilt, threads), texts[: request["timed"]], threads)
    return {
        "spans": [[asdict(span) for span in found] for found in spans],
        "speeds": [asdict(speed) for speed in speeds],
        "trainable_parameters": rebuilt.trainable_parameters,
        "total_parameters": rebuilt.total_parameters,
    }


def recorded_settings(manifest: Manifest) -> TrainSettings:
    """What the candidate was trained with. Raises BundleError where that is not recorded, or cannot be."""
    missing = [name for name in ("rank", "alpha", ENCODER_SHA256) if name not in manifest.settings]
    if missing:
        raise BundleError(
            "a manifest records what its adapter was trained from",
            value=f"{manifest.version} without {', '.join(missing)}",
            next_step=_RETRAIN,
        )
    known = TrainSettings.model_fields.keys() & manifest.settings.keys()
    try:
        return TrainSettings(**{name: manifest.settings[name] for name in known})
    except ValueError as error:
        rule = "a manifest records settings of a training"
        raise BundleError(rule, value=f"{manifest.version}: {error}", next_step=_RETRAIN) from error


def check_base(bundle: Bundle, base: BaseModel, workspace: Path) -> None:
    """Prove that the candidate was trained from this encoder, with its tokenizer, and has its own classifier.

    Raises WrongFileError for a candidate whose tokenizer is not that of its encoder, BundleError for the rest.
    """
    recorded = bundle.manifest.settings[ENCODER_SHA256]
    if base.sha256 != recorded:
        raise BundleError(
            f"the base encoder has the SHA-256 that {bundle.manifest.version} was trained from",
            value=f"{base.sha256}, recorded {recorded} ({base.name})",
            next_step="Put the encoder's weights back, or train the candidate again.",
        )
    served, own = bundle.manifest.files[TOKENIZER], _tokenizer_sha256(base, workspace)
    if own != served:
        raise WrongFileError(
            "contract, tokenizer hash: the tokenizer is that of the encoder",
            value=f"{served[:16]}, the encoder's {own[:16]} ({base.name})",
            next_step="Train the model again: `loop retrain`.",
        )
    width, wanted = _classifier_width(bundle, base), len(bundle.labels.tags)
    if width != wanted:
        raise BundleError(
            f"the adapter's classifier gives {wanted} logits, as many as there are tags",
            value="it has none" if width is None else width,
            next_step=_RETRAIN,
        )


def _tokenizer_sha256(base: BaseModel, workspace: Path) -> str:
    """SHA-256 (hex) of the encoder's tokenizer, written as a training writes it."""
    path = workspace / TOKENIZER
    base.tokenizer.backend_tokenizer.save(str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _classifier_width(bundle: Bundle, base: BaseModel) -> int | None:
    """How many logits the adapter's own classifier gives; None where it was not saved with one."""
    path = bundle.path / lora.ADAPTER / lora.WEIGHTS
    head = classifier_name(base.model, len(bundle.labels.tags))
    try:
        with safe_open(path, "numpy") as saved:
            names = [name for name in saved.keys() if name.endswith(f"{head}.weight")]  # noqa: SIM118
            return int(saved.get_slice(names[0]).get_shape()[0]) if names else None
    except (OSError, SafetensorError) as error:
        raise BundleError("a candidate carries its adapter", value=f"{path}: {error}", next_step=_RETRAIN) from error


def rebuild(bundle: Bundle, base: BaseModel, settings: TrainSettings, workspace: Path) -> Rebuilt:
    """Put the adapter on its base and merge it; write the FP32 file. TrainingError unless every weight arrives."""
    adapted = lora.attach(base, settings.changed(prefinetuned=False), len(bundle.labels.tags))
    lora.load_weights(adapted, bundle.path / lora.ADAPTER)
    trainable = sum(parameter.numel() for parameter in lora.trainable(adapted).values())
    merged = lora.merge(adapted)
    total = sum(parameter.numel() for parameter in merged.parameters())
    to_onnx(merged, workspace / _FP32, bundle.encoder.frame([0, 0]))
    return Rebuilt(merged, workspace / _FP32, base.tokenizer.pad_token_id or 0, trainable, total)


def tag(bundle: Bundle, rebuilt: Rebuilt, texts: Sequence[str], threads: int) -> tuple[tuple[Span, ...], ...]:
    """The spans of each text by the FP32 file, read the way the INT8 file serves."""
    with closing(Tagger(replace(bundle, network=Network(rebuilt.fp32)), threads)) as tagger:
        return tuple(tagging.spans for tagging in tagger.tag_many(texts))


def runtimes_of(bundle: Bundle, rebuilt: Rebuilt, threads: int) -> list[Runtime]:
    """Torch FP32, ONNX FP32 and the INT8 file that serves, from text to spans, each with `threads` threads.

    Torch runs a lone text unpadded, and several texts as one padded batch. ONNX runs as it serves.
    """
    in_torch = InTorch(bundle, rebuilt)
    return [
        Runtime(TORCH_FP32, in_torch.one, in_torch.several),
        onnx_runtime(ONNX_FP32, bundle, rebuilt.fp32, threads),
        onnx_runtime(served_runtime(bundle.manifest.precision), bundle, bundle.path / MODEL, threads),
    ]


class InTorch:
    """The merged model in torch behind the tagger, so that all but the network is what serves."""

    def __init__(self, bundle: Bundle, rebuilt: Rebuilt) -> None:
        self._bundle = bundle
        self._model = rebuilt.model
        self._read = torch_reader(rebuilt.model, rebuilt.padding_id)
        self._lone = Tagger(replace(bundle, network=FunctionNetwork(self._logits)))

    def one(self, text: str) -> object:
        return self._lone.tag(text)

    def several(self, texts: Sequence[str]) -> object:
        """The windows of all texts as one batch; then decoded with the logits at hand.

        Texts are tokenised twice for it, which is next to nothing beside the encoder.
        """
        framed = [window for text in texts for window in self._windows(text)]
        rows = zip(framed, self._read([_untagged(window) for window in framed]), strict=True)
        known = {tuple(window): logits for window, logits in rows}
        return Tagger(replace(self._bundle, network=FunctionNetwork(lambda ids: known[tuple(ids)]))).tag_many(texts)

    def _windows(self, text: str) -> list[list[int]]:
        encoder = self._bundle.encoder
        ids = encoder.encode(text).ids
        parts = windows(len(ids), self._bundle.manifest.max_length, encoder.num_special)
        return [encoder.frame(ids[part.start : part.end]) for part in parts]

    def _logits(self, ids: Sequence[int]) -> Logits:
        """(n, t), of one window without padding."""
        with torch.inference_mode():
            logits: Logits = self._model(input_ids=torch.tensor([list(ids)])).logits[0].numpy()
        return logits


def _untagged(ids: list[int]) -> FramedWindow:
    return FramedWindow(np.array(ids), np.full(len(ids), IGNORED))


if __name__ == "__main__":
    reply(measure)

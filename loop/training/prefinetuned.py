"""An adapter of MiniLM that knows what entities look like, before a project teaches what its own entities are.

The adapter was trained as every other adapter is, on texts that were written for this purpose, with entities of many
types marked (`scripts/prefinetuning`). Such an encoder learns new types from fewer examples (NuNER, Bogdanov et al.
2024; pre-finetuning, Aghajanyan et al. 2021). Its classifier comes with it: `loop.training.start` reads from it what
the types of a project are like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized

from loop.settings.model import TrainSettings
from loop.training.encoder import BaseModel, quiet
from ner.disk import sha256
from ner.errors import ConfigError

# More windows of gold say enough by themselves: an earlier start cost a point of F1 with 3,394 sentences of WNUT17, and
# this one brings four with 500 (BENCHMARKS.md). Between the two nothing was measured.
MOST_WINDOWS = 1000
FILE = Path(__file__).with_name("prefinetuned.safetensors")
PREFINETUNED_SHA256 = "prefinetuned_sha256"


def fits(base: BaseModel, settings: TrainSettings, windows: int = 0) -> bool:
    """Whether a training on so many windows of gold starts at the adapter, which is of one encoder and one shape."""
    if not settings.prefinetuned or windows > MOST_WINDOWS:
        return False
    with _readable(), safe_open(FILE, framework="pt") as file:
        return bool(file.metadata() == _of(base, settings))


def start(model: Any, base: BaseModel, settings: TrainSettings, windows: int = 0) -> None:
    """Put the adapter's weights into the LoRA layers of the peft model, if they fit; the classifier stays as it is."""
    if fits(base, settings, windows):
        with _readable(), quiet():
            # peft wants every weight, those of the classifier as well.
            now = get_peft_model_state_dict(model, save_embedding_layers=False)
            adapter = {name: weight for name, weight in load_file(FILE).items() if "lora_" in name}
            set_peft_model_state_dict(model, {**now, **adapter})


def classifier(base: BaseModel, settings: TrainSettings, windows: int = 0) -> tuple[Any, Any] | None:
    """(num_tags, channels) weight and (num_tags,) bias of the adapter's own tags, O first; None if it does not fit."""
    if not fits(base, settings, windows):
        return None
    with _readable():
        saved = {name.rpartition(".")[2]: part for name, part in load_file(FILE).items() if "lora_" not in name}
    return saved["weight"].float(), saved["bias"].float()


def recorded(base: BaseModel, settings: TrainSettings, windows: int = 0) -> dict[str, str]:
    """For a model's lineage: the hash of the adapter at which its training from the encoder starts, if there is one."""
    return {PREFINETUNED_SHA256: sha256(FILE)} if fits(base, settings, windows) else {}


def save(weights: Mapping[str, Any], base: BaseModel, settings: TrainSettings, path: Path) -> None:
    """Write the weights, by their names in peft, in half precision: their rounding is far below their own noise."""
    halves = {name: weight.detach().half().contiguous() for name, weight in weights.items()}
    path.write_bytes(serialized(halves, _of(base, settings)))


@contextmanager
def _readable() -> Iterator[None]:
    """Inside, the file is read. Raises ConfigError where it cannot be."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            "the adapter at which trainings start comes with the program",
            value=f"{FILE}: {error}",
            next_step="Install the program again, or set prefinetuned = false under [train] in loop.toml.",
        ) from error


def _of(base: BaseModel, settings: TrainSettings) -> dict[str, str]:
    """What the adapter belongs to."""
    return {"encoder_sha256": base.sha256, "rank": str(settings.rank), "alpha": str(settings.alpha)}

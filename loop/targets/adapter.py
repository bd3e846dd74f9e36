"""`--target adapter`: the LoRA adapter as peft loads it, with the hash of the base that it belongs to."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

from loop.targets.proof import Proof, fp32_proof
from loop.targets.source import ModelSource
from loop.targets.target import ExportTarget, write_json, write_program
from loop.targets.transformers_folder import save_tokenizer, torch_logits

BASE, LOADER = "base.json", "load.py"
_CONFIG = "adapter_config.json"
# Where the packaged encoder comes from; base.json proves that the weights are these.
_PUBLISHED = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}


def published(encoder: str) -> str:
    """The name of a base encoder as the Hugging Face Hub has it; of a folder on this machine, its last part."""
    return _PUBLISHED.get(encoder) or (Path(encoder).name if Path(encoder).is_absolute() else encoder)


def write(source: ModelSource, folder: Path) -> None:
    """Copy the adapter, name its base by hash, and write the tokenizer and a program that loads both."""
    from loop.training.encoder import quiet
    from loop.training.lora import ADAPTER

    shutil.copytree(source.bundle.path / ADAPTER, folder, dirs_exist_ok=True)
    config = json.loads((folder / _CONFIG).read_text("utf-8"))
    write_json(folder / _CONFIG, config | {"base_model_name_or_path": published(source.encoder)})
    base: dict[str, Any] = {
        "name": published(source.encoder),
        "sha256": source.base.sha256,
        "sha256_of": "for each tensor of the encoder without its head, by name: `name shape`, a line feed, its bytes",
        "tags": list(source.tags),
        "max_length": source.bundle.manifest.max_length,
    }
    write_json(folder / BASE, base)
    write_program("load_adapter.py", folder / LOADER)
    with quiet():
        save_tokenizer(source, folder)


def prove(source: ModelSource, folder: Path) -> Proof:
    """Load the adapter onto its base as load.py does, and decode its logits as the project decodes."""
    from loop.training.encoder import find_source, quiet
    from loop.training.trainer import reproducible

    load = runpy.run_path(str(folder / LOADER))["load"]
    with quiet(), reproducible(source.bundle.manifest.seed, source.threads):
        model = load(find_source(source.encoder))
        found = source.decoded(torch_logits(model))
    return fp32_proof("adapter on its base", "adapter on its base", source, found)


def usage(source: ModelSource) -> str:
    """How the folder is used."""
    return (
        f"The base is `{published(source.encoder)}`. `{BASE}` has the SHA-256 of its weights, and `{LOADER}` refuses "
        "any other base. The adapter brings the classifier along.\n\n"
        "    pip install torch transformers peft\n"
        f'    python {LOADER} BASE "a text"\n\n'
        f"`load(BASE)` in `{LOADER}` gives the model, to be merged or trained further."
    )


TARGET = ExportTarget(
    name="adapter",
    about="the LoRA adapter with its classifier, for peft, and the hash of its base",
    write=write,
    prove=prove,
    usage=usage,
    library="peft",
    base_relation="adapter",
)

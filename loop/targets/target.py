"""What every target is: a name, a writer of a folder, its proof, and how the folder is used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from loop.targets.proof import Proof
from loop.targets.source import ModelSource
from ner.decoding import UNSPACED, cost_of_each
from ner.models.bundle import TOKENIZER

DECODING = "decoding.json"
DECODER = "decoding.py"
EXAMPLE = "example.py"
_PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """A kind of folder.

    write: fills an empty folder. prove: asks the finished folder about the source's texts. usage: Markdown for the
    model card. library, base_relation: `library_name` and `base_model_relation` of the card, as the Hub has them.
    """

    name: str
    about: str
    write: Callable[[ModelSource, Path], None]
    prove: Callable[[ModelSource, Path], Proof]
    usage: Callable[[ModelSource], str]
    library: str
    base_relation: str = "finetune"
    limits: tuple[str, ...] = field(default=())


def write_program(name: str, to: Path) -> None:
    """Copy one of the programs that come with this room."""
    to.write_text((_PROGRAMS / name).read_text("utf-8"), "utf-8")


def write_json(path: Path, value: Mapping[str, object] | list[str]) -> None:
    """Write a small JSON file, indented."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")


def write_decoding(source: ModelSource, folder: Path) -> None:
    """Write decoding.py and what it reads: decoding.json, and the tokenizer without truncation and padding."""
    manifest, encoder = source.bundle.manifest, source.bundle.encoder
    write_program("decoding.py", folder / DECODER)
    setup = {
        "tags": list(source.tags),
        "max_length": manifest.max_length,
        "before": list(encoder.prefix),
        "after": list(encoder.suffix),
        "costs": cost_of_each(manifest.break_costs),
        "unspaced": UNSPACED.pattern,
    }
    write_json(folder / DECODING, setup)
    tokenizer = Tokenizer.from_file(str(source.bundle.path / TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(folder / TOKENIZER))

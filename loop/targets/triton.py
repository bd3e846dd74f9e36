"""`--target triton`: a model repository of NVIDIA's Triton Inference Server.

The loop's own file reads unpadded windows. Triton puts requests together, so its graph also reads an attention mask.
FP32 is the default, which a GPU computes fast; INT8 is for processors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from loop.targets.proof import EXACT, OTHER_PRECISION, Proof, compare, names_of_differing
from loop.targets.source import INT8, LogitsOf, ModelSource
from loop.targets.target import DECODER, ExportTarget, write_decoding, write_json, write_program
from ner.arrays import Logits
from ner.models.bundle import LABELS, MODEL
from ner.models.runtime import onnxruntime

CONFIG, TAGS = "config.pbtxt", "tags.txt"
BATCH = 8
MOST_IN_A_BATCH = 32
_MASKED = "masked.onnx"

_MODEL_CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {batch}
input [
  {{ name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] }},
  {{ name: "attention_mask" data_type: TYPE_INT64 dims: [ -1 ] }}
]
output [
  {{ name: "logits" data_type: TYPE_FP32 dims: [ -1, {tags} ] label_filename: "{tags_file}" }}
]
dynamic_batching {{ max_queue_delay_microseconds: 1000 }}
version_policy: {{ latest {{ num_versions: 1 }} }}
"""
_STEP_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 0
input [ {inputs} ]
output [ {outputs} ]
"""
_ENSEMBLE_CONFIG = """\
name: "{name}_text"
platform: "ensemble"
max_batch_size: 0
input [ {text} ]
output [ {spans} ]
ensemble_scheduling {{
  step [
    {{
      model_name: "{name}_tokenizer" model_version: -1
      input_map {{ key: "TEXT" value: "TEXT" }}
      output_map {{ key: "input_ids" value: "input_ids" }}
      output_map {{ key: "attention_mask" value: "attention_mask" }}
    }},
    {{
      model_name: "{name}" model_version: -1
      input_map {{ key: "input_ids" value: "input_ids" }}
      input_map {{ key: "attention_mask" value: "attention_mask" }}
      output_map {{ key: "logits" value: "logits" }}
    }},
    {{
      model_name: "{name}_decoder" model_version: -1
      input_map {{ key: "TEXT" value: "TEXT" }}
      input_map {{ key: "logits" value: "logits" }}
      output_map {{ key: "SPANS" value: "SPANS" }}
    }}
  ]
}}
"""
_TEXT = '{ name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] }'
_SPANS = '{ name: "SPANS" data_type: TYPE_STRING dims: [ 1 ] }'
_READ = ("input_ids", "attention_mask")
_IDS = ", ".join(f'{{ name: "{name}" data_type: TYPE_INT64 dims: [ -1, -1 ] }}' for name in _READ)


def write(source: ModelSource, folder: Path) -> None:
    """Write the model's folder with its labels and tokenizer; with an ensemble, also its two Python steps."""
    name = model_name(source)
    own = folder / name
    (own / "1").mkdir(parents=True)
    _write_graph(source, own / "1" / MODEL)
    config = _MODEL_CONFIG.format(name=name, batch=MOST_IN_A_BATCH, tags=len(source.tags), tags_file=TAGS)
    (own / CONFIG).write_text(config, "utf-8")
    (own / TAGS).write_text("".join(f"{tag}\n" for tag in source.tags), "utf-8")
    write_json(own / LABELS, list(source.bundle.labels.types))
    write_decoding(source, own)
    if source.choices.ensemble:
        _write_ensemble(source, folder, name)


def model_name(source: ModelSource) -> str:
    """The source's name as Triton and file systems take it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", source.name) or "model"


def masked_fp32(source: ModelSource) -> Path:
    """The FP32 graph that also reads an attention mask, made once."""
    from loop.training.served_file.export import to_onnx

    path = source.workspace / _MASKED
    if not path.exists():
        to_onnx(source.rebuilt.model, path, source.bundle.encoder.frame([0, 0]), masked=True)
    return path


def _write_graph(source: ModelSource, path: Path) -> None:
    from loop.training.served_file.precision import CALIBRATION
    from loop.training.served_file.quantise import quantise, write_simplified

    fp32 = masked_fp32(source)
    if source.choices.precision == INT8:
        quantise(fp32, path, source.windows()[:CALIBRATION])
    else:
        write_simplified(fp32, path)


def _write_ensemble(source: ModelSource, folder: Path, name: str) -> None:
    tags = len(source.tags)
    logits = f'{{ name: "logits" data_type: TYPE_FP32 dims: [ -1, -1, {tags} ] }}'
    steps = (
        ("tokenizer", _TEXT, _IDS, "triton_tokenizer.py"),
        ("decoder", f"{_TEXT}, {logits}", _SPANS, "triton_decoder.py"),
    )
    for step, inputs, outputs, program in steps:
        own = folder / f"{name}_{step}"
        (own / "1").mkdir(parents=True)
        config = _STEP_CONFIG.format(name=own.name, inputs=inputs, outputs=outputs)
        (own / CONFIG).write_text(config, "utf-8")
        write_program(program, own / "1" / "model.py")
        write_decoding(source, own / "1")
    whole = folder / f"{name}_text"
    (whole / "1").mkdir(parents=True)  # Triton asks for a version's folder although an ensemble has no file
    (whole / "1" / ".keep").touch()
    config = _ENSEMBLE_CONFIG.format(name=name, text=_TEXT, spans=_SPANS)
    (whole / CONFIG).write_text(config, "utf-8")


def prove(source: ModelSource, folder: Path) -> Proof:
    """Run the repository's graph as Triton does, in padded batches with a mask; decode as the project decodes."""
    graph = folder / model_name(source) / "1" / MODEL
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    windows = source.windows()
    in_batches = source.decoded(_known(windows, _padded(session, windows, BATCH)))
    alone = source.decoded(_known(windows, _padded(session, windows, 1)))
    quantised = source.choices.precision == INT8
    return Proof(
        total=compare(
            f"batches of {BATCH} against loop predict",
            source.served,
            in_batches,
            OTHER_PRECISION,
        ),
        reason="INT8 is made anew with a mask" if quantised else "the weights are FP32 where INT8 may serve",
        parts=(
            compare("FP32 against the served file", source.served, source.reference),
            compare("the file alone against FP32", source.reference, alone, None if quantised else EXACT),
            compare(f"batches of {BATCH} against alone", alone, in_batches, EXACT),
        ),
        differing=names_of_differing([one.name for one in source.texts], source.served, in_batches),
    )


def _padded(session: onnxruntime.InferenceSession, windows: list[list[int]], size: int) -> Iterator[Logits]:
    """(n, tags) logits of each window of n tokens, in batches of `size` padded to the longest window."""
    for start in range(0, len(windows), size):
        batch = windows[start : start + size]
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(batch):
            ids[row, : len(window)], mask[row, : len(window)] = window, 1
        logits = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        yield from (rows[: len(window)] for rows, window in zip(logits, batch, strict=True))


def _known(windows: list[list[int]], logits: Iterator[Logits]) -> LogitsOf:
    """Logits by the ids of their window. Equal windows in other batches may differ: the first one's count."""
    known: dict[tuple[int, ...], Logits] = {}
    for window, rows in zip(windows, logits, strict=True):
        known.setdefault(tuple(window), rows)
    return lambda ids: known[tuple(ids)]


def usage(source: ModelSource) -> str:
    """How the folder is used."""
    name = model_name(source)
    said = (
        f"The folder is a model repository: `tritonserver --model-repository FOLDER`. The model `{name}` reads "
        f"`input_ids` and `attention_mask` (INT64, one row a window), and gives `logits` (FP32, tokens by "
        f"{len(source.tags)} tags). The order of the tags is in `{name}/{TAGS}`. `{name}/{DECODER}` shows how a text "
        "becomes windows, and how logits become spans. The arithmetic is "
        + ("INT8." if source.choices.precision == INT8 else "FP32.")
    )
    if source.choices.ensemble:
        said += (
            f"\n\nThe model `{name}_text` takes a text (`TEXT`, one string a request) and gives its spans as JSON "
            "(`SPANS`). Its two Python steps need the package `tokenizers` in the "
            f"server's Python. A text may have up to {MOST_IN_A_BATCH} windows."
        )
    return said


TARGET = ExportTarget(
    name="triton",
    about="a model repository of Triton: config.pbtxt, the graph with an attention mask, labels and tokenizer",
    write=write,
    prove=prove,
    usage=usage,
    library="onnx",
)

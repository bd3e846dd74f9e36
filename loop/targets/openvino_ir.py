"""`--target openvino`: the FP32 model as OpenVINO's intermediate representation, with an example that runs it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from loop.targets.onnx_folder import run_example
from loop.targets.proof import Proof, fp32_proof
from loop.targets.source import ModelSource
from loop.targets.target import EXAMPLE, ExportTarget, write_decoding, write_json, write_program
from loop.targets.triton import masked_fp32
from ner.errors import ConfigError
from ner.models.bundle import LABELS

MODEL = "openvino_model.xml"


def write(source: ModelSource, folder: Path) -> None:
    """Convert the FP32 graph; write labels, tokenizer, decoder and example. ConfigError without OpenVINO."""
    if find_spec("openvino") is None:
        raise ConfigError(
            "the target openvino needs OpenVINO",
            value="not installed",
            next_step='Install it: pip install "ner-annotation-loop[openvino]".',
        )
    import openvino

    # Read by the runtime itself. The converter of the package would report its use to OpenVINO's makers.
    graph = openvino.Core().read_model(masked_fp32(source))
    openvino.save_model(graph, folder / MODEL, compress_to_fp16=False)
    source.rebuilt.model.config.save_pretrained(str(folder))
    write_json(folder / LABELS, list(source.bundle.labels.types))
    write_decoding(source, folder)
    write_program("openvino_example.py", folder / EXAMPLE)


def prove(source: ModelSource, folder: Path) -> Proof:
    """Run the example itself on the texts, in a process of its own."""
    return fp32_proof("example.py", "OpenVINO", source, run_example(source, folder))


def usage(source: ModelSource) -> str:
    """How the folder is used."""
    return (
        "`openvino_model.xml` reads `input_ids` and `attention_mask`, (batch, tokens) int64, and gives `logits`, "
        f"(batch, tokens, {len(source.tags)} tags) float32. Weights are FP32. `example.py` asks for FP32 arithmetic, "
        "too: without its hint, OpenVINO computes in bfloat16 where the processor can. That is faster, and changes a "
        "few spans.\n\n"
        "    pip install openvino tokenizers numpy\n"
        '    echo \'{"text": "..."}\' | python example.py'
    )


TARGET = ExportTarget(
    name="openvino",
    about="the FP32 model as OpenVINO's intermediate representation, and an example (extra openvino)",
    write=write,
    prove=prove,
    usage=usage,
    library="openvino",
)

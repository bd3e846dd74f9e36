"""`--target onnx`: the very file that serves, its tokenizer, and a program that needs no package of this project."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from loop.targets.proof import EXACT, Proof, compare, names_of_differing
from loop.targets.source import Answers, ModelSource
from loop.targets.target import EXAMPLE, ExportTarget, write_decoding, write_program
from ner.errors import BundleError
from ner.models.bundle import LABELS, MODEL
from ner.spans import Span

_START_SECONDS, _SECONDS_A_TEXT = 120.0, 1.0
# Without -I, Python would search the program's own folder for modules, where decoding.py is.
_ISOLATED = "import os, runpy, sys; sys.path.insert(0, os.path.dirname(sys.argv[1])); runpy.run_path(sys.argv[1])"


def write(source: ModelSource, folder: Path) -> None:
    """Copy the served file and its labels; write the tokenizer, the decoder and the example."""
    for name in (MODEL, LABELS):
        shutil.copyfile(source.bundle.path / name, folder / name)
    write_decoding(source, folder)
    write_program("onnx_example.py", folder / EXAMPLE)


def prove(source: ModelSource, folder: Path) -> Proof:
    """Run the example itself on the texts, in a process of its own."""
    found = run_example(source, folder)
    return Proof(
        total=compare("example.py against loop predict", source.served, found, EXACT),
        reason="the file and the rules of decoding are the same",
        differing=names_of_differing([one.name for one in source.texts], source.served, found),
    )


def run_example(source: ModelSource, folder: Path) -> Answers:
    """What `example.py` in `folder` prints for each text; the project's own packages are out of its reach.

    Raises BundleError where the program fails.
    """
    lines = "".join(json.dumps({"text": one.text}) + "\n" for one in source.texts)
    # -I: neither the working directory nor PYTHONPATH is searched for modules. -B: the folder stays as it is.
    words = [sys.executable, "-I", "-B", "-c", _ISOLATED, str(folder / EXAMPLE)]
    seconds = _START_SECONDS + _SECONDS_A_TEXT * len(source.texts)
    try:
        done = subprocess.run(words, input=lines, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{EXAMPLE} answers within {seconds:g} seconds", value=str(folder)) from error
    if done.returncode:
        raise BundleError(
            f"{EXAMPLE} runs where its packages are installed",
            value=done.stderr.strip().rpartition("\n")[2],
            next_step="Install what the first lines of the program name.",
        )
    answers = [json.loads(line)["spans"] for line in done.stdout.splitlines()]
    return tuple(tuple(Span(**span) for span in spans) for spans in answers)


def usage(source: ModelSource) -> str:
    """How the folder is used."""
    company = (
        "Windows of one length may share a run: each has the same logits as alone."
        if source.bundle.network.windows_share_runs
        else "Give it one window a run: its logits may depend on the others."
    )
    return (
        "`model.onnx` reads `input_ids`, (batch, tokens) int64, and gives `logits`, (batch, tokens, tags) float32. "
        f"It computes in {source.bundle.manifest.precision}. It knows no padding. {company} "
        "`example.py` finds the entities of texts; `decoding.py` beside it cuts long texts into windows and decodes "
        "the tags.\n\n"
        "    pip install onnxruntime tokenizers numpy\n"
        '    echo \'{"text": "..."}\' | python example.py'
    )


TARGET = ExportTarget(
    name="onnx",
    about="the ONNX file that serves, its tokenizer, and an example that needs onnxruntime and tokenizers alone",
    write=write,
    prove=prove,
    usage=usage,
    library="onnx",
    base_relation="quantized",
)

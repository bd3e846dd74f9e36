"""`--target transformers`: the merged weights in FP32, as `pipeline("token-classification")` loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loop.targets.proof import EXACT, Proof, compare, names_of_differing
from loop.targets.source import Answers, ModelSource
from loop.targets.target import EXAMPLE, ExportTarget, write_decoding, write_program
from ner.arrays import Logits
from ner.spans import Span

# The pipeline takes the likeliest tag of each token alone. BENCHMARKS.md has what that makes on texts of another kind
# than it was tuned on; more than this is no matter of decoding.
BOUND = 0.25


def write(source: ModelSource, folder: Path) -> None:
    """Save the weights as safetensors, the configuration with its label names, and the tokenizer."""
    from loop.training.encoder import quiet

    model = source.rebuilt.model
    write_decoding(source, folder)
    write_program("transformers_example.py", folder / EXAMPLE)
    with quiet():
        model.save_pretrained(str(folder))
        save_tokenizer(source, folder)


def save_tokenizer(source: ModelSource, folder: Path) -> None:
    """Save the tokenizer as transformers loads it; a text longer than the model's window is cut there."""
    tokenizer = source.base.tokenizer
    tokenizer.model_max_length = source.bundle.manifest.max_length
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(str(folder))


def prove(source: ModelSource, folder: Path) -> Proof:
    """Ask the pipeline, by its own loading and its own grouping; then the saved weights by the project's decoding."""
    from loop.training.trainer import reproducible

    with reproducible(source.bundle.manifest.seed, source.threads):
        model, groups = ask_pipeline(source, folder)
        weights = source.decoded(torch_logits(model))
    long = [len(source.bundle.encoder.encode(one.text).ids) > room(source) for one in source.texts]
    within = [(ours, theirs) for ours, theirs, cut in zip(weights, groups, long, strict=True) if not cut]
    beyond = [(ours, theirs) for ours, theirs, cut in zip(weights, groups, long, strict=True) if cut]
    return Proof(
        total=compare("pipeline against loop predict", source.served, groups, BOUND),
        reason="the pipeline groups tags by other rules than the project, and has FP32 weights",
        parts=(
            compare("FP32 against the served file", source.served, source.reference),
            compare("saved weights against FP32", source.reference, weights, EXACT),
            compare("the pipeline's decoding, texts of one window", *_sides(within)),
            compare("the pipeline's decoding, longer texts", *_sides(beyond)),
        ),
        differing=names_of_differing([one.name for one in source.texts], source.served, groups),
    )


def ask_pipeline(source: ModelSource, folder: Path, **options: Any) -> tuple[Any, Answers]:
    """(the model that the pipeline loaded, its entity groups of each text as spans)."""
    import torch
    from transformers import pipeline

    from loop.training.encoder import quiet

    with quiet(), torch.inference_mode():
        find = pipeline("token-classification", model=str(folder), aggregation_strategy="simple", device="cpu")
        answers = [find(one.text, **options) for one in source.texts]
    return find.model, tuple(tuple(Span(g["start"], g["end"], g["entity_group"]) for g in found) for found in answers)


def torch_logits(model: Any) -> Any:
    """From the ids of a window to its (tokens, tags) logits, by a model in torch."""
    import torch

    def logits(ids: list[int]) -> Logits:
        with torch.inference_mode():
            rows: Logits = model(input_ids=torch.tensor([list(ids)])).logits[0].numpy()
        return rows

    return logits


def room(source: ModelSource) -> int:
    """How many tokens of a text one window holds."""
    return source.bundle.manifest.max_length - source.bundle.encoder.num_special


def usage(source: ModelSource) -> str:
    """How the folder is used."""
    length = source.bundle.manifest.max_length
    return (
        "    from transformers import pipeline\n\n"
        '    find = pipeline("token-classification", model="FOLDER", aggregation_strategy="simple")\n'
        f'    find("...", stride={room(source) // 4})\n\n'
        f"The weights are FP32. The model was trained on windows of {length} tokens: without `stride`, the pipeline "
        f"reads the first {length} tokens of a text and no more. `start` and `end` count characters. "
        '`aggregation_strategy="max"` keeps words whole, and comes nearer to what the project finds.\n\n'
        "`example.py` loads the same weights and finds what the project finds: it takes the best path of tags, by "
        '`decoding.py`.\n\n    echo \'{"text": "..."}\' | python example.py'
    )


def _sides(pairs: list[tuple[tuple[Span, ...], tuple[Span, ...]]]) -> tuple[Answers, Answers]:
    return tuple(ours for ours, _ in pairs), tuple(theirs for _, theirs in pairs)


TARGET = ExportTarget(
    name="transformers",
    about='merged FP32 weights that pipeline("token-classification") loads',
    write=write,
    prove=prove,
    usage=usage,
    library="transformers",
    limits=(
        "The pipeline takes the likeliest tag of each token. The project takes the best path of tags, and knows how "
        "rarely an entity ends inside a word. So some spans differ.",
    ),
)

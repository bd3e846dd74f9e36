"""Token classifiers of the library transformers, opened for sources of weak labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ner.alignment import as_offsets
from ner.arrays import FloatArray, IntArray, Logits
from ner.decoding import log_softmax
from ner.documents import check_text
from ner.errors import InputError
from ner.tokens import TextEncoder
from ner.windows import merge, windows

_MOST_TOKENS = 512


class LocalClassifier:
    """A token classifier in a folder, in float32, with the folder's own tokenizer. Nothing is fetched.

    max_length: tokens of a window, special ones included; None for as many as the model reads, at most 512. Raises
    InputError for a folder that transformers cannot load, and for one without a fast tokenizer.
    """

    def __init__(self, folder: Path, max_length: int | None) -> None:
        self._model, tokenizer = _load(folder)
        self._encoder = TextEncoder(tokenizer.backend_tokenizer)
        self._max_length = min(max_length or _MOST_TOKENS, _positions(self._model, tokenizer))

    def probabilities(self, text: str, /) -> tuple[FloatArray, IntArray]:
        """((n, t), (n, 2) half-open code points) of the tokens that carry text. Raises InputError for a text."""
        tokens = self._encoder.encode(check_text(text))
        parts = windows(len(tokens.ids), self._max_length, self._encoder.num_special)
        if not parts:
            return np.empty((0, self._model.config.num_labels)), as_offsets([])
        logits = merge(parts, [self._logits(tokens.ids[part.start : part.end]) for part in parts])
        return np.exp(log_softmax(logits))[tokens.tagged], tokens.offsets[tokens.tagged]

    def _logits(self, ids: list[int]) -> Logits:
        import torch

        before = len(self._encoder.prefix)
        framed = torch.tensor([self._encoder.frame(ids)], device=self._model.device)
        with torch.inference_mode():
            found: Logits = self._model(input_ids=framed).logits[0].float().cpu().numpy()
        return found[before : before + len(ids)]


def _load(folder: Path) -> tuple[Any, Any]:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from loop.training.encoder import quiet

    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True)
            model, loading = AutoModelForTokenClassification.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise _refusal("transformers loads the folder as a token classifier", f"{folder}: {said}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise _refusal("a token classifier has a fast tokenizer (tokenizer.json)", str(folder))
    if loading["missing_keys"]:
        drawn = ", ".join(sorted(loading["missing_keys"])[:2])
        raise _refusal("the files of a token classifier hold all of its weights", f"{folder} without {drawn}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.float().eval().to(device), tokenizer


def _refusal(rule: str, value: str) -> InputError:
    return InputError(rule, value=value, next_step="Take the folder of a model trained for token classification.")


def _positions(model: Any, tokenizer: Any) -> int:
    """How many tokens the model reads. RoBERTa numbers positions from behind its padding id."""
    positions = getattr(model.config, "max_position_embeddings", None) or _MOST_TOKENS
    if "roberta" in model.config.model_type and model.config.pad_token_id is not None:
        positions -= model.config.pad_token_id + 1
    return int(min(positions, tokenizer.model_max_length))

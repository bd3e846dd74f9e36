"""Token classifiers of the library transformers, opened for sources of weak labels.

The windows of many texts are read together, windows of like length in one batch. A batch holds at most 4,096 tokens,
padding included: 8 windows of 512 tokens. This bounds the memory that the model takes, however many texts there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ner.alignment import as_offsets
from ner.arrays import FloatArray, IntArray, Logits
from ner.decoding import log_softmax
from ner.documents import check_text
from ner.errors import InputError
from ner.tokens import TextEncoder, Tokens
from ner.windows import Window, merge, windows

_MOST_TOKENS, _TOKENS_AT_ONCE = 512, 4096


class LocalClassifier:
    """A token classifier in a folder, in float32, with the folder's own tokenizer. Nothing is fetched.

    max_length: tokens of a window, special ones included; None for as many as the model reads, at most 512. Raises
    InputError for a folder that transformers cannot load, and for one without a fast tokenizer.
    """

    def __init__(self, folder: Path, max_length: int | None) -> None:
        self._model, tokenizer = _load(folder)
        self._encoder = TextEncoder(tokenizer.backend_tokenizer)
        self._max_length = min(max_length or _MOST_TOKENS, _positions(self._model, tokenizer))

    def probabilities(self, texts: Sequence[str], /) -> list[tuple[FloatArray, IntArray] | InputError]:
        """As the protocol says."""
        read = [self._tokens(text) for text in texts]
        cut = [() if isinstance(tokens, InputError) else self._windows(tokens) for tokens in read]
        logits = iter(
            self._logits(
                [
                    tokens.ids[part.start : part.end]
                    for tokens, parts in zip(read, cut, strict=True)
                    if not isinstance(tokens, InputError)
                    for part in parts
                ]
            )
        )
        return [
            tokens if isinstance(tokens, InputError) else self._answer(tokens, parts, list(islice(logits, len(parts))))
            for tokens, parts in zip(read, cut, strict=True)
        ]

    def _tokens(self, text: str) -> Tokens | InputError:
        try:
            return self._encoder.encode(check_text(text))
        except InputError as error:
            return error

    def _windows(self, tokens: Tokens) -> tuple[Window, ...]:
        return windows(len(tokens.ids), self._max_length, self._encoder.num_special)

    def _answer(self, tokens: Tokens, parts: Sequence[Window], logits: Sequence[Logits]) -> tuple[FloatArray, IntArray]:
        if not parts:
            return np.empty((0, self._model.config.num_labels)), as_offsets([])
        probs = np.exp(log_softmax(merge(parts, logits)))
        return probs[tokens.tagged], tokens.offsets[tokens.tagged]

    def _logits(self, cut: Sequence[Sequence[int]]) -> list[Logits]:
        """(n, t) of each window's own tokens, in order."""
        before = len(self._encoder.prefix)
        found: dict[int, Logits] = {}
        for places in _batches([len(ids) + self._encoder.num_special for ids in cut]):
            rows = self._read([self._encoder.frame(cut[place]) for place in places])
            for place, row in zip(places, rows, strict=True):
                found[place] = row[before : before + len(cut[place])]
        return [found[place] for place in range(len(cut))]

    def _read(self, framed: Sequence[Sequence[int]]) -> Logits:
        """(windows, longest, t) of one batch. What is padded is hidden from the others."""
        import torch

        longest = max(map(len, framed))
        ids = torch.full((len(framed), longest), self._model.config.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for row, one in enumerate(framed):
            ids[row, : len(one)] = torch.tensor(one)
            mask[row, : len(one)] = 1
        device = self._model.device
        with torch.inference_mode():
            answer = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        found: Logits = answer.float().cpu().numpy()
        return found


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The places of windows of these lengths, by length, as many at once as there is room for."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > _TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


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

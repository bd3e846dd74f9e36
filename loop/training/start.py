"""A model at the first step of a training from the encoder: the adapter, and a classifier that already reads.

Linear probing, then fine-tuning (Kumar et al. 2022): a classifier that is drawn at random changes the encoder in random
directions at first, and spoils what a prefinetuned adapter knows. A classifier that was fitted to the gold changes the
encoder only where the gold asks for a change. The fit starts at what the adapter's own classifier says of the gold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from loop.settings.model import TrainSettings
from loop.training import lora, prefinetuned
from loop.training.batches import IGNORED, FramedWindow, collate, outside_tags, soft_targets
from loop.training.encoder import BaseModel
from loop.training.trainer import SMALL_BATCH, cross_entropy

# Nats for a squared distance of 1 from where the weights start: without the decay, 100 sentences are learned by heart.
DECAY = 10.0
STEPS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """model: a peft model with a new adapter and classifier. settings: those of its training."""

    model: Any
    settings: TrainSettings


def start_from_encoder(
    base: BaseModel, settings: TrainSettings, num_tags: int, windows: Sequence[FramedWindow]
) -> Start:
    """What a training from the encoder begins with; windows: what will be learned last.

    Where the adapter starts at the prefinetuned one, the classifier is fitted to the windows first, and the training
    goes on from an adapter: so has its learning rate.
    """
    model = lora.attach(base, settings, num_tags, len(windows))
    _start_at_prior(model, windows, num_tags)
    known = prefinetuned.classifier(base, settings, len(windows))
    if known is None:
        return Start(model, settings)
    _fit_classifier(model, known, windows, base.tokenizer.pad_token_id or 0)
    return Start(model, settings.changed(learning_rate=settings.warm_learning_rate))


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """What the classifier reads, (batch, width, channels), and what is to be learned, as `cross_entropy` takes it."""

    inputs: Any
    tags: Any
    soft: Any | None
    outside: Any | None

    @property
    def learned(self) -> int:
        """Tokens that are learned."""
        return int((self.tags != IGNORED).sum())

    def logits(self, weight: Any, bias: Any) -> Any:
        """(batch, width, tags): what a classifier of these weights says."""
        return torch.nn.functional.linear(self.inputs, weight, bias)

    def loss(self, weight: Any, bias: Any) -> Any:
        """The sum over the tokens that are learned, in nats."""
        return cross_entropy(self.logits(weight, bias), self.tags, self.soft, self.outside) * self.learned


def _fit_classifier(model: Any, known: tuple[Any, Any], windows: Sequence[FramedWindow], padding_id: int) -> None:
    """Fit the classifier of a peft model to the windows by L-BFGS; nothing else in the model changes.

    The loss is that of a training, plus DECAY times the squared distance of the weights from where they start, over the
    number of tokens. They start at the rows of the known classifier that say what each tag is like. Nothing is drawn.
    """
    weight, bias, place = _classifier(model)
    batches = list(_read(model, model.get_submodule(place), windows, padding_id))
    tokens = sum(batch.learned for batch in batches)
    start = _translated(known, batches, bias.detach())
    fitted = [part.clone().requires_grad_() for part in start]
    optimiser = torch.optim.LBFGS(fitted, max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimiser.zero_grad()
        moved = DECAY * (fitted[0] - start[0]).square().sum()
        value = (sum(batch.loss(*fitted) for batch in batches) + moved) / tokens
        value.backward()
        return value.detach()

    optimiser.step(loss)
    with torch.no_grad():
        weight.copy_(fitted[0])
        bias.copy_(fitted[1])


def _translated(known: tuple[Any, Any], batches: Sequence[_Batch], prior: Any) -> tuple[Any, Any]:
    """Weight and bias for the tags of the project, from the known ones.

    The row of a tag is the mean of the known rows, by how likely the known tags are on the tokens of the tag. O is the
    known O: what is outside for a project may be an entity of a type that the project does not have. A tag without a
    token starts with no weight, and at its prior.
    """
    shares, counts = torch.zeros(len(prior), len(known[1])), torch.zeros(len(prior), 1)
    for batch in batches:
        tags = batch.tags[batch.tags != IGNORED]
        shares.index_add_(0, tags, batch.logits(*known).softmax(-1)[batch.tags != IGNORED])
        counts.index_add_(0, tags, torch.ones(len(tags), 1))
    shares /= counts.clamp(min=1)
    shares[0] = torch.nn.functional.one_hot(torch.tensor(0), len(known[1]))
    return shares @ known[0], torch.where(counts[:, 0] > 0, shares @ known[1], prior)


def _start_at_prior(model: Any, windows: Sequence[FramedWindow], num_tags: int) -> None:
    """Set the classifier's bias to the log prior of the tags, add-one smoothed.

    A new classifier then knows from the start how rare entities are, and does not spend its first steps, at the highest
    gradients, on learning that (Lin et al. 2017, section 3.3).
    """
    tags = np.concatenate([window.tags for window in windows])
    counts = np.bincount(tags[tags != IGNORED], minlength=num_tags) + 1
    with torch.no_grad():
        _classifier(model)[1].copy_(torch.from_numpy(np.log(counts / counts.sum())))


def _classifier(model: Any) -> tuple[Any, Any, str]:
    """Weight and bias, and the name of their module."""
    parts = {name: part for name, part in lora.trainable(model).items() if "lora_" not in name}
    place = next(iter(parts)).rpartition(".")[0]
    return parts[f"{place}.weight"], parts[f"{place}.bias"], place


def _read(model: Any, classifier: Any, windows: Sequence[FramedWindow], padding_id: int) -> Iterator[_Batch]:
    """The windows, those of like length together, as the encoder reads them without dropout."""
    seen: list[Any] = []
    hook = classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    ordered = sorted(windows, key=lambda window: len(window.ids))
    model.eval()
    try:
        for start in range(0, len(ordered), SMALL_BATCH):
            framed = ordered[start : start + SMALL_BATCH]
            ids, mask, tags = collate(framed, padding_id)
            with torch.no_grad():
                num_tags = model(input_ids=ids, attention_mask=mask).logits.shape[-1]
            inputs = seen.pop()
            if (tags != IGNORED).any():
                yield _Batch(inputs, tags, soft_targets(framed, tags, num_tags), outside_tags(framed, num_tags))
    finally:
        hook.remove()

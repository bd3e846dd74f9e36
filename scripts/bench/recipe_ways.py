"""Ways to train beside the recipe: python -m scripts.bench.recipe_ways RESULTS.jsonl --way NAME [--epochs FACTOR]

Trains on draws of `scripts.bench_recipe`, and scores the model in torch on the corpus's whole dev split, decoded as it
is served. Dev judges and has no part in a training. The ways:

    recipe      as `loop retrain` trains
    nothing     the recipe, with an adapter that starts at nothing
    same        the recipe, with every mention as it stands in the gold
    masked      the same, with words masked in place of other mentions
    letters     before `same`, the adapter learns to tell the letter case of the tokens of 2,000 other sentences, with
                words masked
    case        a learned vector for the letter case of each token and of its word is added to the token's embedding
    frozen      the lower half of the layers stays as it is; what comes out of it is computed once
    continued   before that, the encoder learns the masked words of all sentences of train, four times
    pool        a second model learns first from the soft labels that the first one gives 2,000 other sentences, with
                words masked, and then from gold
    bias        the recipe; the log-probabilities are divided by a temperature, and those of entities raised

--epochs multiplies the epochs of the recipe, --case-rate the learning rate of the vectors of `case`. Each training adds
a line to RESULTS.jsonl, and the script passes over what stands there. At the end it prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer

from loop.settings.model import TrainSettings
from loop.training import prefinetuned, trainer
from loop.training.batches import IGNORED, EncodedText, FramedWindow, collate, encode, frame, shuffled_batches
from loop.training.compute import find_compute
from loop.training.dev_split import EvaluationTexts, torch_reader
from loop.training.encoder import MINILM, BaseModel, find_source, load_base, quiet
from loop.training.progress import TrainingProgress
from loop.training.start import start_from_encoder
from loop.training.trainer import Plan, make_plan, reproducible, train
from ner.arrays import IntArray
from ner.decoding import learned_costs, log_softmax
from ner.labels import LabelSet
from ner.spans import Span
from ner.tokens import TextEncoder, Tokens
from scripts.bench_recipe import ALL, SETS, Record, drawn, key, lines, records

MASK, PADDING = 103, 0
POOL, POOL_PASSES, POOL_GOLD, POOL_MASKED, POOL_FINISH = 2000, 2, 0.3, 0.15, 0.3
MASKED, MASKED_PASSES, MASKED_RATE = 0.2, 4, 5e-4
TEMPERATURES, BIASES = (1.0, 1.5, 2.0), (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
LETTERS_BATCH = 32
QUIET = TrainingProgress()
WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What one training learns from and is scored on. texts: of the gold, encoded. windows: theirs, to be learned."""

    name: str
    size: int
    seed: int
    settings: TrainSettings
    labels: LabelSet
    base: BaseModel
    texts: tuple[EncodedText, ...]
    windows: tuple[FramedWindow, ...]
    dev: EvaluationTexts

    def model(self) -> Any:
        """A new adapter on the base."""
        return start_from_encoder(self.base, self.settings, len(self.labels.tags), self.windows).model

    def plan(self) -> Plan:
        """That of the recipe."""
        return make_plan(
            len(self.windows), self.settings, warm=prefinetuned.fits(self.base, self.settings, len(self.windows))
        )


Asked = argparse.Namespace
Trained = tuple[Any, Draw]


def main() -> None:
    """Read the arguments, run what is not in the file yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--way", choices=WAYS, default="recipe")
    parser.add_argument("--epochs", type=float, default=1.0, metavar="FACTOR")
    parser.add_argument("--case-rate", type=float, default=5.0, metavar="FACTOR")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--sizes", nargs="*", type=int, default=[250], help="0 for all")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    given = parser.parse_args()
    name = f"{given.way}, rate {given.case_rate:g}" if given.way == "case" else given.way
    name += "" if given.epochs == 1 else f", {given.epochs:g} times the epochs"
    done = {key(line) for line in lines(given.results)}
    for seed, size, corpus in product(given.seeds, given.sizes, given.sets):
        if (name, corpus, size, seed) not in done:
            with tempfile.TemporaryDirectory() as scratch, reproducible(seed, 1):
                line = measured(given, corpus, size, seed, Path(scratch))
            with given.results.open("a") as file:
                file.write(json.dumps({"recipe": name, "set": corpus, "size": size, "seed": seed, **line}) + "\n")
    print_table(lines(given.results))


def measured(given: Asked, name: str, size: int, seed: int, scratch: Path) -> Record:
    """Train one way, and score the model on dev."""
    began = time.process_time()
    model, draw = WAYS[given.way](given, name, size, seed, scratch)
    seconds = time.process_time() - began
    with find_compute(draw.settings).precision():
        read = torch_reader(model, PADDING)
        on_dev = draw.dev.evaluate(read)
        on_gold = replace(draw.dev, texts=draw.texts[:200]).evaluate(read)
    line = {"f1": on_dev.f1, "loss": on_dev.loss, "learned": on_gold.f1}
    return {**{name: round(value, 4) for name, value in line.items()}, "seconds": round(seconds)} | (
        {"biases": biases(draw, model)} if given.way == "bias" else {}
    )


def read_draw(name: str, size: int, seed: int, encoder: str = MINILM, reader: Any = None) -> Draw:
    """A draw. encoder: as `train.encoder` names it. reader: gives the text encoder of a tokenizer; None for ours."""
    settings = TrainSettings(seed=seed, threads=1, encoder=encoder)
    dev = records(name, "dev")
    types = {span["label"] for record in (*dev, *records(name, "train")) for span in record["spans"]}
    labels = LabelSet(tuple(sorted(types)))
    base = load_base(encoder, labels, settings.max_length, settings.encoder_dropout)
    if reader is not None:
        base = replace(base, text_encoder=reader(base.tokenizer.backend_tokenizer))
    of = partial(encoded, base=base, labels=labels, settings=settings)
    texts = of(drawn(name, size, seed))
    costs = learned_costs(text.joints() for text in texts)
    windows = tuple(learnable(texts, base))
    return Draw(
        name,
        size,
        seed,
        settings,
        labels,
        base,
        texts,
        windows,
        EvaluationTexts(of(dev), base.text_encoder, labels, costs),
    )


def encoded(
    found: Sequence[Record], base: BaseModel, labels: LabelSet, settings: TrainSettings
) -> tuple[EncodedText, ...]:
    """The sentences as a model reads them."""
    spans = [tuple(Span(span["start"], span["end"], span["label"]) for span in record["spans"]) for record in found]
    return tuple(
        encode(record["text"], gold, base.text_encoder, labels, settings.max_length)
        for record, gold in zip(found, spans, strict=True)
    )


def learnable(texts: Sequence[EncodedText], base: BaseModel) -> Iterator[FramedWindow]:
    """The windows that have something to learn."""
    return (window for text in texts for window in frame(text, base.text_encoder) if (window.tags >= 0).any())


def learned(draw: Draw, model: Any, given: Asked) -> None:
    """Train the model by the recipe."""
    plan = draw.plan()
    plan = replace(plan, epochs=max(1, round(plan.epochs * given.epochs)))
    train(model, draw.windows, plan, draw.settings, PADDING, QUIET)


def recipe(given: Asked, name: str, size: int, seed: int, _scratch: Path) -> Trained:
    """The recipe."""
    return by_the_recipe(read_draw(name, size, seed), given)


def by_the_recipe(draw: Draw, given: Asked) -> Trained:
    """A new model of the draw."""
    model = draw.model()
    learned(draw, model, given)
    return model, draw


def nothing(given: Asked, name: str, size: int, seed: int, _scratch: Path) -> Trained:
    """The recipe without the start that knows entities."""
    draw = read_draw(name, size, seed)
    return by_the_recipe(replace(draw, settings=draw.settings.changed(prefinetuned=False)), given)


def same(given: Asked, name: str, size: int, seed: int, _scratch: Path) -> Trained:
    """The recipe without other mentions."""
    return by_the_recipe(without_others(read_draw(name, size, seed)), given)


def without_others(draw: Draw) -> Draw:
    """The draw, whose mentions stay as they are."""
    return replace(draw, settings=draw.settings.changed(other_mentions=0.0))


def masked_words(_given: Asked, name: str, size: int, seed: int, _scratch: Path) -> Trained:
    """Without other mentions, and with other words masked in each pass."""
    draw = without_others(read_draw(name, size, seed))
    model, random = draw.model(), np.random.default_rng(seed)
    plan = draw.plan()
    windows = [masked(window, random) for _ in range(plan.epochs) for window in draw.windows]
    train(model, windows, Plan(1, plan.batch_size, plan.steps, plan.learning_rate), draw.settings, PADDING, QUIET)
    return model, draw


def letters(given: Asked, name: str, size: int, seed: int, _scratch: Path) -> Trained:
    """The letter case first (Mayhew et al. 2020): what is written with capitals is often a name."""
    draw = without_others(read_draw(name, size, seed))
    model = draw.model()
    found = [record | {"spans": []} for record in drawn(name, ALL, seed)[: size + POOL]]
    texts = encoded(found, draw.base, draw.labels, draw.settings)
    kinds = [np.array(case_of(text.text, text.offsets), dtype=np.int64) for text in texts]
    asked = [
        replace(text, tags=np.where(text.tagged, (kind - 1) % 6, IGNORED))
        for text, kind in zip(texts, kinds, strict=True)
    ]
    random = np.random.default_rng(seed)
    windows = [masked(window, random) for _ in range(POOL_PASSES) for window in learnable(asked, draw.base)]
    whole = model.base_model.model
    head, whole.classifier = whole.classifier, torch.nn.Linear(draw.base.model.config.hidden_size, 6)
    once = Plan(1, LETTERS_BATCH, -(-len(windows) // LETTERS_BATCH), draw.settings.learning_rate)
    train(model, windows, once, draw.settings, PADDING, QUIET)
    whole.classifier = head
    learned(draw, model, given)
    return model, draw


def continued(given: Asked, name: str, size: int, seed: int, scratch: Path) -> Trained:
    """The recipe, with an encoder that has learned the masked words of the corpus."""
    learn_masked_words(name, seed, scratch)
    draw = read_draw(name, size, seed, str(scratch))
    model = draw.model()
    learned(draw, model, given)
    return model, draw


def learn_masked_words(name: str, seed: int, folder: Path) -> None:
    """Go on with masked-language training on train (Gururangan et al. 2020), and save encoder and tokenizer."""
    source = find_source(MINILM)
    with quiet():
        tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModelForMaskedLM.from_pretrained(source)
    model.get_input_embeddings().requires_grad_(False)
    texts = sorted({record["text"] for record in records(name, "train")})
    windows = [np.array(tokenizer(text, truncation=True, max_length=128)["input_ids"]) for text in texts]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=MASKED_RATE, betas=(0.9, 0.98))
    random = np.random.default_rng(seed)
    steps = MASKED_PASSES * -(-len(windows) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, MASKED_RATE, steps, pct_start=0.06)
    compute = find_compute(TrainSettings(device="cpu"))
    model.train()
    for _ in range(MASKED_PASSES):
        for batch in shuffled_batches([len(ids) for ids in windows], 32, random):
            framed = [FramedWindow(windows[place], np.zeros_like(windows[place])) for place in batch.tolist()]
            ids, mask, _ = collate(framed, PADDING)
            chosen = (torch.rand(ids.shape) < MASKED) & (ids > MASK)
            with compute.precision():
                hidden = model.base_model(input_ids=ids.masked_fill(chosen, MASK), attention_mask=mask)[0]
                logits = model.cls(hidden[chosen])
            torch.nn.functional.cross_entropy(logits.float(), ids[chosen]).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
    with quiet():
        model.base_model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def pool(given: Asked, name: str, size: int, seed: int, scratch: Path) -> Trained:
    """Self-training with noise (Xie et al. 2020): the second model on the soft labels of the first."""
    first, draw = recipe(given, name, size, seed, scratch)
    others = encoded(
        [record | {"spans": []} for record in drawn(name, ALL, seed)[size : size + POOL]],
        draw.base, draw.labels, draw.settings,
    )  # fmt: skip
    windows = list(learnable(others, draw.base))
    with find_compute(draw.settings).precision():
        answers = torch_reader(first, PADDING)(windows)
    soft = [replace(one, soft=np.exp(log_softmax(logits))) for one, logits in zip(windows, answers, strict=True)]
    fresh = read_draw(name, size, seed)
    random = np.random.default_rng(seed)
    gold = list(fresh.windows) * max(1, round(POOL_GOLD * POOL_PASSES * len(soft) / len(fresh.windows)))
    mixed = [masked(window, random) for window in (*soft * POOL_PASSES, *gold)]
    student, size_of_step = fresh.model(), trainer.SMALL_BATCH
    once = Plan(1, size_of_step, -(-len(mixed) // size_of_step), fresh.settings.learning_rate)
    train(student, mixed, once, fresh.settings, PADDING, QUIET)
    plan = make_plan(len(fresh.windows), fresh.settings, warm=True)
    plan = replace(plan, epochs=max(1, round(plan.epochs * POOL_FINISH)))
    train(student, fresh.windows, plan, fresh.settings, PADDING, QUIET)
    return student, fresh


def masked(window: FramedWindow, random: np.random.Generator) -> FramedWindow:
    """The window with some of its tokens replaced by the mask."""
    ids = window.ids.copy()
    ids[1:-1][random.random(len(ids) - 2) < POOL_MASKED] = MASK
    return replace(window, ids=ids)


def frozen(given: Asked, name: str, size: int, seed: int, _scratch: Path) -> Trained:
    """The recipe on the upper half of the layers; the lower half is computed once for each window."""
    draw = read_draw(name, size, seed)
    model = draw.model()
    encoder = model.base_model.model.bert
    layers, embeddings = encoder.encoder.layer, encoder.embeddings
    half = len(layers) // 2
    layers[:half].requires_grad_(False)
    encoder.encoder.layer = layers[:half]
    with find_compute(draw.settings).precision(), torch.inference_mode():
        model.eval()
        known = {
            window.ids.tobytes(): encoder(input_ids=torch.from_numpy(window.ids)[None]).last_hidden_state[0].clone()
            for window in draw.windows
        }
    encoder.encoder.layer, encoder.embeddings = layers[half:], _Known(known)
    try:
        learned(draw, model, given)
    finally:
        encoder.encoder.layer, encoder.embeddings = layers, embeddings
    return model, draw


class _Known(torch.nn.Module):  # type: ignore[misc]
    """In place of the embeddings: what the lower layers made of these windows, padded."""

    def __init__(self, known: Mapping[bytes, Any]) -> None:
        super().__init__()
        self._known = known

    def forward(self, input_ids: Any, **_: Any) -> Any:
        rows = [row[: int((row != PADDING).sum())] for row in input_ids.numpy()]
        hidden = [self._known[row.tobytes()].float() for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(hidden, batch_first=True)
        return torch.nn.functional.pad(padded, (0, 0, 0, input_ids.shape[1] - padded.shape[1]))


def case(given: Asked, name: str, size: int, seed: int, _scratch: Path) -> Trained:
    """The recipe, with the letter case that an uncased tokenizer takes away. An id carries the case above its token."""
    draw = read_draw(name, size, seed, reader=CaseEncoder)
    model = draw.model()
    embeddings = model.base_model.model.bert.embeddings
    embeddings.word_embeddings = _Cased(embeddings.word_embeddings, given.case_rate)
    learned(draw, model, given)
    return model, draw


class CaseEncoder(TextEncoder):
    """Token ids, plus the vocabulary's size times the case of the token and of its word (1 to 36)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self.size = tokenizer.get_vocab_size()

    def encode(self, text: str) -> Tokens:
        tokens = super().encode(text)
        cases = case_of(text, tokens.offsets)
        return replace(tokens, ids=[one + self.size * kind for one, kind in zip(tokens.ids, cases, strict=True)])


def case_of(text: str, offsets: IntArray) -> list[int]:
    """1 to 36 for each token: the case of its word and its own."""
    words = [(found.end(), letters_of(found.group())) for found in WORD.finditer(text)]
    ends = np.array([end for end, _ in words])
    places = np.searchsorted(ends, offsets[:, 0], side="right")
    return [
        1 + 6 * (words[place][1] if place < len(words) else 0) + letters_of(text[start:end])
        for place, (start, end) in zip(places.tolist(), offsets.tolist(), strict=True)
    ]


def letters_of(word: str) -> int:
    """0: neither letters nor digits, 1: digits, 2: no capital, 3: a capital first, 4: capitals alone, 5: others."""
    letters = [letter for letter in word if letter.isalpha()]
    capitals = [letter.isupper() for letter in letters]
    if not letters:
        return int(any(letter.isdigit() for letter in word))
    if not any(capitals):
        return 2
    if all(capitals) and len(letters) > 1:
        return 4
    return 3 if capitals[0] and not any(capitals[1:]) else 5


class _Cased(torch.nn.Module):  # type: ignore[misc]
    """The embedding of a token, plus that of its case. AdamW's steps do not follow a gradient's size, so that `rate`
    times the vectors learn at `rate` times the learning rate."""

    def __init__(self, words: Any, rate: float) -> None:
        super().__init__()
        self.words, self.rate = words, rate
        self.case = torch.nn.Embedding(37, words.embedding_dim)
        torch.nn.init.zeros_(self.case.weight)

    def forward(self, ids: Any) -> Any:
        size = self.words.num_embeddings
        return self.words(ids % size) + self.rate * self.case(ids // size)


def biases(draw: Draw, model: Any) -> dict[str, float]:
    """Micro-F1 on dev by temperature and by what is added to the log-probabilities of entities."""
    with find_compute(draw.settings).precision():
        answers = torch_reader(model, PADDING)(draw.dev.windows())

    def f1(temperature: float, bias: float) -> float:
        raised = np.where(np.arange(len(draw.labels.tags)) > 0, bias, 0.0)
        return draw.dev.evaluate(lambda _: [logits / temperature + raised for logits in answers]).f1

    pairs = product(TEMPERATURES, BIASES)
    return {f"{temperature:g} {bias:+g}": round(f1(temperature, bias), 4) for temperature, bias in pairs}


def print_table(measured: Sequence[Record]) -> None:
    """A row for each training."""
    print("| way | set | sentences | seed | F1 on dev | nats a token | F1 on gold learned | CPU s |")
    print("| --- " * 8 + "|")
    for line in sorted(measured, key=lambda line: (line["set"], line["size"], line["recipe"], line["seed"])):
        size = line["size"] or "all"
        scores = f"{line['f1']:.3f} | {line['loss']:.3f} | {line['learned']:.3f} | {line['seconds']}"
        print(f"| {line['recipe']} | {line['set']} | {size} | {line['seed']} | {scores} |")


WAYS: dict[str, Callable[[Asked, str, int, int, Path], Trained]] = {
    "recipe": recipe, "nothing": nothing, "same": same, "masked": masked_words, "letters": letters, "case": case,
    "frozen": frozen, "continued": continued, "pool": pool, "bias": recipe,
}  # fmt: skip


if __name__ == "__main__":
    main()

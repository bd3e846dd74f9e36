"""Encoders of a few thousand random weights with real tokenizers, and a corpus that they can learn in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForTokenClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
)

from loop.settings.model import GateSettings, PromotionSettings, TrainSettings, WeakSettings
from loop.training.encoder import quiet
from ner.models.model_library import ModelLibrary
from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.schema import Project
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.projects import create_project

FAMILIES = ("bert-uncased", "bert-cased", "distilbert-uncased", "roberta-cased")
LABELS = ("OS", "SOFTWARE")
CONFIG = '<View><Labels name="label" toName="text"/><Text name="text" value="$text"/></View>'
_WORDS = {"OS": ("Windows", "Ubuntu", "Debian", "macOS"), "SOFTWARE": ("Outlook", "Excel", "Firefox", "Docker")}
_FRAMES = (
    "my {} crashes on start",
    "after the update {} is slow, again",
    "please install {} for me",
    "why does {} ask for a password?",
    "nothing happens today",
)
_SPECIAL = {
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def corpus(number: int) -> list[tuple[str, tuple[Span, ...]]]:
    """(text, spans): frames and words in turn; the same for the same number."""
    words = [(label, names[place]) for place in range(4) for label, names in _WORDS.items()]
    return [_labelled(index, *words[(index // len(_FRAMES) + index) % len(words)]) for index in range(number)]


def _labelled(index: int, label: str, word: str) -> tuple[str, tuple[Span, ...]]:
    frame = _FRAMES[index % len(_FRAMES)]
    at = frame.find("{}")
    return f"{frame.format(word)} {index}", () if at < 0 else (Span(at, at + len(word), label),)


def encoder(folder: Path, family: str = "bert-uncased", seed: int = 0) -> Path:
    """A saved encoder of that family with a fast tokenizer trained on the corpus, as transformers loads one."""
    kind, _, case = family.partition("-")
    texts = [text for text, _ in corpus(80)]
    special = _SPECIAL["roberta" if kind == "roberta" else "bert"]
    tokenizer = _byte_level(texts, special) if kind == "roberta" else _word_piece(texts, special, case == "uncased")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **dict(zip(_names(kind), special, strict=True)), model_max_length=40
    )
    torch.manual_seed(seed)
    with quiet():
        wrapped.save_pretrained(folder)
        _model(kind, tokenizer.get_vocab_size()).save_pretrained(folder)
    return folder


def _names(kind: str) -> tuple[str, ...]:
    if kind == "roberta":
        return ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
    return ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


def _model(kind: str, vocabulary: int) -> Any:
    if kind == "distilbert":
        shape = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
        return DistilBertForTokenClassification(
            DistilBertConfig(vocab_size=vocabulary, max_position_embeddings=40, **shape)
        )
    if kind == "roberta":
        # Two more positions than tokens: it counts them from behind its padding id.
        return RobertaForTokenClassification(
            RobertaConfig(vocab_size=vocabulary, max_position_embeddings=42, pad_token_id=1, **_SHAPE)
        )
    return BertForTokenClassification(BertConfig(vocab_size=vocabulary, max_position_embeddings=40, **_SHAPE))


def _word_piece(texts: list[str], special: tuple[str, ...], lowercase: bool) -> Tokenizer:
    """A vocabulary put together by hand: the trainer of word pieces breaks ties differently in each process."""
    vocabulary = {piece: place for place, piece in enumerate((*special, *_pieces(texts, lowercase)))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    return tokenizer


def _pieces(texts: list[str], lowercase: bool) -> list[str]:
    """Each character, the words of the frames whole, and each name in two pieces."""
    whole = " ".join([*texts, *_FRAMES]).replace("{}", " ")
    names = [name for names in _WORDS.values() for name in names]
    if lowercase:
        whole, names = whole.lower(), [name.lower() for name in names]
    words = {"".join(filter(str.isalpha, word)) for word in whole.split()} - set(names) - {""}
    characters = sorted(set(whole) - {" "})
    pieces = [*characters, *(f"##{one}" for one in characters), *sorted(words)]
    return list(dict.fromkeys([*pieces, *(part for name in names for part in (name[:3], f"##{name[3:]}"))]))


def _byte_level(texts: list[str], special: tuple[str, ...]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ids)
    return tokenizer


def train_settings(folder: Path, **changed: Any) -> TrainSettings:
    """Settings under which the tiny encoder in `folder` learns the corpus in seconds."""
    fields: dict[str, Any] = {
        "encoder": str(folder),
        "max_length": 24,
        "rank": 4,
        "alpha": 8,
        "learning_rate": 1e-2,
        "warm_learning_rate": 5e-3,
        "batch_size": 8,
        "passes": 12,
        "averaging": 0.9,
        "encoder_dropout": 0.0,
        "other_mentions": 0.0,
        "threads": 1,
    }
    return TrainSettings(**(fields | changed))


PROMOTION = PromotionSettings(reference=False, robustness=0, timed=0, unlabelled=0, resamples=1000)


@dataclass(frozen=True)
class Placement:
    """The part of the settings that trainings and promotions read; what takes long is off unless asked for."""

    model_dir: Path
    train: TrainSettings = field(default_factory=TrainSettings)
    promotion: PromotionSettings = PROMOTION
    gates: GateSettings = field(default_factory=GateSettings)
    weak_functions: Path | None = None
    weak_file: Path | None = None
    weak: WeakSettings = field(default_factory=WeakSettings)

    @property
    def home(self) -> Path:
        return self.model_dir.parent

    @property
    def library(self) -> ModelLibrary:
        return ModelLibrary(self.model_dir)


def project(store: Store, name: str = "Desk", labels: tuple[str, ...] = LABELS) -> Project:
    """A committed project with a known salt."""
    with store.transaction() as tx:
        made = create_project(tx, name, label_config=CONFIG, labels=labels, salt="salt")
        tx.commit()
    return made


def texts(store: Store, made: Project, given: list[str], split: str = "train") -> list[int]:
    """Commit documents without annotations, named by their texts and the split; gives their ids."""
    with store.transaction() as tx:
        new = [NewDocument(text, external_id=f"{split} {text}") for text in given]
        added = add_documents(tx, made.id, new, split)
        tx.commit()
    return list(added.document_ids)


def put(store: Store, made: Project, labelled: list[tuple[str, tuple[Span, ...]]], split: str = "train") -> list[int]:
    """Commit documents with their gold; gives their ids."""
    ids = texts(store, made, [text for text, _ in labelled], split)
    annotations = [NewAnnotation(source=FILE, source_id="1", result=[], spans=spans) for _, spans in labelled]
    with store.transaction() as tx:
        append_annotations(tx, list(zip(ids, annotations, strict=True)))
        tx.commit()
    return ids

"""spaCy's DocBin, which `spacy train` and `spacy debug data` read. spaCy is an optional extra of this project."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from loop.files.words import Token
from loop.files.writing.texts import TaggedText
from ner.errors import ConfigError


def docbin_bytes(texts: Iterable[TaggedText]) -> bytes:
    """A DocBin as bytes. The text of a Doc is the exact text; `user_data` holds id, doc, meta and cut spans.

    Between tokens spaCy knows one blank; other white space is a token, as in spaCy's own tokenizer. The entities of an
    unlabelled text are missing values, not "no entity". `user_data["spans"]` holds the exact spans, as a list of
    [start, end, label], where a span begins or ends inside a token; `user_data["meta"]` is JSON.
    Raises ConfigError when spaCy is not installed.
    """
    spacy = import_spacy()
    vocab = spacy.vocab.Vocab()
    bin_ = spacy.tokens.DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True)
    for one in texts:
        bin_.add(_doc(spacy, vocab, one))
    return bytes(bin_.to_bytes())


def import_spacy() -> Any:
    """spaCy, with its tokens. Raises ConfigError when spaCy is not installed."""
    try:
        import spacy
        import spacy.tokens
    except ImportError as error:
        raise ConfigError(
            "a DocBin is read and written by spaCy, which is an optional extra",
            value=str(error),
            next_step='Install it: pip install "ner-annotation-loop[spacy]".',
        ) from error
    return spacy


def _doc(spacy: Any, vocab: Any, one: TaggedText) -> Any:
    words, blanks, places = _words(one.source.text, one.tokens)
    doc = spacy.tokens.Doc(vocab, words=words, spaces=blanks)
    if one.source.spans is not None:
        tagged = one.aligned.entities
        doc.set_ents(
            [
                spacy.tokens.Span(doc, places[entity.first], places[entity.behind - 1] + 1, entity.label)
                for entity in tagged
            ]
        )
    doc.user_data.update(_user_data(one))
    return doc


def _user_data(one: TaggedText) -> dict[str, Any]:
    source = one.source
    data: dict[str, Any] = {"id": source.external_id}
    if source.group is not None:
        data["doc"] = source.group
    if source.meta:
        data["meta"] = json.dumps(dict(source.meta), ensure_ascii=False, allow_nan=False)
    if one.aligned.cut:
        data["spans"] = [[span.start, span.end, span.label] for span in source.spans or ()]
    return data


def _words(text: str, tokens: list[Token]) -> tuple[list[str], list[bool], list[int]]:
    """spaCy's words, whether a blank follows each, and the place of each of our tokens among the words."""
    words: list[str] = []
    blanks: list[bool] = []
    places: list[int] = []
    position = 0
    for start, end in [*tokens, (len(text), len(text))]:
        gap = text[position:start]
        if gap.startswith(" ") and words:
            blanks[-1], gap = True, gap[1:]
        for word in (gap, text[start:end]):
            if word:
                words.append(word)
                blanks.append(False)
        places.append(len(words) - 1)
        position = end
    return words, blanks, places[: len(tokens)]

"""Records of Hugging Face: `tokens` with a tag each (`ner_tags`, `tags`, `labels`), as names or as numbers.

The text is the tokens joined by one space (by none between characters of scripts without spaces), or `text`, where the
record has it: the tokens are then found in it. A number has the name that the person or the data set gives it. -100 is
not a tag: it marks tokens that the tokenizer of a model added. This project's own export for `datasets` holds the exact
spans beside the tags: the spans are read, and the tags are compared with them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loop.files.formats.json_shapes.pieces import refuse_pieces
from loop.files.formats.json_shapes.shapes import JsonShape, Place, record_of, says_entities, text_of
from loop.files.formats.json_shapes.span_items import regions_of
from loop.files.formats.tagged.tags import TagScheme, TagSurvey
from loop.files.raw.json_values import parse_json
from loop.files.records import Record, Source, as_whole, labelling, region
from loop.files.words import JOINED_SAID, Token, is_unspaced, joined_tokens, place_tokens
from loop.files.writing.texts import SCHEMES, align
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from ner.spans import Span

_TOKEN_KEYS = ("tokens", "words")
_TAG_KEYS = ("ner_tags", "ner_tag", "tags", "labels", "ner_labels", "ner", "label", "tag", "bio_tags", "iob_tags")
_OWN = "token_offsets"  # of this project's export
_SHOWN = 10
_TAG = re.compile(r"[BI][-_]\w")
_OF_ENTITIES = re.compile(r"(^|_)(ner|entit(y|ies)|bio|iob2?|bilou)(_|$)", re.IGNORECASE)


@dataclass
class TagsOfFile:
    """The survey of a file: how its tags are read. `names`: of the tags that are numbers, by number."""

    names: Sequence[str] = ()
    scheme_name: str | None = None
    columns: tuple[str, ...] = ()
    scheme: TagScheme = field(default_factory=lambda: TagScheme("iob2"))
    unspaced: bool = False
    _survey: TagSurvey = field(default_factory=TagSurvey)

    @classmethod
    def begin(cls, source: Source) -> TagsOfFile:
        """With what the person said of the file."""
        return cls(source.hints.labels, source.hints.tag_scheme, source.hints.columns)

    def see(self, value: Any) -> None:
        """Count the tags of a record; tags that cannot be read are the record's problem."""
        keys = _keys_of(value, self.columns)
        if keys is None or _OWN in value:
            return
        if value.get("text") is None and not self.unspaced:
            self.unspaced = any(isinstance(token, str) and is_unspaced(token) for token in value[keys[0]])
        if keys[1] is None:
            return
        try:
            self._survey.add(_tags_of(value[keys[1]], keys[1], self.names))
        except InputError:
            return

    def said(self) -> Sequence[str]:
        """The scheme. Raises InputError where the tags are of none."""
        joined = (JOINED_SAID,) if self.unspaced else ()
        if self._survey.total == 0:
            return joined
        self.scheme = self._survey.scheme(self.scheme_name)
        return (*self.scheme.said, *joined)


def _keys_of(value: Any, columns: Sequence[str] = ()) -> tuple[str, str | None] | None:
    """The keys of the tokens and of the tags; None for other records. `columns`: the names that a person gave."""
    if not isinstance(value, Mapping):
        return None
    if len(columns) == 2 and isinstance(value.get(columns[0]), list):
        return columns[0], columns[1] if isinstance(value.get(columns[1]), list) else None
    for tokens in _TOKEN_KEYS:
        if isinstance(value.get(tokens), list) and not any(isinstance(one, dict | list) for one in value[tokens]):
            tags = next((key for key in _TAG_KEYS if isinstance(value.get(key), list)), None)
            return (tokens, tags) if tags is not None or "text" not in value else None
    return None


def _tags_of(value: Any, key: str, names: Sequence[str]) -> list[str]:
    """The tags as names. Raises InputError for a number without a name, and for what is no tag."""
    if not isinstance(value, list):
        raise InputError(f"`{key}` lists a tag for each token", value=value, next_step=f"Correct `{key}`.")
    return [_tag(one, key, names) for one in value]


def text_of_tokens(tokens: Any, text: str | None = None) -> tuple[str, list[Token]]:
    """The text of a record and the place of each token in it; without a text, `joined_tokens` makes one.

    A blank token has an empty place. Raises InputError where a token is no string or does not stand in the text, and
    where no text shows that pieces of a model's tokenizer are the words of the text.
    """
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise InputError("tokens are a list of strings", value=tokens, next_step="Correct the tokens.")
    words = [token.strip() for token in tokens]
    if text is None:
        filled = [word for word in words if word]
        refuse_pieces(filled)
        text, _ = joined_tokens(filled)
    placed = iter(place_tokens(text, [word for word in words if word]))
    places: list[Token] = []
    for word in words:
        end = places[-1][1] if places else 0
        places.append(next(placed) if word else (end, end))
    return text, places


def regions_of_tags(
    places: Sequence[Token], tags: Sequence[str], scheme: TagScheme, config: LabelConfig
) -> list[dict[str, Any]]:
    """The regions that the tags say. Raises InputError where tokens and tags differ in number, or a tag is unknown."""
    if len(places) != len(tags):
        raise InputError(
            "a text has a tag for each token",
            value=f"{len(places)} tokens and {len(tags)} tags",
            next_step="Correct the tokens or the tags.",
        )
    spans = [(places[first][0], places[behind - 1][1], label) for first, behind, label in scheme.entities(tags)]
    if any(start == end for start, end, _ in spans):
        raise InputError(
            "an entity has a token that is not blank",
            value="a blank token with the tag of an entity",
            next_step="Correct the tokens or the tags.",
        )
    return [region(config, start, end, [label]) for start, end, label in spans]


def _record(value: Mapping[str, Any], place: Place) -> Record:
    """The record of tokens and tags; `place.survey` is a TagsOfFile that has seen the whole file."""
    survey = place.survey if isinstance(place.survey, TagsOfFile) else TagsOfFile.begin(place.source)
    tokens_key, tags_key = _keys_of(value, survey.columns) or ("tokens", None)
    if _OWN in value and isinstance(value.get("spans"), list) and value.get("text") is not None:
        return _record_of_ours(value, place, survey.names)
    given = text_of(value, "text") if value.get("text") is not None else None
    text, places = text_of_tokens(value.get(tokens_key), given)
    read = {tokens_key, *([tags_key] if tags_key else [])}
    if place.source.texts_only:
        return record_of(value, place, (), text=text, read=read)
    said = []
    if tags_key is None:
        _refuse_other_tags(value, value[tokens_key])
    else:
        tags = _tags_of(value[tags_key], tags_key, survey.names)
        said.append(labelling(regions_of_tags(places, tags, survey.scheme, place.source.config)))
    dropped = [key for key, other in value.items() if _describes_tokens(key, other, value.get(tokens_key))]
    record = record_of(value, place, said, text=text, read=read, dropped=dropped)
    # `id` is often the number of a row, which every file counts anew.
    return replace(record, fallback_id=None if value.get("id") is None else place.naming.next_id(text))


def _record_of_ours(value: Mapping[str, Any], place: Place, names: Sequence[str]) -> Record:
    """A record of this project's export: its spans are exact, and its tags say the same, where they have names."""
    read = ("spans", _OWN, "tokens", "ner_tags")
    if place.source.texts_only:
        return record_of({**value, "meta": None}, place, (), read=read)
    tags = value.get("ner_tags")
    if names or (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        _check_tags_of_ours(value, _tags_of(tags, "ner_tags", names))
    meta = value.get("meta")
    value = {**value, "meta": parse_json(meta) if isinstance(meta, str) else meta}
    said = labelling(regions_of(value["spans"], "spans", place.source.config))
    return record_of(value, place, (said,), read=read)


def _check_tags_of_ours(value: Mapping[str, Any], tags: Sequence[str]) -> None:
    """Raise InputError where the tags or the tokens say something else than the text and the spans."""
    try:
        spans = [Span(one["start"], one["end"], one["label"]) for one in value["spans"]]
        tokens = [(start, end) for start, end in value[_OWN]]
        aligned = align(spans, tokens)
        same = tags in [aligned.tags(len(tokens), scheme) for scheme in SCHEMES]
        same = same and [value["text"][start:end] for start, end in tokens] == value["tokens"]
    except (TypeError, KeyError, ValueError, IndexError):
        same = False
    if not same:
        raise InputError(
            "the spans of a record say the same as the tags of its tokens",
            value=value["spans"],
            next_step=f"Correct one of them, or remove tokens, {_OWN} and ner_tags.",
        )


SHAPE = JsonShape(
    name="hugging-face",
    title="Hugging Face: {tokens: [...], ner_tags: [...]}",
    claims=lambda value: _keys_of(value) is not None,
    record=_record,
    survey=TagsOfFile.begin,
)


def _tag(value: Any, key: str, names: Sequence[str]) -> str:
    value = as_whole(value)
    if isinstance(value, str) and names and value.isascii() and value.isdigit():
        value = int(value[:_SHOWN])
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"a tag in `{key}` is a name or a number", value=value, next_step=f"Correct `{key}`.")
    if not names:
        raise InputError(
            f"the numbers in `{key}` have names",
            value=value,
            next_step="Give them from 0 on: --label-names O,B-PER,I-PER,...",
        )
    if not 0 <= value < len(names):
        raise InputError(
            f"a number in `{key}` is one of the {len(names)} names, from 0 on",
            value=value,
            next_step="Import the data as it was before a tokenizer of a model cut it, or give all names.",
        )
    return names[value]


def _refuse_other_tags(value: Mapping[str, Any], tokens: Sequence[Any]) -> None:
    """Raise InputError where another key seems to hold the tags: its tokens are not simply unlabelled."""
    for key, other in value.items():
        if not isinstance(other, list) or len(other) != len(tokens) or other is tokens:
            continue
        if _OF_ENTITIES.search(key) or any(isinstance(tag, str) and _TAG.match(tag) for tag in other):
            raise InputError(
                "tags of entities stand under a key of theirs, such as `ner_tags`",
                value=f"`{key}`",
                next_step=f"Rename `{key}` to `ner_tags`, or remove it.",
            )


def _describes_tokens(key: str, value: Any, tokens: Any) -> bool:
    """Whether a key has a value for each token, such as `pos_tags`, or repeats the entities, as in WikiANN."""
    if not isinstance(value, list) or key in _TAG_KEYS:
        return False
    if key == "spans":
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(tokens, list) and len(value) == len(tokens) and not says_entities(key)

"""Tags of tokens: which scheme a file's tags follow, and the entities that they say.

A tag is the sign for a token outside of entities, or a type with a letter before it (`B-PER`), behind it (`PER-B`), or
without one (`PER`). A file is surveyed as a whole before its tags are read: `TagSurvey.scheme` names the scheme, and
`TagScheme.said` tells people what was recognised and what does not follow the scheme.

IOB1: Ramshaw and Marcus, "Text chunking using transformation-based learning", 1995. IOB2, and the schemes with a letter
for the end: Tjong Kim Sang and Veenstra, "Representing text chunks", EACL 1999. BILOU: Ratinov and Roth, "Design
challenges and misconceptions in named entity recognition", CoNLL 2009.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from loop.files.words import Entity
from ner.errors import InputError

IOB1, IOB2, BIOES, BILOU, BMEWO, BMES, BARE = "iob1", "iob2", "bioes", "bilou", "bmewo", "bmes", "bare"
SCHEMES = (IOB1, IOB2, BIOES, BILOU, BARE)  # those that people name; the others are recognised
_LETTERS = {IOB1: "BI", IOB2: "BI", BIOES: "BIES", BILOU: "BILU", BMEWO: "BMEW", BMES: "BMES"}
_ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
# Signs for a token outside of entities. None of them can be a type. `-` is not among them: spaCy writes `-` for a token
# of which nobody knows whether it is outside.
OUTSIDE_SIGNS = ("O", "o", "0", "_")
_SEPARATORS = "-_."
_MOST_TAGS, _MOST_PAIRS = 3_000, 100_000

Pair = tuple[str | None, str | None]
"""A tag and the tag behind it; None is the border of the text."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What the tag of an entity says: role B (begin), I (inside), E (end) or S (single), and the type."""

    role: str
    label: str


@dataclass(frozen=True)
class _Notation:
    """How a letter and a type make a tag: `separator` stands between; `letter_last`: the letter stands behind.

    lower: the letters stand in lower case.
    """

    separator: str = "-"
    letter_last: bool = False
    lower: bool = False

    def split(self, tag: str) -> tuple[str, str] | None:
        """(letter in upper case, type), or None. Only the outer separator counts: a type may hold separators."""
        letter, separator, label = tag[:1], tag[1:2], tag[2:]
        if self.letter_last:
            letter, separator, label = tag[-1:], tag[-2:-1], tag[:-2]
        if separator != self.separator or not label.strip() or letter.upper() not in _ROLES:
            return None
        if letter.islower() != self.lower:
            return None
        return letter.upper(), label

    def shown(self, letters: Iterable[str]) -> str:
        """The letters as they stand in tags, for people: `B-, I-`."""
        cased = [letter.lower() if self.lower else letter for letter in letters]
        return ", ".join(f"{self.separator}{one}" if self.letter_last else f"{one}{self.separator}" for one in cased)


_NOTATIONS = tuple(
    _Notation(separator, last, lower) for last in (False, True) for lower in (False, True) for separator in _SEPARATORS
)


@dataclass(frozen=True)
class TagScheme:
    """How the tags of a file are read. `outside`: the sign of a token outside of entities.

    said: a sentence each on the scheme, and on tags that do not follow the scheme.
    """

    name: str
    outside: str = "O"
    notation: _Notation = _Notation()
    said: tuple[str, ...] = ()

    def entities(self, tags: Sequence[str]) -> list[Entity]:
        """The entities of a text; raises InputError for a tag that the scheme does not have.

        A tag that stands where the scheme does not allow it is read as `seqeval` reads it by default: each run of one
        type is an entity, and B, S and whatever stands behind E or S begin a new one.
        """
        found: list[Entity] = []
        open_role, open_label = "", ""
        for position, tag in enumerate(tags):
            part = self.part(tag)
            if part is None:
                open_role = open_label = ""
                continue
            if part.role in "BS" or open_role in ("", "E", "S") or part.label != open_label:
                found.append(Entity(position, position + 1, part.label))
            else:
                found[-1] = found[-1]._replace(behind=position + 1)
            open_role, open_label = part.role, part.label
        return found

    def part(self, tag: str) -> _Part | None:
        """What the tag says; None outside of entities. Raises InputError."""
        if tag == self.outside:
            return None
        if self.name == BARE:
            if any(character.isalpha() for character in tag) and tag[-1] not in _SEPARATORS:
                return _Part("I", tag)
            raise self._unread(tag, f"a tag is {self.outside}, or a type")
        split = self.notation.split(tag)
        letters = _LETTERS[self.name]
        if split is None or split[0] not in letters:
            shown = self.notation.shown(letters)
            raise self._unread(tag, f"a tag is {self.outside}, or a type with one of {shown} ({self.name.upper()})")
        return _Part(_ROLES[split[0]], split[1])

    def reads(self, tag: str) -> bool:
        """Whether the scheme has the tag."""
        try:
            self.part(tag)
        except InputError:
            return False
        return True

    def follows(self, pair: Pair) -> bool:
        """Whether the second tag of the pair may stand behind the first; True for tags that are not read at all."""
        if not all(tag is None or self.reads(tag) for tag in pair):
            return True
        before, part = (None if tag is None else self.part(tag) for tag in pair)
        same = before is not None and part is not None and before.label == part.label
        if self.name == BARE:
            return True
        if self.name == IOB1:
            return part is None or part.role == "I" or same
        if self.name == IOB2:
            return part is None or part.role == "B" or same
        is_open = before is not None and before.role in "BI"
        continues = part is not None and part.role in "IE"
        return is_open == continues and (same or not is_open)

    def _unread(self, tag: str, rule: str) -> InputError:
        step = f"Write {self.outside} where no entity is, correct the tag, or name the scheme with --tag-scheme."
        return InputError(rule, value=tag or "an empty tag", next_step=step)


class TagSurvey:
    """The tags of a whole file, text by text, in a memory that does not grow with the file.

    too_many: whether there are more different values than any tags have; then only their total is known.
    """

    def __init__(self) -> None:
        self.total = 0
        self.too_many = False
        self._pairs: Counter[Pair] = Counter()
        self._tags: Counter[str] = Counter()

    @property
    def tags(self) -> Mapping[str, int]:
        """How often each tag stands there; empty where there are too many."""
        return self._tags

    def add(self, tags: Sequence[str]) -> None:
        """The tags of one more text."""
        self.total += len(tags)
        if self.too_many:
            return
        self._tags.update(tags)
        self._pairs.update(zip((None, *tags), (*tags, None), strict=True))
        if len(self._tags) > _MOST_TAGS or len(self._pairs) > _MOST_PAIRS:
            self.too_many = True
            self._tags.clear()
            self._pairs.clear()

    def scheme(self, name: str | None = None) -> TagScheme:
        """The scheme of the tags, or the one of this name. Raises InputError where the tags are of no known scheme.

        A single tag that the scheme lacks is no error here: `TagScheme.entities` refuses the text that holds the tag.
        """
        if self.too_many:
            raise InputError(f"a file has at most {_MOST_TAGS:,} different tags", next_step="Check which are the tags.")
        outside = next((sign for sign in OUTSIDE_SIGNS if sign in self._tags), "O")
        entities = Counter({tag: count for tag, count in self._tags.items() if tag != outside})
        if name == BARE:
            scheme = TagScheme(BARE, outside)
        else:
            notation = _notation(entities, named=name is not None)
            if notation is None:
                _check_types(entities)
                scheme = TagScheme(BARE, outside)
            else:
                scheme = TagScheme(name or _family(entities, notation), outside, notation)
        if scheme.name == IOB2 and name is None:
            scheme = min((scheme, replace(scheme, name=IOB1)), key=self._breaches)
        return replace(scheme, said=tuple(self._said(scheme, entities)))

    def _breaches(self, scheme: TagScheme) -> int:
        return sum(count for pair, count in self._pairs.items() if not scheme.follows(pair))

    def _said(self, scheme: TagScheme, entities: Mapping[str, int]) -> Iterator[str]:
        if not entities:
            yield f"Every tag is {scheme.outside}: the file says that its texts hold no entity."
            return
        if scheme.outside != "O":
            yield f"{scheme.outside!r} is read as the tag of a token outside of entities; no tag is O."
        if scheme.name == BARE:
            yield "Tags are types without prefixes. Neighbouring tokens of one type are read as one entity: a guess."
            return
        letters = _letters(entities, scheme.notation)
        shown = scheme.notation.shown(letter for letter in _LETTERS[scheme.name] if letter in letters)
        yield f"Tags are read as {scheme.name.upper()} ({shown or 'none of its prefixes occurs'})."
        if scheme.name == IOB1 and "B" not in letters:
            yield "No entity begins with B: neighbouring entities of one type, if there are any, are read as one."
        breaches = self._breaches(scheme)
        if breaches:
            ((before, tag), _) = next(item for item in self._pairs.items() if not scheme.follows(item[0]))
            example = f"{tag or 'the end of a text'} behind {before or 'the start of a text'}"
            yield (
                f"{breaches:,} of {self.total:,} tags do not follow {scheme.name.upper()} (such as {example}); "
                "each run of one type is read as an entity."
            )


def detected_scheme(texts: Iterable[Sequence[str]], name: str | None = None) -> TagScheme:
    """The scheme of the tags of these texts, or the one of this name. Raises InputError."""
    survey = TagSurvey()
    for tags in texts:
        survey.add(tags)
    return survey.scheme(name)


def has_letter(tag: str) -> bool:
    """Whether the tag has the letter of a scheme before or behind its type: `B-PER`, `I_LOC`, `PER-E`."""
    return any(notation.split(tag) is not None for notation in _NOTATIONS)


def _notation(entities: Mapping[str, int], *, named: bool) -> _Notation | None:
    """The notation of the tags; None where they are bare types.

    A letter behind the type is believed only where every tag has one and more than one letter occurs.
    """
    before = [one for one in _NOTATIONS if not one.letter_last]
    best = max(before, key=lambda one: _readable(entities, one))
    total, readable = sum(entities.values()), _readable(entities, best)
    if readable == total:
        return best
    for one in _NOTATIONS:
        if one.letter_last and _readable(entities, one) == total and len(_letters(entities, one)) > 1:
            return one
    has_begin = not _letters(entities, best).keys().isdisjoint("BI")
    return best if named or (has_begin and readable * 2 >= total) else None


def _readable(entities: Mapping[str, int], notation: _Notation) -> int:
    return sum(count for tag, count in entities.items() if notation.split(tag) is not None)


def _letters(entities: Mapping[str, int], notation: _Notation) -> Counter[str]:
    letters: Counter[str] = Counter()
    for tag, count in entities.items():
        split = notation.split(tag)
        if split is not None:
            letters[split[0]] += count
    return letters


def _family(entities: Mapping[str, int], notation: _Notation) -> str:
    letters = _letters(entities, notation)
    for name in (IOB2, BIOES, BILOU, BMEWO, BMES):
        if letters.keys() <= set(_LETTERS[name]):
            return name
    raise InputError(
        "the tags of a file are of one scheme: IOB1, IOB2, BIOES, BILOU or BMEWO",
        value=", ".join(f"{notation.shown([letter])} {count:,} times" for letter, count in sorted(letters.items())),
        next_step="Correct the tags, or name the scheme with --tag-scheme.",
    )


def _check_types(entities: Mapping[str, int]) -> None:
    """Raise InputError for bare tags that are no types: letters of a scheme, or numbers."""
    if entities.keys() <= _ROLES.keys() | {letter.lower() for letter in _ROLES}:
        raise InputError(
            "a tag says the type of its entity",
            value=", ".join(sorted(entities)),
            next_step="Write the type behind the letter, such as B-PER.",
        )
    if not any(character.isalpha() for tag in entities for character in tag):
        raise InputError(
            "a tag is a type with or without a prefix",
            value=", ".join(sorted(entities)[:10]),
            next_step="Write names in the place of numbers, or give their names with --label-names.",
        )

"""Gazetteers: lists of names, found in a text at token boundaries, the longest first.

All terms are searched in one pass over the text, by the automaton of Aho & Corasick 1975.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Literal

import regex
from ahocorasick_rs import AhoCorasick, MatchKind

from ner.errors import InputError
from ner.spans import Span
from weak_labeling.folding import marked, marked_term, written

LetterCase = Literal["ignore", "exact", "smart"]
Strictness = Literal["exact", "ignore"]
# A change of what is matched raises it: votes of an older version are out of date.
_VERSION = 2
LONGEST_TERM = 1_000
_LONGEST_ACRONYM = 5
_MOST_GAPS = 3
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_HISSES = regex.compile(r"(?:s|x|z|ch|sh)$", regex.IGNORECASE)
_CONSONANT_Y = regex.compile(r"[^aeiou\W]y$", regex.IGNORECASE)


@dataclass(frozen=True)
class TermRules:
    """When a place in a text is a term.

    case: "ignore" as it says. "exact": as the term is written. "smart": acronyms (one word of up to five characters, no
    letter of which is small: IT, SAP, H2O) as they are written, other terms in any case. accents: whether they count.
    plural: the English plural of a term's last word is found, too. punctuation: with "ignore", the signs and blanks
    between the words of a term may be others or missing: "Wi-Fi" finds "Wi Fi" and "WiFi", "G.O. 95" finds "GO 95".
    """

    case: LetterCase = "ignore"
    accents: Strictness = "exact"
    plural: bool = False
    punctuation: Strictness = "exact"

    @property
    def has_variants(self) -> bool:
        """Whether a term is found in another spelling than its own."""
        return self.plural or self.punctuation == "ignore"

    def variants(self, term: str) -> Iterator[str]:
        """Every way to write the term, itself among them; their case is the term's."""
        spellings = _respaced(term) if self.punctuation == "ignore" else (term,)
        for spelling in spellings:
            yield spelling
            if self.plural:
                yield _plural(spelling)

    def keeps_case(self, term: str) -> bool:
        """Whether the term is found only as it is written."""
        acronym = len(term) <= _LONGEST_ACRONYM and term.isalnum() and term.isupper()
        return self.case == "exact" or (self.case == "smart" and acronym)

    def key(self, text: str) -> str:
        """What must be equal, apart from case."""
        return written(text, accents=self.accents == "exact")


class TermFinder:
    """Votes for the label of each term wherever the term stands in a text as whole tokens.

    The text is read from left to right. The longest term wins, and its tokens are used up. A token is a run of letters,
    digits and low lines with their accents, one character of a script that sets no blanks between words, or one other
    character; joined emoji are one. Any run of white space in a term matches any other, so that a term may be wrapped
    over a line end. A blank line matches none, and "Wi-Fi" is not found in "Wi - Fi". Composed and decomposed accents
    are the same, and so are typographic and typewriter dashes and apostrophes.
    """

    def __init__(self, labels: Mapping[str, str], rules: TermRules | None = None) -> None:
        """labels: by term. Raises InputError for a term without any character that shows, and for two labels of what
        the rules hold to be one term.
        """
        self.labels = dict(labels)
        self.rules = rules or TermRules()
        self._exact: dict[str, str] = {}
        self._folded: dict[str, str] = {}
        for term, label in self.labels.items():
            self._learn(term, label)
        if self.rules.has_variants:
            for term, label in self.labels.items():
                for variant in self.rules.variants(self.rules.key(term.strip())):
                    known, key = self._place(variant, keeps=self.rules.keeps_case(term))
                    known.setdefault(key, label)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the terms, their labels and the rules; the order of the list does not count."""
        terms = (f"{label}\t{term}" for term, label in sorted(self.labels.items()))
        content = "\n".join((str(_VERSION), repr(self.rules), *terms))
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def prepare(self) -> None:
        """Build the automaton now, so that processes that are forked later share it."""
        _ = self._automaton

    def __call__(self, text: str, /) -> Iterator[Span]:
        """Spans that do not overlap, in text order."""
        form = marked(text)
        hits = self._automaton.find_matches_as_indexes(form.marked, overlapping=True)
        end = 0
        for _, first, last in sorted(hits, key=lambda hit: (hit[1], -hit[2])):
            if first < end:
                continue
            place = form.place(first, last)
            label = place and self._label(text[slice(*place)])
            if place and label:
                yield Span(*place, label)
                end = last

    @cached_property
    def _automaton(self) -> AhoCorasick:
        """Of the marked forms of all variants. It does not go to another process with the finder."""
        forms = {marked_term(key) for key in (*self._exact, *self._folded)}
        return AhoCorasick(sorted(forms), matchkind=MatchKind.Standard, store_patterns=False)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_automaton"}

    def _learn(self, term: str, label: str) -> None:
        if not marked_term(term):
            raise InputError("a gazetteer term has a character that shows", value=term, next_step="Remove the term.")
        known, key = self._place(self.rules.key(term.strip()), keeps=self.rules.keeps_case(term))
        if known.setdefault(key, label) != label:
            raise InputError(
                "a term of a gazetteer has one label",
                value=f"{term}: {known[key]} and {label}",
                next_step="Keep the label that it has most often, or leave the term out.",
            )

    def _place(self, key: str, *, keeps: bool) -> tuple[dict[str, str], str]:
        return (self._exact, key) if keeps else (self._folded, key.casefold())

    def _label(self, found: str) -> str | None:
        key = self.rules.key(found)
        return self._exact.get(key) or self._folded.get(key.casefold())


class Gazetteer(TermFinder):
    """A TermFinder whose terms all have one label."""

    def __init__(
        self,
        terms: Iterable[str],
        label: str,
        *,
        case: LetterCase = "ignore",
        accents: Strictness = "exact",
        plural: bool = False,
        punctuation: Strictness = "exact",
    ) -> None:
        """The options are those of TermRules. Raises InputError for a term without any character that shows."""
        super().__init__(dict.fromkeys(terms, label), TermRules(case, accents, plural, punctuation))
        self.label = label


def load_terms(path: Path) -> tuple[str, ...]:
    """The terms of a file, one a line, in UTF-8; blank lines and lines that begin with `# ` are left out.

    Raises InputError when the file cannot be read, holds no term, or holds one that is none (`wrong_term`).
    """
    terms: list[str] = []
    for number, line in enumerate(read_utf8(path).splitlines(), start=1):
        term = line.strip()
        if not term or line.startswith("# "):
            continue
        if rule := wrong_term(term):
            raise InputError(rule, value=f"{path}, line {number}: {term!a}", next_step="Mend or remove the line.")
        terms.append(term)
    if not terms:
        raise InputError("a gazetteer file holds a term", value=str(path), next_step="Write one term on each line.")
    return tuple(terms)


def read_utf8(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark. InputError names the line that is not UTF-8."""
    try:
        if path.exists() and not path.is_file():  # a pipe has no end, and a device may have none
            raise OSError(0, "no plain file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # a ValueError for a path that no file can have
        value = f"{path} ({getattr(error, 'strerror', error)})"
        raise InputError("a gazetteer file can be read", value=value, next_step="Check the path.") from error
    try:
        text, foreign = content.decode("utf-8-sig"), content.find(b"\0")
    except UnicodeDecodeError as error:
        text, foreign = "", error.start
    if foreign < 0:
        return text
    line = content.count(b"\n", 0, foreign) + 1
    raise InputError(
        "a gazetteer file can be read as UTF-8, and holds no zero byte",
        value=f"{path}, line {line}: {content[foreign : foreign + 4]!r}",
        next_step='Save the file as UTF-8: it is in another encoding, such as "Windows-1252" or "UTF-16".',
    )


def wrong_term(term: str) -> str:
    """The rule that a term breaks; "" where there is none."""
    if len(term) > LONGEST_TERM:
        return f"a gazetteer term has at most {LONGEST_TERM:,} characters"
    return "" if marked_term(term) else "a gazetteer term has a character that shows"


def _plural(term: str) -> str:
    """The regular English plural of the last word, in the case of the word; the term itself where no letter ends it."""
    if not term[-1].isalpha():
        return term
    ending = "es" if _HISSES.search(term) else "s"
    stem = term
    if _CONSONANT_Y.search(term):
        stem, ending = term[:-1], "ies"
    loud = term.split()[-1].isupper() and len(term.split()[-1]) > _LONGEST_ACRONYM
    return stem + (ending.upper() if loud else ending)


def _respaced(term: str) -> Iterator[str]:
    """The term with other signs and blanks between its words, and without a full stop at its end."""
    words = list(_WORD.finditer(term))
    gaps = [term[left.end() : right.start()] for left, right in pairwise(words)]
    if not words:
        yield term
        return
    few = len(gaps) <= _MOST_GAPS
    for between in product(*map(_gaps, gaps)) if few else zip(*map(_like_gaps, gaps), strict=True):
        spelled = "".join(word.group() + gap for word, gap in zip(words, (*between, ""), strict=True))
        spelled = term[: words[0].start()] + spelled + term[words[-1].end() :]
        yield from dict.fromkeys((spelled, spelled.removesuffix(".")))


def _gaps(gap: str) -> tuple[str, ...]:
    """What may stand between two words in place of `gap`. Two words that a blank parts are never joined."""
    return tuple(dict.fromkeys((gap, " ", "-", *(() if gap.isspace() else ("", gap.strip())))))


def _like_gaps(gap: str) -> tuple[str, ...]:
    """`gap`, then what stands for it where every gap of a term is a blank, a hyphen, or nothing."""
    return gap, " ", "-", " " if gap.isspace() else ""

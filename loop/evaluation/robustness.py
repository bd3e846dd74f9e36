"""Robustness: how the served file does on texts that were changed in ways in which people write, too.

Invariance tests in the sense of CheckList (Ribeiro et al. 2020, section 2.2): case, typos, white space and punctuation
change while the entities stay, so that their gold moves along. Typos after Belinkov & Bisk (2018, section 3.2): a word
keeps its first and its last letter, words of three letters and fewer stay as they are.

A perturbation is a pure function (text, spans, random) -> (text, spans); to add one, add it to PERTURBATIONS.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from random import Random

from loop.evaluation.scores import score
from ner.documents import MAX_TEXT_CHARS
from ner.labels import LabelSet
from ner.spans import Span

AS_IT_IS = "as it is"
DOCUMENTS = 500
TYPO_SHARE = 0.2
SPACE_SHARE = 0.5
_LETTERS = 4
_WORD = re.compile(r"[^\W\d_]+")
# Marks with white space or the end behind them, and neither white space nor a mark before: `10.15`, `1,000` and
# `.NET` are no places where a sentence ends.
_SENTENCE_END = re.compile(r"(?<=[^\s.!?])[.!?]+(?!\S)")
_COMMA = re.compile(r"(?<=[^\s,.!?]),(?!\S)")
_SPACES = ("  ", "\t", "\n")
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

Spans = tuple[Span, ...]
Marked = tuple[str, Spans]
Perturbation = Callable[[str, Sequence[Span], Random], Marked]


@dataclass(frozen=True, slots=True)
class Perturbed:
    """F1 (0..1), micro and per type, on the holdout's texts after the perturbation `name`.

    documents: how many texts. changed: how many of them the perturbation changed. Gold is moved along with the text.
    """

    name: str
    micro_f1: float
    per_type: Mapping[str, float]
    documents: int
    changed: int


@dataclass(frozen=True, slots=True)
class PerturbedText:
    """A text after a perturbation, and its spans where they stand now, in the order they were given in."""

    text: str
    spans: Spans


@dataclass(frozen=True, slots=True)
class Edit:
    """`replacement` in place of `text[start:end]`, which is not empty."""

    start: int
    end: int
    replacement: str


def perturb(name: str, text: str, spans: Sequence[Span], seed: int) -> PerturbedText:
    """The text after the perturbation of that name, always the same for the same text and seed.

    A text that would become longer than MAX_TEXT_CHARS is returned unchanged.
    """
    random = Random(int(_digest(f"{seed} {name}", text), 16))
    changed, moved = PERTURBATIONS[name](text, spans, random)
    return PerturbedText(changed, moved) if len(changed) <= MAX_TEXT_CHARS else PerturbedText(text, tuple(spans))


def robustness(
    texts: Sequence[Marked],
    tag: Callable[[Sequence[str]], Sequence[Sequence[Span]]],
    labels: LabelSet,
    *,
    seed: int,
    limit: int = DOCUMENTS,
) -> tuple[Perturbed, ...]:
    """F1 after each perturbation, AS_IT_IS first, on at most `limit` of the texts (with their gold), the same for all.

    The texts are drawn by a hash, so that a few texts more or less change little. `tag` gives the spans of each of some
    texts. `tag` is called once for each row, with the texts that it has not seen. Errors as `score`.
    """
    drawn = sorted(texts, key=lambda one: _digest(str(seed), one[0]))[:limit]
    known: dict[str, Sequence[Span]] = {}
    rows = [_row(AS_IT_IS, drawn, drawn, labels, tag, known)]
    for name in PERTURBATIONS:
        changed = [perturb(name, text, gold, seed) for text, gold in drawn]
        rows.append(_row(name, drawn, [(one.text, one.spans) for one in changed], labels, tag, known))
    return tuple(rows)


def lower_case(text: str, spans: Sequence[Span], _random: Random) -> Marked:
    """Everything in lower case."""
    return _cased(text, spans, str.lower)


def upper_case(text: str, spans: Sequence[Span], _random: Random) -> Marked:
    """Everything in upper case."""
    return _cased(text, spans, str.upper)


def typos(text: str, spans: Sequence[Span], random: Random) -> Marked:
    """One typo in about TYPO_SHARE of the words of four letters or more; words end where spans do.

    Digits are no letters: version numbers and error codes stay what they are.
    """
    words = [(start, end) for start, end in _words(text, spans) if end - start >= _LETTERS]
    edits = [
        Edit(start, end, _mistyped(text[start:end], random)) for start, end in words if random.random() < TYPO_SHARE
    ]
    return _edited(text, spans, edits)


def white_space(text: str, spans: Sequence[Span], random: Random) -> Marked:
    """About SPACE_SHARE of the spaces doubled, or a tab or line break instead, also within spans."""
    spaces = [at for at, character in enumerate(text) if character == " " and random.random() < SPACE_SHARE]
    return _edited(text, spans, [Edit(at, at + 1, random.choice(_SPACES)) for at in spaces])


def punctuation(text: str, spans: Sequence[Span], random: Random) -> Marked:
    """Marks at the end of sentences dropped or, as often, the last of them doubled; commas dropped.

    Only marks outside of every span, with white space or the end of the text behind them: a mark within a number, a
    name or an address (`10.15`, `Yahoo!`, `a.example`) is part of what it is, labelled or not.
    """
    ends = [
        Edit(found.start(), found.end(), random.choice(("", found[0] + found[0][-1])))
        for found in _SENTENCE_END.finditer(text)
    ]
    edits = [*ends, *(Edit(found.start(), found.end(), "") for found in _COMMA.finditer(text))]
    within = {place for span in spans for place in range(span.start, span.end)}
    free = [edit for edit in edits if within.isdisjoint(range(edit.start, edit.end))]
    return _edited(text, spans, sorted(free, key=lambda edit: edit.start))


PERTURBATIONS: dict[str, Perturbation] = {
    "lower case": lower_case,
    "upper case": upper_case,
    "typos": typos,
    "white space": white_space,
    "punctuation": punctuation,
}


def _row(
    name: str,
    originals: Sequence[Marked],
    perturbed: Sequence[Marked],
    labels: LabelSet,
    tag: Callable[[Sequence[str]], Sequence[Sequence[Span]]],
    known: dict[str, Sequence[Span]],
) -> Perturbed:
    """The scores of one row; answers are added to `known`."""
    unseen = list(dict.fromkeys(text for text, _ in perturbed if text not in known))
    known |= zip(unseen, tag(unseen), strict=True)
    scores = score([gold for _, gold in perturbed], [known[text] for text, _ in perturbed], labels)
    return Perturbed(
        name=name,
        micro_f1=scores.micro.f1,
        per_type={label: row.f1 for label, row in scores.per_type.items()},
        documents=len(perturbed),
        changed=sum(text != original for (text, _), (original, _) in zip(perturbed, originals, strict=True)),
    )


def _cased(text: str, spans: Sequence[Span], case: Callable[[str], str]) -> Marked:
    """A character that has another length in the other case (`ß`, `İ`) moves the spans behind it.

    The case of a character may depend on its neighbours (`Σ` at the end of a word). Its length never does.
    """
    starts = [0, *accumulate(len(case(character)) for character in text)]
    moved = tuple(replace(span, start=starts[span.start], end=starts[span.end]) for span in spans)
    return case(text), moved


def _words(text: str, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Runs of letters, cut where a span begins or ends."""
    cuts = sorted({bound for span in spans for bound in (span.start, span.end)})
    for found in _WORD.finditer(text):
        within = cuts[bisect_right(cuts, found.start()) : bisect_left(cuts, found.end())]
        yield from pairwise((found.start(), *within, found.end()))


def _mistyped(word: str, random: Random) -> str:
    """One typo within the word; a letter left out where the one that was drawn would change nothing."""
    at = random.randrange(1, len(word) - 2)
    done = random.choice((_swap, _drop, _repeat, _neighbour))(word, at, random)
    return done if done != word else _drop(word, at, random)


def _swap(word: str, at: int, _random: Random) -> str:
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _drop(word: str, at: int, _random: Random) -> str:
    return word[:at] + word[at + 1 :]


def _repeat(word: str, at: int, _random: Random) -> str:
    return word[: at + 1] + word[at:]


def _neighbour(word: str, at: int, random: Random) -> str:
    """The key beside it on an English keyboard, in the case of the letter; letters that are not on it stay."""
    row = next((row for row in _KEYBOARD if word[at].lower() in row), None)
    if row is None:
        return word
    place = row.index(word[at].lower())
    pressed = random.choice(row[max(0, place - 1) : place] + row[place + 1 : place + 2])
    return word[:at] + (pressed.upper() if word[at].isupper() else pressed) + word[at + 1 :]


def _edited(text: str, spans: Sequence[Span], edits: Sequence[Edit]) -> Marked:
    """The text with edits that stand in order and apart, none across a bound of a span, and the spans moved along."""
    ends = [edit.end for edit in edits]
    shifts = [0, *accumulate(len(edit.replacement) - (edit.end - edit.start) for edit in edits)]

    def moved(bound: int) -> int:
        return bound + shifts[bisect_right(ends, bound)]

    between = [text[start:end] for start, end in zip([0, *ends], [*(edit.start for edit in edits), None], strict=True)]
    pieces = [piece for kept, edit in zip(between, edits, strict=False) for piece in (kept, edit.replacement)]
    return (
        "".join([*pieces, between[-1]]),
        tuple(replace(span, start=moved(span.start), end=moved(span.end)) for span in spans),
    )


def _digest(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()

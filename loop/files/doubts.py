"""What people are told about texts in doubt: how many, why, and the line of `[label_map]` that would mend them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence

from ner.label_studio.results import OUTSIDE_CONFIG
from ner.labels import OUTSIDE
from store.counts import Doubts

_SHOWN = 5
_SIMILAR = 0.8
_LEAST = 4  # letters of a name that begins another name
_TAG = re.compile(r"[BIESLU]-.+")
# The usual short forms, which are the beginnings of many other words.
_LONG_FORMS = {
    **dict.fromkeys(("per", "pers", "person", "persons", "people"), "person"),
    **dict.fromkeys(("org", "organization", "organisation", "organizations", "organisations"), "organization"),
    **dict.fromkeys(("loc", "location", "locations"), "location"),
    **dict.fromkeys(("misc", "miscellaneous"), "miscellaneous"),
}
_ANY = "..."


def doubts_lines(doubts: Doubts, labels: Sequence[str]) -> list[str]:
    """What a command says of the doubts, a line each: how many texts for what, and what to do. Nothing without any."""
    return [doubts_sentence(doubts, labels), f"Mend: {mend(doubts, labels)}"] if doubts else []


def doubts_sentence(doubts: Doubts, labels: Sequence[str]) -> str:
    """One sentence: how many texts are in doubt, and for what. `labels` are the project's.

    Such as: 12 labelled texts are in doubt and are not learned from: label "Person" (9), span outside the text (3).
    """
    unknown = unknown_labels(doubts, labels)
    causes = [f"label {_quoted(name)} ({doubts.labels[name]:,})" for name in unknown[:_SHOWN]]
    if len(unknown) > _SHOWN:
        causes.append(f"{len(unknown) - _SHOWN:,} further labels")
    causes += [f"{name} ({n:,})" for name, n in doubts.by_reason.items() if name != OUTSIDE_CONFIG or not unknown]
    texts = "1 labelled text is" if doubts.documents == 1 else f"{doubts.documents:,} labelled texts are"
    return f"{texts} in doubt and {'is' if doubts.documents == 1 else 'are'} not learned from: {', '.join(causes)}."


def mend(doubts: Doubts, labels: Sequence[str]) -> str:
    """What to do about it: the line for loop.toml where a label is at fault, and the other ways."""
    line = map_line(unknown_labels(doubts, labels), labels)
    elsewhere = "mend the regions in Label Studio or in the file; then pull or import again."
    return f'{line} in loop.toml ("O": no entity), or {elsewhere}' if line else f"{elsewhere[0].upper()}{elsewhere[1:]}"


def map_line(unknown: Iterable[str], labels: Sequence[str]) -> str:
    """`[label_map] "Person" = "PER"`, for these labels that the project does not have; empty without any.

    The right side is the label of the project that looks most like it, or dots for people to fill in.
    """
    lines = map_lines(unknown, labels)
    more = ", ..." if len(lines) > _SHOWN else ""
    return f"[label_map] {', '.join(lines[:_SHOWN])}{more}" if lines else ""


def map_lines(unknown: Iterable[str], labels: Sequence[str]) -> list[str]:
    """`"Person" = "PER"` for each of these labels, as the lines below [label_map] in loop.toml."""
    return [f"{_quoted(name)} = {_quoted(nearest(name, labels) or _ANY)}" for name in unknown]


def unknown_labels(doubts: Doubts, labels: Sequence[str]) -> list[str]:
    """The labels at fault that the project does not have, most frequent first."""
    return [name for name in doubts.labels if name not in labels]


def nearest(label: str, labels: Sequence[str]) -> str | None:
    """The label of the project that means the same, as far as the names tell; None where they do not.

    It is the same in another case, a usual long or short form ("Person" and "PER"), a name that begins with the other
    (four letters at least), or one with a slip of the pen.
    """
    if label == OUTSIDE:
        return OUTSIDE
    folded = {name.casefold(): name for name in reversed(labels)}
    own = label.casefold()
    forms = {_LONG_FORMS.get(name, name): name for name in folded}
    begun = [
        name for name in folded if min(len(name), len(own)) >= _LEAST and (own.startswith(name) or name.startswith(own))
    ]
    close = difflib.get_close_matches(own, list(folded), n=1, cutoff=_SIMILAR)
    found = own if own in folded else forms.get(_LONG_FORMS.get(own, own))
    best = found or max(begun, key=len, default=None) or next(iter(close), None)
    return folded[best] if best is not None else None


def tags_among(labels: Iterable[str]) -> list[str]:
    """The labels that are tags of tokens, such as B-PER: nobody can map them to types, span by span."""
    return [label for label in labels if _TAG.fullmatch(label)]


def _quoted(name: str) -> str:
    """As TOML writes a key or a string."""
    return json.dumps(name, ensure_ascii=False)

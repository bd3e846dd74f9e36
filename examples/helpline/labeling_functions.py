"""Labelling functions for the conversations of a helpline: those that need a look around; the rest is in weak.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ner.spans import Span
from weak_labeling.functions import labeling_function
from weak_labeling.gazetteers import Gazetteer, load_terms

LISTS = Path(__file__).parent / "gazetteers"

_NAME = r"[A-Z][a-z]+(?: [A-Z][a-z]+)?"
# What a person who speaks of somebody's wrongdoing says right after the wrongdoer.
_DID = (
    r"keeps?|took|takes|stole|put|puts|lets|let|leaves|left|makes|made|shouts?|shouted|laughs?|laughed|"
    r"calls|called|charged|asked|asks|sells|sold|refuse[sd]?|closed|pushed|hit|ran|run|burns?|copies|copied|comments|cut|"
    r"threw|painted|won['’]t|doesn['’]t|broke|played?|smokes?|reads?|accused|who"
)
_WRONGDOER = re.compile(
    r"\b(?:[Aa]|[Aa]n|[Tt]he|[Mm]y|[Oo]ur|[Hh]is|[Hh]er|[Tt]wo|[Ss]ome|[Aa]nother) "
    rf"((?:[a-z-]+ )?[a-z-]+)(?= (?:{_DID})\b)"
)
_NOBODY = re.compile(r"\b(?:and|class|he|it|line|she|teacher|that|were|which|who)$")
_KIN = Gazetteer(load_terms(LISTS / "relatives.txt"), "VICTIM")
_OWNER = re.compile(r"\b(?:my|our|your|his|her|a|of a)(?: \w+)? $", re.IGNORECASE)


@labeling_function(name="relatives")
def relatives(text: str) -> Iterator[Span]:
    """A relative or a friend whom somebody calls theirs, and who is not said to have done it."""
    wrongdoers = {match.span(1) for match in _WRONGDOER.finditer(text)}
    for span in _KIN(text):
        if _OWNER.search(text[: span.start]) and (span.start, span.end) not in wrongdoers:
            yield span


@labeling_function(name="wrongdoers_by_what_they_did")
def wrongdoers_by_what_they_did(text: str) -> Iterator[Span]:
    """A person right before what somebody is blamed for; relatives and people in charge are left to other functions."""
    kin = {(span.start, span.end) for span in _KIN(text)}
    for match in _WRONGDOER.finditer(text):
        if match.span(1) not in kin and not _NOBODY.search(match.group(1)):
            yield Span(match.start(1), match.end(1), "PERPETRATOR")


@labeling_function(name="names_by_introduction")
def names_by_introduction(text: str) -> Iterator[Span]:
    """Names after "my name is", "this is" and the like, and before "speaking" or "here"."""
    said = r"[Mm]y name(?:['’]s| is)|[Tt]his is|[Hh]is name is|[Hh]er name is|[Ii]t['’]s|called"
    before = rf"(?:{said}) ({_NAME})(?=[ ,.;!?\n]|$)"
    after = rf"(?<![\w'’]) ?({_NAME})(?=,? (?:speaking|here)\b)"
    for pattern in (before, after):
        for match in re.finditer(pattern, text):
            yield Span(match.start(1), match.end(1), "NAME")


@labeling_function(name="signatures")
def signatures(text: str) -> Iterator[Span]:
    """The last line of a mail, when the line is a name."""
    for match in re.finditer(rf"\n\n({_NAME})(?:,[^\n]*)?$|\n({_NAME})$", text):
        group = 1 if match.group(1) else 2
        yield Span(match.start(group), match.end(group), "NAME")

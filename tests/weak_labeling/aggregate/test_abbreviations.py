"""Short forms in brackets."""

from __future__ import annotations

import pytest

from ner.spans import Span
from weak_labeling.aggregate.abbreviations import ELSEWHERE, HERE, Abbreviations, abbreviations
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.source import Vote


def voted(text: str, long: str, label: str = "DISEASE") -> VotedText:
    start = text.index(long)
    return VotedText(text, text, (Vote(Span(start, start + len(long), label), "names"),))


@pytest.mark.parametrize(
    ("text", "long", "short"),
    [
        ("Familial polyposis coli (FPC) is rare", "Familial polyposis coli", "FPC"),
        ("familial polyposis coli ( FPC ) is rare", "familial polyposis coli", "FPC"),
        ("a patient with adenomatous polyposis coli (APC)", "polyposis coli", "APC"),
        ("spinocerebellar ataxia 6 (SCA6)", "spinocerebellar ataxia 6", "SCA6"),
        ("ataxia-telangiectasia (A-T)", "ataxia-telangiectasia", "A-T"),
    ],
)
def test_the_short_form_has_the_type_of_the_long_form(text: str, long: str, short: str) -> None:
    assert abbreviations([voted(text, long)]).types == {short: "DISEASE"}


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("polyposis coli (see above)", "polyposis coli"),  # no capital letter
        ("polyposis coli (BRCA1)", "polyposis coli"),  # letters that the long form does not have
        ("polyposis coli and more (PC)", "polyposis coli"),  # the vote does not end at the bracket
        ("xpolyposis coli (PC)", "xpolyposis coli"),  # the first letter does not begin a word
    ],
)
def test_other_brackets_say_nothing(text: str, long: str) -> None:
    assert abbreviations([voted(text, long)]).types == {}


def test_short_forms_are_voted_on_in_the_text_that_explains_them_and_in_other_texts() -> None:
    known = Abbreviations({"PC": "DISEASE", "OS": "SYSTEM"})
    text = voted("polyposis coli (PC): PC and OS, not PCs", "polyposis coli", "ILLNESS")
    added = set(known.added(text).votes) - set(text.votes)
    assert added == {
        Vote(Span(16, 18, "ILLNESS"), HERE),
        Vote(Span(21, 23, "ILLNESS"), HERE),
        Vote(Span(28, 30, "SYSTEM"), ELSEWHERE),
    }


def test_a_short_form_has_the_type_that_it_has_most_often() -> None:
    long = "polyposis coli (PC)"
    texts = [voted(f"{n} {long}", "polyposis coli", label) for n, label in enumerate(("A", "B", "B"))]
    assert abbreviations(texts).types == {"PC": "B"}

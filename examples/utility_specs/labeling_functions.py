"""Labelling functions for an electric utility's rules and notes, written before the texts, from general knowledge.

Here stand the rules that need more than one pattern; weak.toml has the gazetteers and the simple patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ner.spans import Span
from weak_labeling.functions import labeling_function
from weak_labeling.heuristics import regex

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+|[- ]\d+/\d+|/\d+(?:\.\d+)?)?"
WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|eighteen|twenty|thirty|forty|fifty|sixty|"
    "ninety"
)
LENGTHS = r"feet|foot|ft|inch(?:es)?|in(?= (?:of|or|to|by|from|for|above|below|deep|wide|and|x)\b|[.,;:)]|$)|"
LENGTHS += r"yards?|miles?|mils?|mm|cm|meters?|metres?|m|km"
ELECTRIC = r"kVA|MVA|kVAR|kV|kvolts?|volts?|V|kA|mA|amps?|amperes?|A|kW|MW|watts?|W|ohms?|kilohms?|megohms?|Hz|ppm|pF"
MECHANICAL = (
    r"pounds?|lbs?|lbf|psi|psf|kips?|tons?|ft-lb|foot-pounds?|mph|kg|kN|N|gallons?|gal|cubic yards?|square feet|acres?"
)
OTHER = (
    r"percent|%|°[CF]|degrees?(?: [CF]\b)?|seconds?|minutes?|hours?|days?|weeks?|months?|years?|business days|"
    r"calendar days"
)
UNIT = rf"(?:{LENGTHS}|{ELECTRIC}|{MECHANICAL}|{OTHER})"
FEET_AND_INCHES = rf"\d+ (?:ft|feet) {NUMBER} in(?:ches)?(?!\w)"
QUANTITY = rf"(?:{FEET_AND_INCHES}|(?:{NUMBER}|(?:{WORDS})\b)[- ]?{UNIT}(?![\w/]))"
JOIN = r"(?:\s(?:to|by|x|and|or)\s|\s?[-–x/]\s?)"

measures = labeling_function(name="measures")(
    regex(rf"(?<![\w./#-])(?:{NUMBER}{JOIN})?{QUANTITY}(?: (?:by|x) {QUANTITY})?", "MEASURE", flags=re.IGNORECASE)
)

wire_sizes = labeling_function(name="wire_sizes")(
    regex(r"(?<![\w/])(?:(?:No\. ?|#)?\d{1,2}(?:/0)? ?AWG|#\d{1,2}(?:/0)?|\d{2,4}(?:\.\d)? ?kcmil)(?!\w)", "MEASURE")
)

standards_of_bodies = labeling_function(name="standards_of_bodies")(
    regex(
        r"\b(?:ANSI(?:/\w+)?|ASTM|IEEE|IEC|NEMA|ICEA|AWPA|OSHA|UL|NFPA|ASCE|AASHTO|ACI|EIA|AEIC|RUS|CFR|ISO)"
        r"(?: Std\.?)? (?!Type|Class)(?:[A-Z]{0,3}[- ]?\d[\w.-]*\w|[A-Z]\d)\b(?!-)",
        "STANDARD",
    )
)

sections = labeling_function(name="sections")(
    regex(
        r"\b(?:Rules?|Tables?|Sections?|Sec\.|Articles?|Parts?|Chapters?|Figures?|Fig\.|Notes?|Cases?|Details?|Sheets?|"
        r"Appendix|Annex|Exhibits?|Items?|Columns?|Clauses?|Paragraphs?|Steps?|Line items?) "
        r"(?:\d+(?:[.-]\w+)*|[A-Z]{1,2}(?:[.-]?\d+)?)(?:\(\w\))*(?!\w)",
        "SECTION",
    )
)

grades = labeling_function(name="grades")(
    regex(r"\b(?:Grade|Class|Schedule|Type|Category) (?:\d{1,2}[A-Z]?|[A-NP-Z]\d?|[IV]+)\b|\bClass H\d\b", "GRADE")
)


@labeling_function(name="named_streets")
def named_streets(text: str) -> Iterator[Span]:
    """A street by its name, with its house number if it has one: 1420 Tamarack Lane, Alder Street, Highway 41."""
    kinds = (
        r"(?:Street|St\.|Avenue|Ave\.?|Road|Rd\.?|Lane|Drive|Boulevard|Blvd\.?|Way|Court|Place|Parkway|Terrace|Trail)"
    )
    name = r"(?:\d{1,5} )?(?:(?:North|South|East|West|Old|Mount|Upper|Lower) )?(?:[A-Z][a-z]+|\d+(?:st|nd|rd|th))"
    for match in re.finditer(rf"\b{name}(?: [A-Z][a-z]+)? {kinds}(?!\w)|\b(?:Highway|Route|Interstate) \d+\b", text):
        yield Span(match.start(), match.end(), "LOCATION")


@labeling_function(name="tests_by_their_last_word")
def tests_by_their_last_word(text: str) -> Iterator[Span]:
    """One or two words before "test", "inspection" and the like, unless these words say nothing about the kind."""
    empty = r"(?:the|a|an|this|that|each|every|any|no|and|or|of|to|for|in|at|by|on|was|is|were|are|be|after|before|"
    empty += r"first|second|third|last|next|new|our|their|its|his|her|your|my|all|field|required|passed|failed|same)"
    heads = r"(?:tests?|inspections?|surveys?|scans?)"
    for match in re.finditer(rf"(?i)\b(?:(?!{empty}\b)[\w-]+ )?(?!{empty}\b)[\w-]+ {heads}\b", text):
        yield Span(match.start(), match.end(), "TEST")


@labeling_function(name="qualified_properties")
def qualified_properties(text: str) -> Iterator[Span]:
    """A property with the words that make it a particular one: vertical clearance, relative compaction."""
    kinds = r"vertical|horizontal|radial|midspan|ground|final|initial|longitudinal|transverse|lateral|overhead|relative"
    heads = r"clearances?|separations?|spacing|sag|tension|load|loading|strength|compaction|depth"
    for match in re.finditer(rf"(?i)\b(?:{kinds})(?:-to-ground)? (?:{heads})\b", text):
        yield Span(match.start(), match.end(), "SPECIFICATION")

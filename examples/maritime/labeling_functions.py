"""Labelling functions for maritime texts: what needs a calculation or a look around. The lists and plain patterns stand
in weak.toml.

They were written from general knowledge before the texts, and improved once on the files that seen.txt names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ner.spans import Span
from weak_labeling.functions import labeling_function
from weak_labeling.gazetteers import load_terms
from weak_labeling.heuristics import near_keyword, regex

LISTS = Path(__file__).parent / "gazetteers"

# A kind of ship, before its name or after a nationality.
SHIPS = (
    "barge|bulk carrier|bulker|carrier|coaster|container ship|dredger|factory ship|ferry|freighter|fish carrier|"
    "gillnetter|jigger|krill trawler|longliner|product tanker|purse seiner|reefer|seiner|ship|squid jigger|"
    "supply vessel|tanker|trawler|tug|vessel|yacht"
)
FLAGS = "|".join(re.escape(term) for term in sorted(load_terms(LISTS / "flags.txt"), key=len, reverse=True))
# A name: capitalised words, numbers and Roman numerals; "of", "da" and the like only inside.
NAME = (
    rf"(?!(?:{FLAGS}|Flag|Her|IMO|Ship|The|Vessel)\b)[A-Z][\w'’-]+"
    r"(?: (?:No\. \d+|(?!IMO\b)[A-Z][\w'’-]*|(?:of|the|da|de|del|di|do) [A-Z][\w'’-]+|\d{1,4}\b)){0,3}"
)
PREFIX = r"(?:M/?V|M/?T|M/?S|F/?V|F/?T|S/?V|MFV|LNG/?C)"
LEVELS = r"(?:very |extremely )?(?:low|medium|moderate|standard|elevated|high|severe|critical)|tier \d|level \d"


def is_imo_number(digits: str) -> bool:
    """Whether seven digits pass the check of an IMO number.

    The first six are multiplied by 7, 6, 5, 4, 3 and 2; the last digit of the sum is the seventh.
    """
    if not re.fullmatch(r"[0-9]{7}", digits):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits[:6], range(7, 1, -1), strict=True))
    return total % 10 == int(digits[6])


@labeling_function(name="imo_numbers")
def imo_numbers(text: str) -> Iterator[Span]:
    """Seven digits with a right check digit; written as one word with "IMO", the whole word."""
    for match in re.finditer(r"(?<![\w.,/-])(?:IMO)?([0-9]{7})(?![\w-]|[.,/]\d)", text):
        if is_imo_number(match.group(1)):
            yield Span(*match.span(), "IMO")


vessels_with_a_prefix = labeling_function(name="vessels_with_a_prefix")(
    regex(rf"(?<![\w/]){PREFIX}\.? [\"“]?{NAME}", "VESSEL")
)

vessels_after_a_kind = labeling_function(name="vessels_after_a_kind")(
    regex(rf"\b(?i:{SHIPS}|name|ship|vessel)s?:? [\"“']?({NAME})", "VESSEL", group=1)
)

vessels_before_imo = labeling_function(name="vessels_before_imo")(
    regex(rf"((?:{PREFIX}\.? )?{NAME})(?=[\"”]?,? \(?(?:IMO|flag) )", "VESSEL", group=1)
)

vessels_before_a_flag = labeling_function(name="vessels_before_a_flag")(
    regex(rf"((?:{PREFIX}\.? )?{NAME})(?=[\"”]?,? \((?:{FLAGS})\b)", "VESSEL", group=1)
)


@labeling_function(name="vessels_named_again")
def vessels_named_again(text: str) -> Iterator[Span]:
    """A name that stands behind MV, FV and the like, wherever the same text has it without."""
    names = {match.group(1) for match in re.finditer(rf"(?<![\w/]){PREFIX}\.? ({NAME})", text)}
    for name in names:
        for match in re.finditer(
            rf"(?<!\w)(?<!MV )(?<!FV )(?<!MT )(?<!/V ){re.escape(name)}(?!\w)", text, re.IGNORECASE
        ):
            yield Span(*match.span(), "VESSEL")


hs_codes_after_a_word = labeling_function(name="hs_codes_after_a_word")(
    regex(
        r"\b(?:HS|HTS|CN|TARIC|tariff|commodity|heading|subheading)(?: (?:code|heading|item|line|no\.?))?s?[ :]{1,2}"
        r"(\d{4}(?:[. ]?\d{2}){0,3})\b",
        "HS_CODE",
        group=1,
        flags=re.IGNORECASE,
    )
)

ports_after_a_word = labeling_function(name="ports_after_a_word")(
    regex(
        r"\b(?:port of|berthed (?:at|in)|alongside (?:at|in)|anchored off|called at|bound for|discharged (?:at|in)|"
        r"landed (?:at|in)|loaded (?:at|in)|sailed (?:from|for)|ETA|ETD|POL|POD)[: ]{1,2}"
        r"((?!Berth|Terminal|Monday|Tuesday|Wednesday|Thursday|Friday)[A-Z][\w'’-]+(?: [A-Z][\w'’-]+){0,2})",
        "PORT",
        group=1,
    )
)

flags_before_flagged = labeling_function(name="flags_before_flagged")(
    regex(rf"\b({FLAGS})(?:[- ]flag(?:ged)?|[- ]registered|[- ]registry)\b", "FLAG", group=1)
)

flags_after_flag = labeling_function(name="flags_after_flag")(
    regex(rf"\b(?i:flag)(?: (?i:state|is|was|of|of the))?[: ] ?\(?((?:{FLAGS})|[A-Z]{{2,3}}\b)", "FLAG", group=1)
)

flags_beside_imo = labeling_function(name="flags_beside_imo")(
    regex(rf"\bIMO(?: number)?:? \d{{7}}[,;)]? \(?({FLAGS})\b", "FLAG", group=1)
)

flags_in_brackets = labeling_function(name="flags_in_brackets")(regex(rf"\(({FLAGS})[),;]", "FLAG", group=1))

nationalities_before_a_kind = labeling_function(name="nationalities_before_a_kind")(
    regex(rf"\b({FLAGS}) (?:\w+ )?(?i:{SHIPS})s?\b", "FLAG", group=1)
)

risk_levels_before_risk = labeling_function(name="risk_levels_before_risk")(
    regex(rf"\b({LEVELS})[- ]risks?\b", "RISK_LEVEL", group=1, flags=re.IGNORECASE)
)

risk_levels_near_a_rating = labeling_function(name="risk_levels_near_a_rating")(
    near_keyword(
        regex(
            rf"\b(?:{LEVELS}|amber|red|green)\b(?! (?:seas?|water|winds?|season|speed|quality))",
            "RISK_LEVEL",
            flags=re.IGNORECASE,
        ),
        (
            *(
                "assessment",
                "classified",
                "classify",
                "level",
                "opinion",
                "profile",
                "raise",
                "raised",
                "rate",
                "rated",
            ),
            *("rating", "risk", "risks", "screening", "threat", "treat"),
        ),
        before=8,
        after=3,
    )
)

risk_levels_alone = labeling_function(name="risk_levels_alone")(
    regex(
        rf"^(?:(?:result|level|rating|summary|risk|overall)\b[ \w]{{0,30}}: )?({LEVELS}|amber|red|green)(?=[.;,:]|$)",
        "RISK_LEVEL",
        group=1,
        flags=re.IGNORECASE | re.MULTILINE,
    )
)

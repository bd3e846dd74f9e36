"""A labelling function for IT-support messages, written from general knowledge and never tuned on the gold file.

It votes for the spans it recognises and says nothing about the rest. Lists and plain patterns stand in weak.toml. Add
your own functions below; the names of all sources must be distinct.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ner.spans import Span
from weak_labeling.functions import labeling_function


@labeling_function(name="releases_after_a_product")
def releases_after_a_product(text: str) -> Iterator[Span]:
    """A number right after the name of a product that is numbered by year or generation: Windows 11, Office 2019."""
    product = (
        r"\b(?:Windows(?: Server)?|Win|Office|Exchange|SQL Server|AutoCAD|macOS|iOS|Android|Ubuntu|Debian|Java|PHP)"
    )
    for match in re.finditer(product + r" (\d{1,4}(?:\.\d+)*(?: R2| LTS)?)\b", text, re.IGNORECASE):
        yield Span(match.start(1), match.end(1), "VERSION")

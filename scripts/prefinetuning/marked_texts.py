"""The texts that were written for the adapter: a text a line, its entities as [[mention|TYPE]].

Every file is a field of life. TYPES are those of all files, and each text is marked for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ner.spans import Span

TEXTS = Path(__file__).with_name("texts")
TYPES = (
    *("PERSON", "ROLE", "GROUP", "ORGANIZATION", "AGE", "CONTACT", "LOCATION", "FACILITY"),
    *("EVENT", "CREATIVE_WORK", "AWARD", "LAW", "STANDARD", "LANGUAGE"),
    *("SOFTWARE", "OPERATING_SYSTEM", "PROGRAMMING_LANGUAGE", "DEVICE", "VERSION", "ERROR", "FILE", "CODE", "PROTOCOL"),
    *("MALWARE", "THREAT_ACTOR", "VULNERABILITY", "INDICATOR"),
    *("DISEASE", "SYMPTOM", "DRUG", "CHEMICAL", "GENE", "ANATOMY", "SPECIES", "PROCEDURE"),
    *("FOOD", "PRODUCT", "MATERIAL", "EQUIPMENT", "COMPONENT", "VEHICLE", "VESSEL", "FAULT", "ACTION"),
    *("DATE", "TIME", "MONEY", "MEASURE", "IDENTIFIER"),
)
_MENTION = re.compile(r"\[\[([^\[\]|]+)\|([A-Z_]+)\]\]")


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A text with its entities. source: the file's name and the number of the line, counted from 1."""

    text: str
    spans: tuple[Span, ...]
    source: str


def read_texts(folder: Path = TEXTS) -> Iterator[MarkedText]:
    """The texts of all files, in the order of their names. Raises ValueError for a broken mark or an unknown type."""
    for path in sorted(folder.glob("*.txt")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip():
                yield _parsed(line.strip(), f"{path.name}:{number}")


def _parsed(line: str, source: str) -> MarkedText:
    text, spans, end = "", [], 0
    for mark in _MENTION.finditer(line):
        text += line[end : mark.start()]
        spans.append(Span(len(text), len(text) + len(mark[1]), mark[2]))
        text, end = text + mark[1], mark.end()
        if mark[2] not in TYPES:
            raise ValueError(f"{source}: a mention has one of the types of TYPES: got {mark[2]}")
    text += line[end:]
    if "[[" in text or "]]" in text:
        raise ValueError(f"{source}: a mention is written [[mention|TYPE]]: got {line}")
    return MarkedText(text, tuple(spans), source)

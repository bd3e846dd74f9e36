"""The sets that aggregations are judged on: texts with gold and with the votes of imperfect sources."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ner.labels import LabelSet
from ner.spans import Span, flat_spans
from scripts.bench.weak.functions import Example, made_of
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.source import Vote

DATA = Path(os.environ.get("LOOP_SHARED_DATA", "../shared/data"))
FIVE = {
    **dict.fromkeys(("Application", "Library", "Language"), "SOFTWARE"),
    "Operating_System": "OS",
    "Device": "HARDWARE",
    "Version": "VERSION",
    "Error_Name": "ERROR",
}
_CYNER = {
    "cve": ("Vulnerability", r"\bCVE-\d+-\d+\b"),
    "hash": ("Indicator", r"\b[0-9a-f]{32,64}\b"),
    "address": ("Indicator", r"\b(?:\w+\.)+(?:com|net|org|apk|exe|dll|info)\b"),
    "named-malware": ("Malware", r"\b(\w+) (?:malware|Trojan|trojan|ransomware|RAT)\b"),
    "platform": ("System", r"\b(?:Android|Windows|iOS|Linux|macOS|Google Play|Java|Chrome)\b"),
    "security": ("Organization", r"\b[A-Z]\w+ (?:Labs|Security|Inc|Networks|Research)\b"),
}
_WNUT = {
    "at-place": ("location", r"\b(?:at|in|to) (?:the )?([A-Z]\w+(?: [A-Z]\w+)*)"),
    "person-verb": ("person", r"\b([A-Z][a-z]+) (?:says|said|is|was|has|just)\b"),
    "street": ("location", r"\b[A-Z]\w+ (?:Street|St|Park|City|Beach|Stadium|Hall|Center|Ave)\b"),
    "team": ("group", r"\b(?:vs|beat|against) ([A-Z]\w+)"),
    "quoted": ("creative-work", r"[\"“] ([A-Z][^\"”]{2,40}) [\"”]"),
    "device": ("product", r"\b(?:i[A-Z]\w+|Xbox|PS\d|Galaxy \w+|Kindle)\b"),
    "big-web": ("corporation", r"\b(?:Facebook|Google|Twitter|Apple|Microsoft|YouTube)\b"),
}
_STACK = {
    "numbers": ("VERSION", r"\b[vV]?\d+(?:\.\d+)+\b"),
    "small-number": ("VERSION", r"\b[A-Z]\w+ (\d+)\b"),
    "systems": ("OS", r"\b(?:Windows|Linux|Ubuntu|Mac|OSX|iOS|Android|Unix)\b"),
    "exceptions": ("ERROR", r"\b\w*(?:Exception|Error)\b"),
    "devices": ("HARDWARE", r"\b(?i:cpu|gpu|phone|iphone|ipad|screen|keyboard|mouse|disk|server)\b"),
    "js": ("SOFTWARE", r"\b\w+(?:\.js|JS|SQL|DB)\b"),
}


@dataclass(frozen=True)
class BenchSet:
    """One judge. pool: gold is drawn from it. judged: never labelled. gold: of both, by key."""

    name: str
    labels: LabelSet
    pool: tuple[VotedText, ...]
    judged: tuple[VotedText, ...]
    gold: Mapping[object, tuple[Span, ...]]


def disease() -> BenchSet:
    """NCBI Disease with the votes of its authors' functions."""
    records = {split: list(_read("ncbi-disease-weak", split)) for split in ("train", "dev")}
    texts = {
        split: tuple(
            VotedText(record["id"], record["text"], tuple(Vote(_span(vote), vote["source"]) for vote in record["weak"]))
            for record in records[split]
        )
        for split in records
    }
    gold = {record["id"]: _gold(record, {}) for split in records.values() for record in split}
    return BenchSet("ncbi", LabelSet(("Disease",)), texts["train"], texts["dev"], gold)


def with_functions(
    name: str,
    folder: str,
    patterns: Mapping[str, tuple[str, str]],
    mapping: Mapping[str, str],
    most: int,
    without: Collection[str] = (),
) -> BenchSet:
    """The first half of train makes the functions, the second half is voted on. Dictionaries know names of both."""
    records = [(record, _gold(record, mapping)) for record in _read(folder, "train")]
    half = len(records) // 2
    examples = [Example(record["text"], spans) for record, spans in records]
    sources = made_of(examples[:half], examples, patterns)
    labels = LabelSet(tuple(sorted({span.label for example in examples for span in example.spans})))
    texts = [record for record, _ in records[half:]][:most]
    pool, judged = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    voted = {
        record["id"]: VotedText(
            record["id"],
            record["text"],
            tuple(
                Vote(span, source)
                for source, find in sources.items()
                if source not in without
                for span in flat_spans(record["text"], set(find(record["text"])))
            ),
        )
        for record in (*pool, *judged)
    }
    gold = {record["id"]: _gold(record, mapping) for record in (*pool, *judged)}
    return BenchSet(name, labels, tuple(voted[r["id"]] for r in pool), tuple(voted[r["id"]] for r in judged), gold)


_ROUGH = ("capitals", "heads")
SETS: Mapping[str, Callable[[], BenchSet]] = {
    "ncbi": disease,
    "cyner": lambda: with_functions("cyner", "cyner", _CYNER, {}, 2400),
    "cyner-kind": lambda: with_functions("cyner-kind", "cyner", _CYNER, {}, 2400, _ROUGH),
    "wnut17": lambda: with_functions("wnut17", "wnut17", _WNUT, {}, 2400),
    "wnut17-kind": lambda: with_functions("wnut17-kind", "wnut17", _WNUT, {}, 2400, _ROUGH),
    "stackoverflow5": lambda: with_functions("stackoverflow5", "stackoverflow-ner", _STACK, FIVE, 2400),
    "stackoverflow5-kind": lambda: with_functions(
        "stackoverflow5-kind", "stackoverflow-ner", _STACK, FIVE, 2400, _ROUGH
    ),
}


def _read(folder: str, split: str) -> Iterable[dict[str, object]]:
    with (DATA / folder / f"{split}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _span(record: Mapping[str, object]) -> Span:
    return Span(record["start"], record["end"], record["label"])


def _gold(record: Mapping[str, object], mapping: Mapping[str, str]) -> tuple[Span, ...]:
    spans = [_span(span) for span in record["spans"]]
    if mapping:
        spans = [Span(s.start, s.end, mapping[s.label]) for s in spans if s.label in mapping]
    return flat_spans(record["text"], spans)

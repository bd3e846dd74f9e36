"""Texts a second of a large gazetteer and 20 patterns, against spaCy: python -m scripts.bench.weak.throughput

Both sides get the same terms, patterns and texts, which a seeded generator makes, and run in the same way: forked
processes that get texts in batches and send spans back. This project: a gazetteer and patterns as weak.toml has them,
by the code of `loop weak apply`. spaCy: PhraseMatcher on the tokens of a blank English pipeline, in any case, and `re`
for the patterns. Each measurement is a process of its own; loading is told apart. `--fast` takes a hundredth of all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from ner.spans import Span
from weak_labeling.gazetteers import TermFinder, TermRules
from weak_labeling.sources.gazetteer import GazetteerSource
from weak_labeling.sources.pattern import PatternSource
from weak_labeling.workers import Workers, batches

SEED, TEXTS_AT_ONCE, LABEL = 13, 200, "A"
SYLLABLES = "ka lo mi ra ten sol ver dan pre qui mo sta ing er on al tu fen gor bel".split()  # noqa: SIM905 - shorter than a list
PATTERNS = (
    r"\b\d{4}-\d{2}-\d{2}\b",
    r"\bG\.O\. ?\d+\b",
    r"\b[\w-]{1,60}\.exe\b",
    r"\b(?:Acer|Apple|Cisco|Dell|Epson)(?: [A-Z][a-z]+)? [A-Z]*-?\d+\w*\b",
    r"(?<![\w./@-])v?\d+(?:\.\d+)+(?![\w/@-]|\.\d)",
    r"\b(?:version|build|release) (v?\d[\w.]*\w|\d)",
    r"\b0x[0-9a-f]{4,16}\b",
    r"\b(?:[A-Z]+_){2,}[A-Z]+\b",
    r"\bORA-\d{5}\b",
    r"\b[A-Z]\w+(?:Exception|Error)\b",
    r"\b(?:error|code|errno)[ :#]{1,2}\d{2,5}\b",
    r"\bIMO ?\d{7}\b",
    r"\b\d{4}\.\d{2}(?:\.\d{2})?\b",
    r"\b\d+(?:\.\d+)? ?(?:ft|kV|mm|inches)\b",
    r"\bKB\d{6,7}\b",
    r"\b[A-Z]{2,4}-\d{3,6}\b",
    r"\b\d{1,2}:\d{2}(?: ?[ap]m)?\b",
    r"\bGrade [A-D]\d?\b",
    r"\bSection \d+(?:\.\d+)*\b",
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
)
INSERTS = (  # noqa: SIM905 - shorter than a list
    "on 2024-05-06, G.O. 95, setup.exe, Dell Latitude 5520, v2.10.3, build 22621, 0x80070005, ERR_SSL_FAIL_CODE, "
    "ORA-12154, TypeError, error 503, IMO 9321483, 0303.14, 18 ft, KB5034441, AB-1234, 10:45 am, "
    "Grade B2, Section 4.2, 10.0.0.8"
).split(", ")
# Chances of a word of a text: a term of the gazetteer, and what a pattern finds.
TERM, INSERT = 0.04, 0.03

Find = Callable[[str], list[Span]]


def terms(number: int) -> list[str]:
    """Distinct terms of one to three words."""
    rng, words = random.Random(SEED), vocabulary()[20_000:]
    found: dict[str, None] = {}
    while len(found) < number:
        found[" ".join(rng.choices(words, k=rng.choice((1, 2, 2, 3)))).title()] = None
    return list(found)


def vocabulary() -> list[str]:
    """Words; texts are made of the first 20,000, terms of the others."""
    rng = random.Random(SEED + 1)
    found: dict[str, None] = {}
    while len(found) < 80_000:
        found["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4)))] = None
    return list(found)


def texts(number: int, names: list[str]) -> Iterator[tuple[int, str]]:
    """(id, text) of 10 to 30 words each, made one by one: no list of them is held."""
    rng, words = random.Random(SEED + 2), vocabulary()[:20_000]
    for key in range(number):
        made = []
        for _ in range(rng.randint(10, 30)):
            chance = rng.random()
            made.append(
                rng.choice(names) if chance < TERM else rng.choice(INSERTS if chance < TERM + INSERT else words)
            )
        yield key, f"{' '.join(made[:8])}, {' '.join(made[8:])}."


def this_project(names: list[str]) -> list[Any]:
    """The sources as weak.toml declares them."""
    finder = TermFinder(dict.fromkeys(names, LABEL), TermRules(case="smart"))
    finder.prepare()
    patterns = [PatternSource(f"pattern {n}", LABEL, pattern) for n, pattern in enumerate(PATTERNS)]
    for pattern in patterns:
        list(pattern(""))  # compiled before the fork
    return [GazetteerSource("terms", finder), *patterns]


def spacy_finder(names: list[str]) -> Find:
    """PhraseMatcher and `re`."""
    import spacy
    from spacy.matcher import PhraseMatcher

    pipeline = spacy.blank("en")
    matcher = PhraseMatcher(pipeline.vocab, attr="LOWER")
    matcher.add(LABEL, list(pipeline.tokenizer.pipe(names)))
    patterns = [re.compile(pattern) for pattern in PATTERNS]

    def find(text: str) -> list[Span]:
        document = pipeline.make_doc(text)
        spans = [Span(s.start_char, s.end_char, LABEL) for s in matcher(document, as_spans=True)]
        return spans + [Span(*match.span(), LABEL) for pattern in patterns for match in pattern.finditer(text)]

    return find


_find: Find


def _found_in(batch: list[tuple[int, str]]) -> list[list[Span]]:
    return [_find(text) for _, text in batch]


def measure(side: str, cores: int, number: int, entries: int) -> dict[str, float]:
    """Seconds for all texts and for loading, spans, and the peak memory (MB) of the parent and of a worker."""
    global _find
    names = terms(entries)
    begin = time.perf_counter()
    sources = this_project(names) if side == "this" else []
    if side != "this":
        _find = spacy_finder(names)
    loaded = time.perf_counter()
    spans = _ask_workers(sources, cores, number, names) if side == "this" else _ask_spacy(cores, number, names)
    seconds = time.perf_counter() - loaded
    parent, child = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"seconds": seconds, "loading": loaded - begin, "spans": spans, "parent": parent, "worker": child}


def _ask_workers(sources: list[Any], cores: int, number: int, names: list[str]) -> int:
    given = batches(texts(number, names), tuple(range(len(sources))), number=TEXTS_AT_ONCE)
    spans = 0
    with Workers(sources, [LABEL], number=cores, limit=2.0) as workers:
        for asked in workers.ask(given):
            spans += sum(len(found) for said in asked.answers.values() for found in said.answers)  # type: ignore[arg-type]
    return spans


def _ask_spacy(cores: int, number: int, names: list[str]) -> int:
    source = texts(number, names)
    given = iter(lambda: list(islice(source, TEXTS_AT_ONCE)), [])
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        spans = sum(len(found) for batch in pool.imap(_found_in, given) for found in batch)
        pool.close()
        pool.join()
    return spans


def main() -> None:
    """Measure both sides in turn, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--fast", action="store_true", help="a hundredth of the texts and entries")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "CORES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    number, entries = (n // 100 if arguments.fast else n for n in (arguments.texts, arguments.entries))
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], int(arguments.one[1]), number, entries)))
        return
    print("| cores | | texts/s | times spaCy | spans | loading s |\n| --- | --- | --- | --- | --- | --- |")
    for cores in (1, 2):
        rows = {side: _in_a_process(side, cores, number, entries) for side in ("this", "spaCy")}
        for side, row in rows.items():
            times = rows["spaCy"]["seconds"] / row["seconds"]
            rate = f"{number / row['seconds']:,.0f} | {times:.2f} | {row['spans']:,.0f} | {row['loading']:.1f}"
            print(f"| {cores} | {side} | {rate} |", flush=True)
    print("\n| texts | peak MB of the parent | peak MB of a worker |\n| --- | --- | --- |")
    for texts_read in (number // 10, number):
        row = _in_a_process("this", 2, texts_read, entries)
        print(f"| {texts_read:,} | {row['parent']:.0f} | {row['worker']:.0f} |", flush=True)


def _in_a_process(side: str, cores: int, number: int, entries: int) -> dict[str, float]:
    command = [sys.executable, "-m", "scripts.bench.weak.throughput", "--one", side, str(cores)]
    command += ["--texts", str(number), "--entries", str(entries)]
    answer: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


if __name__ == "__main__":
    main()

"""Texts a second of a large gazetteer and 20 patterns, against spaCy: python -m scripts.bench.weak.throughput

Both sides get the same terms, patterns and texts, which a seeded generator writes to files, and run in the same way:
forked processes that get texts in batches and send the offsets of spans back. This project: a gazetteer and patterns as
weak.toml has them, in any case, by the code of `loop weak apply`, without the store. spaCy (the extra `spacy`):
PhraseMatcher on the tokens of a blank English pipeline, in any case, of overlapping spans the longest
(`filter_spans`), and `re` for the patterns. Each measurement is a process of its own; the sides take turns, and the
side that begins changes with each round. Loading is told apart.

The words are made so that both sides cut them alike. Before anything is timed, both sides read every text, and the
script ends with exit code 1 where they say different spans of one. It ends so, too, where a timed run gives another
number of spans, unless a source failed on a text there, which is told with the reason: on a machine that is busy enough
a worker may stand still for longer than a source may take. --fast takes a hundredth of all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from weak_labeling.apply import answer_of
from weak_labeling.gazetteers import TermFinder, TermRules
from weak_labeling.source import Fault, TextSource
from weak_labeling.sources.gazetteer import GazetteerSource
from weak_labeling.sources.pattern import PatternSource
from weak_labeling.workers import Workers, batches

SEED, TEXTS_AT_ONCE = 13, 200
TERM_LABEL, CODE_LABEL = "TERM", "CODE"
TERMS, TEXTS = "terms.txt", "texts.txt"  # the files, one term or text a line
SIDES = ("this", "spaCy")
_HEAD = ("cores", "", "texts/s (rounds)", "times spaCy (rounds)", "CPU ms a text", "times spaCy", "spans", "loading s")
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

# (number of the source, start, end): the gazetteer is source 0, the patterns follow. Half-open code points.
Found = tuple[int, int, int]
Find = Callable[[str], list[Found]]


def write_files(folder: Path, number: int, entries: int) -> None:
    """The terms and the texts."""
    names = terms(entries)
    (folder / TERMS).write_text("".join(f"{name}\n" for name in names), "utf-8")
    with (folder / TEXTS).open("w", encoding="utf-8") as file:
        file.writelines(f"{text}\n" for text in texts(number, names))


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


def texts(number: int, names: list[str]) -> Iterator[str]:
    """Of 10 to 30 words each, made one by one: no list of them is held."""
    rng, words = random.Random(SEED + 2), vocabulary()[:20_000]
    for _ in range(number):
        made = []
        for _ in range(rng.randint(10, 30)):
            chance = rng.random()
            made.append(
                _cased(rng, names) if chance < TERM else rng.choice(INSERTS if chance < TERM + INSERT else words)
            )
        yield f"{' '.join(made[:8])}, {' '.join(made[8:])}."


def _cased(rng: random.Random, names: Sequence[str]) -> str:
    """A term as it is listed, or in small letters."""
    name = rng.choice(names)
    return name if rng.random() < 0.5 else name.lower()


def read_terms(folder: Path) -> list[str]:
    """All of them."""
    return (folder / TERMS).read_text("utf-8").splitlines()


def read_texts(folder: Path) -> Iterator[tuple[int, str]]:
    """(id, text), one after another."""
    with (folder / TEXTS).open(encoding="utf-8") as file:
        yield from enumerate(line.rstrip("\n") for line in file)


def this_project(names: Sequence[str]) -> list[TextSource]:
    """The sources as weak.toml declares them."""
    finder = TermFinder(dict.fromkeys(names, TERM_LABEL), TermRules(case="ignore"))
    finder.prepare()
    patterns = [PatternSource(f"pattern {n}", CODE_LABEL, pattern) for n, pattern in enumerate(PATTERNS)]
    for pattern in patterns:
        list(pattern(""))  # compiled before the fork
    return [GazetteerSource("terms", finder), *patterns]


def spacy_finder(names: Sequence[str]) -> Find:
    """PhraseMatcher and `re`."""
    import spacy
    from spacy.matcher import PhraseMatcher
    from spacy.util import filter_spans

    pipeline = spacy.blank("en")
    matcher = PhraseMatcher(pipeline.vocab, attr="LOWER")
    matcher.add(TERM_LABEL, list(pipeline.tokenizer.pipe(names)))
    patterns = [re.compile(pattern) for pattern in PATTERNS]

    def find(text: str) -> list[Found]:
        spans = filter_spans(matcher(pipeline.make_doc(text), as_spans=True))
        found = [(0, span.start_char, span.end_char) for span in spans]
        return found + [(n, *match.span()) for n, pattern in enumerate(patterns, 1) for match in pattern.finditer(text)]

    return find


def differing(folder: Path) -> tuple[int, int]:
    """(texts of which the two sides say different spans, spans that this project finds), of all texts."""
    names = read_terms(folder)
    sources, theirs = this_project(names), spacy_finder(names)
    different = spans = 0
    for _, text in read_texts(folder):
        ours = list(said(sources, text))
        spans += len(ours)
        different += sorted(ours) != sorted(theirs(text))
    return different, spans


def said(sources: Sequence[TextSource], text: str) -> Iterator[Found]:
    """What the sources of this project find. Exits where a source fails."""
    for number, source in enumerate(sources):
        answer = answer_of(source, text, (TERM_LABEL, CODE_LABEL))
        if isinstance(answer, Fault):
            raise SystemExit(f"{source.name} failed on {text!r}: {answer.reason}")
        yield from ((number, span.start, span.end) for span in answer)


_find: Find


def _found_in(batch: list[tuple[int, str]]) -> list[list[Found]]:
    return [_find(text) for _, text in batch]


def measure(side: str, cores: int, folder: Path) -> dict[str, Any]:
    """Seconds for all texts and for loading, and of all processes on a core; the number of spans; why answers are
    missing, for each that is.
    """
    global _find
    names = read_terms(folder)
    begin = time.perf_counter()
    sources = this_project(names) if side == "this" else []
    if side != "this":
        _find = spacy_finder(names)
    loaded, before = time.perf_counter(), _on_cores()
    spans, failed = _ask_workers(sources, cores, folder) if side == "this" else (_ask_spacy(cores, folder), [])
    seconds, cpu = time.perf_counter() - loaded, _on_cores() - before
    return {"seconds": seconds, "cpu": cpu, "loading": loaded - begin, "spans": spans, "failed": failed}


def _on_cores() -> float:
    """Seconds that this process and its children that have ended were on a core."""
    return sum(os.times()[:4])


def _ask_workers(sources: Sequence[TextSource], cores: int, folder: Path) -> tuple[int, list[str]]:
    given = batches(read_texts(folder), tuple(range(len(sources))), number=TEXTS_AT_ONCE)
    spans, failed = 0, []
    with Workers(sources, (TERM_LABEL, CODE_LABEL), number=cores, limit=2.0) as workers:
        for asked in workers.ask(given):
            answers = [answer for said in asked.answers.values() for answer in said.answers]
            spans += sum(len(answer) for answer in answers if not isinstance(answer, Fault))
            failed += [answer.reason for answer in answers if isinstance(answer, Fault)]
    return spans, failed


def _ask_spacy(cores: int, folder: Path) -> int:
    source = read_texts(folder)
    given = iter(lambda: list(islice(source, TEXTS_AT_ONCE)), [])
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        spans = sum(len(found) for batch in pool.imap(_found_in, given) for found in batch)
        pool.close()
        pool.join()
    return spans


def main() -> None:
    """Compare what both sides say, measure both in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, nargs="+", default=[2])
    parser.add_argument("--fast", action="store_true", help="a hundredth of the texts and entries")
    parser.add_argument("--one", nargs=3, metavar=("SIDE", "CORES", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        side, cores, folder = given.one
        print(json.dumps(differing(Path(folder)) if side == "both" else measure(side, int(cores), Path(folder))))
        return
    number, entries = (n // 100 if given.fast else n for n in (given.texts, given.entries))
    with tempfile.TemporaryDirectory() as name:
        write_files(Path(name), number, entries)
        different, spans = in_a_process("both", 1, Path(name))
        print(f"{number:,} texts, {entries:,} terms: {spans:,} spans; the two sides differ on {different:,} texts.\n")
        if different:
            sys.exit(1)
        print(f"| {' | '.join(_HEAD)} |")
        print("| --- " * 8 + "|")
        for cores in given.cores:
            print_rows(cores, number, spans, [one_round(turn, cores, Path(name)) for turn in range(given.rounds)])


def one_round(turn: int, cores: int, folder: Path) -> dict[str, Any]:
    """Both sides, one after the other."""
    return {side: in_a_process(side, cores, folder) for side in (SIDES if turn % 2 else SIDES[::-1])}


def print_rows(cores: int, number: int, spans: int, rounds: Sequence[dict[str, Any]]) -> None:
    """A row for each side, and what sources failed on. Exits with 1 where spans are missing without a failure."""
    for side in SIDES:
        rates = [number / one[side]["seconds"] for one in rounds]
        times = [one["spaCy"]["seconds"] / one[side]["seconds"] for one in rounds]
        found = sorted({one[side]["spans"] for one in rounds})
        loading = median(one[side]["loading"] for one in rounds)
        cpu = median(1000 * one[side]["cpu"] / number for one in rounds)
        less = median(one["spaCy"]["cpu"] / one[side]["cpu"] for one in rounds)
        cells = (_spread(rates, ",.0f"), _spread(times, ".2f"), f"{cpu:.2f}", f"{less:.2f}")
        cells += (", ".join(f"{n:,}" for n in found), f"{loading:.1f}")
        print(f"| {cores} | {side} | " + " | ".join(cells) + " |", flush=True)
    for side, one in ((side, one[side]) for one in rounds for side in SIDES):
        for reason in one["failed"]:
            print(f"\n{side}: a source failed on a text, {reason}")
        if one["spans"] != spans and not one["failed"]:
            sys.exit("a timed run has another number of spans than the comparison")


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({', '.join(f'{value:{form}}' for value in values)})"


def in_a_process(side: str, cores: int, folder: Path) -> Any:
    """What a process of its own says."""
    command = [sys.executable, "-m", "scripts.bench.weak.throughput", "--one", side, str(cores), str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    main()

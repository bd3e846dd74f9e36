"""Time `loop import` on a big file of each format, beside Hugging Face's `datasets` loading the same file.

    .venv/bin/python scripts/bench_import.py [FORMAT ...] [--documents 100000]

Each document has 25 words and three entities. Each import goes into a new project, in a process of its own, whose time
and peak memory (RSS) are measured from outside. A file of a tenth of the documents is imported, too: memory that grows
with the file shows in the difference. `datasets` loads the file into its cache with its own builder for that kind of
file, where it has one; it reads tables and does not check, convert or store entities. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.files.writing.conll import write_conll
from loop.files.writing.texts import StoredText, TaggedText
from ner.spans import Span

LABELS = ("PER", "ORG", "LOC")
_WORDS = ("the", "a", "of", "printer", "network", "crashed", "after", "update", "with", "screen", "cable", "slow")
_NAMES = ("Arlen", "Boro", "Cadmus", "Delphi", "Ester", "Falk", "Graz", "Holm", "Ister", "Jarl", "Koro", "Lyon")


@dataclass(frozen=True)
class Written:
    """A file of one format. `builder`: the name that `datasets` has for its kind, or None."""

    name: str
    write: Callable[[Path, list[StoredText]], Path]
    builder: str | None = None
    split: str = "train"


def documents(number: int, seed: int = 13) -> Iterator[StoredText]:
    """Texts of 25 words, of which three are entities."""
    draw = random.Random(seed)
    for index in range(number):
        words = draw.choices(_WORDS, k=25)
        places = sorted(draw.sample(range(25), 3))
        for place in places:
            words[place] = draw.choice(_NAMES)
        starts = [sum(len(word) + 1 for word in words[:place]) for place in places]
        spans = tuple(
            Span(start, start + len(words[place]), draw.choice(LABELS))
            for start, place in zip(starts, places, strict=True)
        )
        yield StoredText(f"d{index}", " ".join(words), spans, "train", None, {})


def _lines(path: Path, rows: Iterator[Any]) -> Path:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def _array(path: Path, rows: Iterator[Any]) -> Path:
    with path.open("w", encoding="utf-8") as out:
        out.write("[")
        out.writelines((",\n" if number else "") + json.dumps(row) for number, row in enumerate(rows))
        out.write("]")
    return path


def _spans(text: StoredText) -> list[dict[str, Any]]:
    return [{"start": span.start, "end": span.end, "label": span.label} for span in text.spans or ()]


def _ours(text: StoredText) -> dict[str, Any]:
    return {"id": text.external_id, "text": text.text, "spans": _spans(text)}


def _triples(text: StoredText) -> list[list[Any]]:
    return [[span.start, span.end, span.label] for span in text.spans or ()]


def _regions(text: StoredText) -> list[dict[str, Any]]:
    return [
        {"start": span.start, "end": span.end, "text": text.text[span.start : span.end], "labels": [span.label]}
        for span in text.spans or ()
    ]


def _task(number: int, text: StoredText) -> dict[str, Any]:
    result = [
        {"id": f"r{i}", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
        for i, value in enumerate(_regions(text))
    ]
    annotation = {"id": number + 1, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False}
    return {"id": number + 1, "data": {"text": text.text}, "annotations": [annotation]}


def _tokens(text: StoredText) -> dict[str, Any]:
    tagged = TaggedText.of(text)
    return {"id": text.external_id, "tokens": tagged.words, "ner_tags": list(tagged.tags)}


def _table(path: Path, texts: list[StoredText]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(("id", "text", "spans"))
        rows.writerows((text.external_id, text.text, json.dumps(_spans(text))) for text in texts)
    return path


def _parquet(path: Path, texts: list[StoredText]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([_ours(text) for text in texts]), path)
    return path


def _conll(path: Path, texts: list[StoredText]) -> Path:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(write_conll((TaggedText.of(text) for text in texts), plain=True))
    return path


def _packed(path: Path, texts: list[StoredText]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(_ours(text)) + "\n" for text in texts)
    return path


def _plain(path: Path, texts: list[StoredText]) -> Path:
    path.write_text("".join(text.text + "\n" for text in texts), "utf-8")
    return path


FORMATS = (
    Written("our JSON Lines", lambda at, texts: _lines(at / "a.jsonl", map(_ours, texts)), "json"),
    Written("the same, gz", lambda at, texts: _packed(at / "a.jsonl.gz", texts), "json"),
    Written("the same, array", lambda at, texts: _array(at / "a.json", map(_ours, texts)), "json"),
    Written(
        "Label Studio JSON",
        lambda at, texts: _array(at / "ls.json", (_task(n, text) for n, text in enumerate(texts))),
        "json",
    ),
    Written(
        "JSON-MIN",
        lambda at, texts: _array(
            at / "min.json",
            (
                {"id": n + 1, "text": text.text, "label": _regions(text), "annotator": 1, "annotation_id": n + 1}
                for n, text in enumerate(texts)
            ),
        ),
        "json",
    ),
    Written(
        "doccano",
        lambda at, texts: _lines(
            at / "doccano.jsonl", ({"id": n, "text": t.text, "label": _triples(t)} for n, t in enumerate(texts))
        ),
        "json",
    ),
    Written(
        "Prodigy",
        lambda at, texts: _lines(
            at / "prodigy.jsonl",
            ({"text": t.text, "spans": _spans(t), "answer": "accept", "_task_hash": n} for n, t in enumerate(texts)),
        ),
        "json",
    ),
    Written(
        "spaCy tuples",
        lambda at, texts: _array(at / "spacy.json", ([t.text, {"entities": _triples(t)}] for t in texts)),
    ),
    Written("tokens, ner_tags", lambda at, texts: _lines(at / "hf.jsonl", map(_tokens, texts)), "json"),
    Written("Parquet", lambda at, texts: _parquet(at / "a.parquet", texts), "parquet"),
    Written("CSV", lambda at, texts: _table(at / "a.csv", texts), "csv"),
    Written("CoNLL", lambda at, texts: _conll(at / "a.conll", texts)),
    Written("plain text", lambda at, texts: _plain(at / "a.txt", texts), "text", "pool"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=[one.name for one in FORMATS])
    parser.add_argument("--documents", type=int, default=100_000)
    options = parser.parse_args()
    texts = list(documents(options.documents))
    small = texts[: options.documents // 10]
    print(f"| format | MB | import: s | MiB | of a tenth: MiB | `datasets`: s | MiB |\n| {'--- | ' * 7}", flush=True)
    for one in FORMATS:
        if one.name in options.formats:
            print(f"| {one.name} | {measured(one, texts, small)} |", flush=True)


def measured(one: Written, texts: list[StoredText], small: list[StoredText]) -> str:
    """The cells of a row."""
    with tempfile.TemporaryDirectory(prefix="bench-import-") as name:
        folder = Path(name)
        (folder / "small").mkdir()
        path, tenth = one.write(folder, texts), one.write(folder / "small", small)
        seconds, memory = _import(path, folder / "project", one.split)
        _, memory_of_tenth = _import(tenth, folder / "small" / "project", one.split)
        theirs = _loaded(path, one.builder, folder / "cache") if one.builder else ("-", "-")
        size = path.stat().st_size / 1e6
    return " | ".join((f"{size:.0f}", f"{seconds:.1f}", f"{memory:.0f}", f"{memory_of_tenth:.0f}", *theirs))


def _import(path: Path, project: Path, split: str) -> tuple[float, float]:
    loop = [sys.executable, "-m", "loop.cli"]
    subprocess.run([*loop, "init", str(project), "--labels", ",".join(LABELS)], check=True, capture_output=True)
    command = [*loop, "-C", str(project), "import", str(path), "--split", split, "--json"]
    seconds, memory, said = _run(command)
    (done,) = json.loads(said)["files"]
    if done["audit"]["in_doubt"] or done["set_aside"]:
        raise SystemExit(f"{path.name} was not understood: {done['set_aside']}")
    return seconds, memory


def _loaded(path: Path, builder: str, cache: Path) -> tuple[str, str]:
    code = (
        "import sys, datasets; datasets.disable_progress_bars();"
        "datasets.load_dataset(sys.argv[1], data_files=sys.argv[2], cache_dir=sys.argv[3])"
    )
    try:
        seconds, memory, _ = _run([sys.executable, "-c", code, builder, str(path), str(cache)])
    except subprocess.CalledProcessError:
        return "fails", "-"
    return f"{seconds:.1f}", f"{memory:.0f}"


def _run(command: list[str]) -> tuple[float, float, str]:
    """(seconds, peak RSS in MiB, standard output) of a command, in a child that measures its own child."""
    wrapper = (
        "import resource, subprocess, sys, time; began = time.perf_counter();"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024;"
        "print(time.perf_counter() - began, used); sys.stdout.write(done.stdout); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", wrapper, *command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
    )
    figures, _, said = done.stdout.partition("\n")
    seconds, memory = map(float, figures.split())
    return seconds, memory, said


if __name__ == "__main__":
    main()

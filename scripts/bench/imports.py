"""Time `loop import` on a big file of each format, beside Hugging Face's `datasets` loading the same file.

    .venv/bin/python -m scripts.bench.imports [FORMAT ...] [--documents 100000]

Each document has 25 words and three entities. Each import goes into a new project, in a process of its own, whose time
and peak memory (RSS) are measured from outside. A file of a tenth of the documents is imported, too: memory that grows
with the file shows in the difference. `datasets` loads the file into its cache with its own builder for that kind of
file, where it has one; it reads tables and does not check, convert or store entities. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from loop.files.writing.texts import StoredText
from ner.spans import Span
from scripts.files.sample_files import FORMATS, LABELS, SampleFormat

_WORDS = ("the", "a", "of", "printer", "network", "crashed", "after", "update", "with", "screen", "cable", "slow")
_NAMES = ("Arlen", "Boro", "Cadmus", "Delphi", "Ester", "Falk", "Graz", "Holm", "Ister", "Jarl", "Koro", "Lyon")


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


def measured(one: SampleFormat, texts: list[StoredText], small: list[StoredText]) -> str:
    """The cells of a row."""
    with tempfile.TemporaryDirectory(prefix="bench-import-") as name:
        folder = Path(name)
        (folder / "small").mkdir()
        path, tenth = one.save(folder, texts), one.save(folder / "small", small)
        seconds, memory = _import(path, folder / "project", one)
        _, memory_of_tenth = _import(tenth, folder / "small" / "project", one)
        theirs = _loaded(path, one.builder, folder / "cache") if one.builder else ("-", "-")
        files = path.rglob("*") if path.is_dir() else (path,)
        size = sum(file.stat().st_size for file in files) / 1e6
    return " | ".join((f"{size:.0f}", f"{seconds:.1f}", f"{memory:.0f}", f"{memory_of_tenth:.0f}", *theirs))


def _import(path: Path, project: Path, one: SampleFormat) -> tuple[float, float]:
    loop = [sys.executable, "-m", "loop.cli"]
    subprocess.run([*loop, "init", str(project), "--labels", ",".join(LABELS)], check=True, capture_output=True)
    command = [*loop, "-C", str(project), "import", str(path), "--split", one.split, "--json"]
    command += ["--label-names", ",".join(one.hints.labels)] if one.hints.labels else []
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
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    figures, _, said = done.stdout.partition("\n")
    seconds, memory = map(float, figures.split())
    return seconds, memory, said


if __name__ == "__main__":
    main()

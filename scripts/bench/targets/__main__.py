"""Spans that exported models name otherwise on StackOverflow-5: python -m scripts.bench.targets HOME [--folder F]

HOME is a project with a model in service, as `scripts.bench.stackoverflow --keep HOME` leaves one. Every target is
exported into FOLDER, and then loaded in an environment that has its own packages and not this project. The environments
are made there once, by pip (2.5 GB). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.version import Version

from loop.targets.proof import compare
from loop.training.encoder import MINILM, find_source
from ner.spans import Span
from scripts.bench.stackoverflow import DATA, LABEL_MAP
from scripts.bench.targets import triton_server

ASKERS = Path(__file__).parent
# Packages that this project has are installed in its versions; of torch, a newer build would bring those of GPUs.
ENVIRONMENTS = {
    "peft": ("torch", "transformers", "peft", "tokenizers"),
    "onnx": ("onnxruntime", "tokenizers", "numpy"),
    "openvino": ("openvino", "tokenizers", "numpy"),
    "triton": ("nvidia-pytriton", "onnxruntime", "tokenizers"),
}
ABSENT = "import importlib.util as u, sys; sys.exit(any(u.find_spec(name) for name in ('loop', 'ner', 'store')))"
Spans = list[tuple[Span, ...]]


@dataclass(frozen=True)
class Way:
    """A way to load an exported folder: what is shown of it, and its spans of each text."""

    target: str
    loaded_by: str
    find: Callable[[], Spans]


def main() -> None:
    """Read the arguments, export, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "bench_targets")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--texts", type=int, help="only the first so many texts")
    arguments = parser.parse_args()
    records = [json.loads(line) for line in (arguments.data / "dev.jsonl").read_text("utf-8").splitlines() if line]
    records = records[: arguments.texts]
    texts = [str(record["text"]) for record in records]
    gold = [tuple(gold_of(record)) for record in records]
    bench = Bench(arguments.home, arguments.folder, texts)
    served = bench.served()
    print(f"{len(texts):,} texts of dev, {sum(map(len, gold)):,} gold entities\n")
    print("| target | loaded by | spans that differ | of both together | share | F1 on dev |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(f"| (`loop predict`) | this project | 0 | {2 * sum(map(len, served)):,} | 0.0% | {f1(gold, served):.3f} |")
    for way in bench.ways():
        found = way.find()
        row = compare("", served, found)
        cells = (way.target, way.loaded_by, f"{row.differing:,}", f"{row.spans:,}", f"{row.share:.1%}")
        print(f"| {' | '.join(cells)} | {f1(gold, found):.3f} |", flush=True)


class Bench:
    """Exports a project's model, and asks each folder about the texts."""

    def __init__(self, home: Path, folder: Path, texts: Sequence[str]) -> None:
        self._home, self._folder, self._texts = home, folder, texts
        self._lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)

    def served(self) -> Spans:
        """What `loop predict` says."""
        return read(run([sys.executable, "-m", "loop.cli", "-C", str(self._home), "predict", "-"], self._lines))

    def ways(self) -> Iterator[Way]:
        """Every folder, loaded in every way; each export and environment is made when it is needed."""
        folder = self.export("transformers")
        for strategy in ("simple", "max"):
            words = ("ask_pipeline.py", str(folder), strategy)
            yield Way("transformers", f'pipeline, "{strategy}"', lambda words=words: self.ask("peft", *words))
        yield Way("transformers", "its example.py", lambda: self.example("peft", folder))
        onnx = self.export("onnx")
        yield Way("adapter", "its load.py, peft", lambda: self.adapter(onnx))
        yield Way("onnx", "its example.py", lambda: self.example("onnx", onnx))
        yield Way("openvino", "its example.py", lambda: self.example("openvino", self.export("openvino")))
        for precision in ("fp32", "int8"):
            name = f"Triton, ensemble, {precision}"
            yield Way("triton", name, lambda precision=precision: self.triton(precision))

    def export(self, target: str, *options: str) -> Path:
        """The exported folder, made anew."""
        out = self._folder / "-".join([target, *options]).replace("--", "")
        run(["rm", "-rf", str(out)])
        self._folder.mkdir(parents=True, exist_ok=True)
        words = ["export-model", str(out), "--target", target, *options, "--allow-differences", "--json"]
        run([sys.executable, "-m", "loop.cli", "-C", str(self._home), *words])
        return out

    def ask(self, environment: str, program: str, *words: str) -> Spans:
        """What a program of scripts/bench/targets/ answers in an environment."""
        return read(run([str(self.python(environment)), str(ASKERS / program), *words], self._lines))

    def example(self, environment: str, folder: Path) -> Spans:
        """What the folder's own example answers."""
        return read(run([str(self.python(environment)), str(folder / "example.py")], self._lines))

    def adapter(self, decoder: Path) -> Spans:
        """The adapter on its base."""
        return self.ask("peft", "ask_adapter.py", str(self.export("adapter")), find_source(MINILM), str(decoder))

    def triton(self, precision: str) -> Spans:
        """The ensemble on a real server."""
        repository = self.export("triton", "--ensemble", "--precision", precision)
        [ensemble] = [path.name for path in repository.glob("*_text")]
        environment = self.python("triton").parents[1]
        with (
            tempfile.TemporaryDirectory() as scratch,
            triton_server.serving(repository, environment, Path(scratch)) as address,
        ):
            answers = triton_server.ask(address, ensemble, self._texts)
        return [tuple(Span(**span) for span in json.loads(answer)) for answer in answers]

    def python(self, name: str) -> Path:
        """The interpreter of an environment, made with its packages where it is not there; it lacks this project."""
        folder = self._folder / "environments" / name
        python = folder / "bin" / "python"
        if not (folder / "made").exists():
            run([sys.executable, "-m", "venv", "--clear", str(folder)])
            run([str(python), "-m", "pip", "install", "--quiet", *map(pinned, ENVIRONMENTS[name])])
            (folder / "made").touch()
        run([str(python), "-I", "-c", ABSENT])
        return python


def pinned(package: str) -> str:
    """The package in the version that is installed here, without a local suffix; as it comes where there is none."""
    try:
        return f"{package}=={Version(metadata.version(package)).public}"
    except metadata.PackageNotFoundError:
        return package


def run(words: Sequence[str], given: str | None = None) -> str:
    """Standard output; ends this script where the command fails. The working directory holds no modules."""
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(words, input=given, capture_output=True, text=True, check=False, cwd=elsewhere)
    if done.returncode:
        sys.exit(f"{' '.join(words[:4])} ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-2000:]}")
    return done.stdout


def read(lines: str) -> Spans:
    """Answers as spans without scores."""
    answers = [json.loads(line)["spans"] for line in lines.splitlines()]
    return [tuple(Span(one["start"], one["end"], one["label"]) for one in spans) for spans in answers]


def gold_of(record: dict[str, object]) -> Iterator[Span]:
    """The spans of the five types."""
    spans = record["spans"]
    assert isinstance(spans, list)
    for one in spans:
        if one["label"] in LABEL_MAP:
            yield Span(one["start"], one["end"], LABEL_MAP[one["label"]])


def f1(gold: Spans, found: Spans) -> float:
    """Strict micro-F1: 1 minus the share of spans that only one side names."""
    return 1 - compare("", gold, found).share


if __name__ == "__main__":
    main()

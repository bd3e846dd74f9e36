"""A small trained project and everything that it exports; and `loop` in this process, without fixtures of a test."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.cli.app import run
from loop.settings.toml_text import with_values
from loop.targets.export import TARGETS
from ner.spans import Span
from tests.loop.tiny import LABELS, corpus, encoder, train_settings

FIRST_HELD_OUT, LAST = 80, 120
LONG = " and then ".join(text for text, _ in corpus(12))


@dataclass(frozen=True)
class Trained:
    """A project with a model in service, its encoder, and the folder with every target."""

    desk: Path
    encoder: Path
    out: Path
    answer: Mapping[str, Any]

    def predicted(self, texts: list[str]) -> list[list[dict[str, object]]]:
        """What `loop predict` says of the texts, without scores."""
        file = self.desk / "asked.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        code, said, _ = loop(self.desk, "predict", str(file))
        assert code == 0
        answers = [json.loads(line)["spans"] for line in said.splitlines()]
        return [[{name: span[name] for name in ("start", "end", "label")} for span in spans] for spans in answers]

    def comparisons(self, target: str) -> list[Mapping[str, Any]]:
        """How a target was proven: the total, then its parts."""
        found = [one for one in self.answer["targets"] if one["target"] == target]
        return list(found[0]["comparisons"])


def loop(home: Path, *words: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of `loop -C HOME WORDS...`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["-C", str(home), *words])
    return code, out.getvalue(), err.getvalue()


def train(folder: Path) -> Trained:
    """Train, promote, and export every target in one command."""
    desk, base, out = folder / "desk", encoder(folder / "encoder"), folder / "exported"
    _done(desk, "init", str(desk), "--labels", ",".join(LABELS), "--name", "desk")
    config = desk / "loop.toml"
    values: dict[str, Any] = {f"train.{name}": value for name, value in train_settings(base).model_dump().items()}
    values |= {"promotion.reference": False, "promotion.robustness": 0, "promotion.timed": 0}
    config.write_text(with_values(config.read_text("utf-8"), values), "utf-8")
    labelled = [_record(number, *one) for number, one in enumerate(corpus(LAST))]
    _done(desk, "import", _write(folder / "long.jsonl", [{"id": "long", "text": LONG}]), "--split", "pool")
    _done(desk, "import", _write(folder / "train.jsonl", labelled[:FIRST_HELD_OUT]), "--split", "train")
    _done(desk, "import", _write(folder / "held.jsonl", labelled[FIRST_HELD_OUT:]), "--split", "holdout")
    _done(desk, "retrain")
    _done(desk, "promote")
    targets = [word for name in TARGETS for word in ("--target", name)]
    words = (str(out), *targets, "--ensemble", "--licence", "apache-2.0", "--language", "en", "--json")
    return Trained(desk, base, out, json.loads(_done(desk, "export-model", *words)))


def _done(desk: Path, *words: str) -> str:
    code, out, err = loop(desk, *words)
    assert code == 0, (words, out, err)
    return out


def _record(number: int, text: str, spans: tuple[Span, ...]) -> dict[str, object]:
    found = [{"start": span.start, "end": span.end, "label": span.label} for span in spans]
    return {"id": f"r{number}", "text": text, "spans": found}


def _write(path: Path, records: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return str(path)

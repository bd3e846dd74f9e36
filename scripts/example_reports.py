"""Reports of a promotion, a rejection, a spent holdout and a rollback, from real trainings on StackOverflow-5.

    .venv/bin/python scripts/example_reports.py --home HOME [--out docs/reports]

The script uses the command line alone. It trains a first model on 500 texts, a second model on 2,500 texts, and a third
model on the same 2,500 texts with another seed. The holdout is the first posts of dev.jsonl. With `promotion.looks = 3`
the third model spends the holdout, so that a fourth model finds it spent. The last step takes the second model back.
The corpus belongs to others: the reports are written with `promotion.texts = false`, so that they quote no text. The
texts that the next holdout is drawn from are imported without labels.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench_stackoverflow import DATA, LABELS, configure

FIRST, SECOND, HELD_OUT_POSTS = 500, 2500, 110
_PROMOTION = ("looks = 3", "texts = false", "wanted = 0.02")
_STEPS = ("promotion", "rejection", "spent-holdout", "rollback")


def main() -> None:
    """Read the arguments, run every step, copy the reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="where the project is made; must not exist")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "reports")
    arguments = parser.parse_args()
    prepare(arguments.home, arguments.data)
    for name, report in zip(_STEPS, run(arguments.home), strict=True):
        target = arguments.out / name
        target.mkdir(parents=True, exist_ok=True)
        for file in report.values():
            shutil.copy(file, target / Path(file).name)
        print(f"{name}: {target}")


def prepare(home: Path, data: Path) -> None:
    """The project, its holdout, and texts that nobody has labelled."""
    loop(None, "init", str(home), "--labels", ",".join(LABELS))
    configure(home, DATA, [])
    settings = home / "loop.toml"
    lines = settings.read_text("utf-8").splitlines()
    at = lines.index("[promotion]") + 1
    settings.write_text("\n".join([*lines[:at], *_PROMOTION, *lines[at:]]) + "\n", "utf-8")
    records = [json.loads(line) for line in (data / "train.jsonl").open(encoding="utf-8")]
    for name, some in (("first", records[:FIRST]), ("second", records[FIRST:SECOND])):
        write(home / f"{name}.jsonl", some)
    write(home / "pool.jsonl", [{key: one[key] for key in ("id", "text", "doc")} for one in records[SECOND:]])
    judging = [json.loads(line) for line in (data / "dev.jsonl").open(encoding="utf-8")]
    posts = list(dict.fromkeys(one["doc"] for one in judging))[:HELD_OUT_POSTS]
    write(home / "holdout.jsonl", [one for one in judging if one["doc"] in posts])
    loop(home, "import", str(home / "holdout.jsonl"), "--split", "holdout")
    loop(home, "import", str(home / "pool.jsonl"), "--split", "pool")


def run(home: Path) -> list[dict[str, str]]:
    """The files of the four reports."""
    loop(home, "import", str(home / "first.jsonl"), "--split", "train")
    loop(home, "retrain")
    loop(home, "promote")
    loop(home, "import", str(home / "second.jsonl"), "--split", "train")
    loop(home, "retrain")
    promotion = loop(home, "promote")
    set_seed(home, 14)
    loop(home, "retrain", "--from-scratch")
    rejection = loop(home, "promote", good=(8,))
    loop(home, "retrain")
    spent = loop(home, "promote", good=(8,))
    back = loop(home, "rollback", "--reason", "the second model was promoted to show how it is taken back")
    return [answer["report"] for answer in (promotion, rejection, spent, back)]


def set_seed(home: Path, seed: int) -> None:
    """Another seed for the next training."""
    settings = home / "loop.toml"
    settings.write_text(settings.read_text("utf-8").replace("# seed = 13", f"seed = {seed}", 1), "utf-8")


def write(path: Path, records: list[dict[str, Any]]) -> None:
    """Records as JSON Lines."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")


def loop(home: Path | None, *words: str, good: tuple[int, ...] = (0,)) -> Any:
    """The JSON answer of a command; ends this script where its exit code is another."""
    where = () if home is None else ("-C", str(home))
    command = [sys.executable, "-m", "loop.cli", *where, *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in good:
        sys.exit(f"loop {words[0]} ended with {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()

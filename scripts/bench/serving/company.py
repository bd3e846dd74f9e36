"""Whether a text's answer depends on what it is read beside: python -m scripts.bench.serving.company MODEL

MODEL is a folder of transformers, as for `bulk`. 3,000 distinct sentences of StackOverflow (dev, then train) are read
one by one; then in batches of 32 strangers, all together, by a tagger of two threads, and by a running backend that 16
clients ask at once, each for 1 to 100 texts a request. Spans, scores and confidences are compared bit by bit. Prints a
Markdown table; ends with 1 where any text differs.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

from ml_backend.models.live_model import load_tagger
from ner.models.bundle import load_bundle
from ner.tagger import Tagger, Tagging
from scripts.bench.serving.predict import ROOT, Server, request, serving
from scripts.bench.serving.prepare_backend import TYPES

TEXTS, STRANGERS, CLIENTS = 3000, 32, 16
_SIZES = (1, 1, 2, 5, 20, 100)

Answer = tuple[object, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("LOOP_SHARED_DATA", ROOT.parent / "shared/data"))
    )
    options = parser.parse_args()
    texts = read_texts(options.data / "stackoverflow-ner")
    with tempfile.TemporaryDirectory(prefix="bench-company-") as scratch:
        return check(texts, Path(scratch), options.model)


def read_texts(folder: Path) -> list[str]:
    """Distinct sentences that are not blank."""
    found: dict[str, None] = {}
    for split in ("dev", "train"):
        with (folder / f"{split}.jsonl").open(encoding="utf-8") as lines:
            found |= dict.fromkeys(json.loads(line)["text"] for line in lines)
    return [text for text in found if text.strip()][:TEXTS]


def check(texts: Sequence[str], scratch: Path, model: Path) -> int:
    """Read the texts in every company and print how many have another answer than alone."""
    asked = SimpleNamespace(model=model, workers=1, threads=CLIENTS, batch_size=1, wsgi=None)
    with serving("this", scratch, texts, asked) as server:
        by_server = from_server(server, texts)
    (folder,) = (manifest.parent for manifest in scratch.rglob("manifest.json"))
    bundle = load_bundle(folder)
    tagger = Tagger(bundle)
    alone = [answer(tagger.tag(text)) for text in texts]
    places = random.Random(1).sample(range(len(texts)), len(texts))
    groups = [places[at : at + STRANGERS] for at in range(0, len(places), STRANGERS)]
    found = {
        f"in batches of {STRANGERS} strangers": by_place(
            zip(groups, (tagger.tag_many([texts[place] for place in group]) for group in groups), strict=True)
        ),
        "all in one call": list(map(answer, tagger.tag_many(texts))),
    }
    with closing(load_tagger(folder, bundle.manifest.version, TYPES, 2)) as wide:
        found["all in one call, two threads"] = list(map(answer, wide.tag_many(texts)))
        found["alone, two threads"] = [answer(wide.tag(text)) for text in texts]
    found[f"from a backend with {CLIENTS} clients"] = by_server
    print(f"{len(texts):,} texts, {sum(len(one) for one, _ in alone):,} spans alone\n")
    print("| company | texts with another answer than alone |\n| --- | --- |")
    differing = {
        name: sum(one != other for one, other in zip(alone, some, strict=True)) for name, some in found.items()
    }
    for name, number in differing.items():
        print(f"| {name} | {number:,} |")
    return int(any(differing.values()))


def answer(tagging: Tagging) -> tuple[Answer, float]:
    """All that is told of a text."""
    return tuple((span.start, span.end, span.label, span.score) for span in tagging.spans), tagging.confidence


def by_place(groups: Iterable[tuple[Sequence[int], Sequence[Tagging]]]) -> list[tuple[Answer, float]]:
    """The answers in the order of the texts."""
    placed = {place: answer(one) for places, several in groups for place, one in zip(places, several, strict=True)}
    return [placed[place] for place in sorted(placed)]


def from_server(server: Server, texts: Sequence[str]) -> list[tuple[Answer, float]]:
    """What the backend answers, in the order of the texts."""
    placed: dict[int, tuple[Answer, float]] = {}

    def ask(group: Sequence[int]) -> None:
        connection = http.client.HTTPConnection(server.address, timeout=600)
        body = json.dumps(request([(place + 1, texts[place]) for place in group]))
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        results = json.loads(connection.getresponse().read())["results"]
        connection.close()
        placed.update({place: told(one) for place, one in zip(group, results, strict=True)})

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, requests(len(texts))))
    return [placed[place] for place in range(len(texts))]


def requests(number: int) -> Iterator[list[int]]:
    """The places of the texts, shuffled, in requests of several sizes."""
    drawn = random.Random(2)
    places = drawn.sample(range(number), number)
    while places:
        size = drawn.choice(_SIZES)
        yield places[:size]
        places = places[size:]


def told(result: dict[str, object]) -> tuple[Answer, float]:
    """A task's prediction in the shape of `answer`."""
    regions: list[dict[str, dict[str, list[str]]]] = result["result"]  # type: ignore[assignment]
    values = [(one["value"], one["score"]) for one in regions]
    spans = tuple((value["start"], value["end"], value["labels"][0], score) for value, score in values)
    return spans, float(result["score"])  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())

"""The process in which a model is judged: it loads the bundle from the disk as the backend does, and tags texts.

    python -m loop.judging.served_process < request.json > answer.json

Nothing of training is imported, so that its memory is that of serving. What it says is taken by `loop.judging.ask`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from ner.bundle import MODEL, Bundle, load_bundle
from ner.errors import BundleError
from ner.network import Network
from ner.spans import Span
from ner.tagger import Tagger

_CALL = 8  # texts of one call, where texts a second are counted
_MB = 1e6


def main() -> None:
    """One request on standard input, one answer on standard output; a refused bundle is an answer, too."""
    request = json.load(sys.stdin)
    try:
        answer = judge(request)
    except BundleError as error:
        answer = {"refused": {"rule": error.rule, "value": str(error.value), "next_step": error.next_step}}
    json.dump(answer, sys.stdout)


def judge(request: dict[str, Any]) -> dict[str, Any]:
    """`{spans, confidence, speed, memory_mb, bundle_mb}` of the model in the folder `bundle`; raises BundleError.

    Request: bundle, labels (in order), threads, texts, timed (how many of the texts are timed; 0: none).
    """
    folder, threads = Path(request["bundle"]), int(request["threads"])
    bundle = load_bundle(folder, request["labels"])
    tagger = Tagger(bundle, threads)
    taggings = tagger.tag_many(request["texts"])
    memory = psutil.Process().memory_full_info()
    timed = request["texts"][: request["timed"]]
    return {
        "spans": [[_as_list(span) for span in tagging.spans] for tagging in taggings],
        "speed": measure(bundle, tagger, timed, threads) if timed else None,
        "memory_mb": getattr(memory, "pss", memory.rss) / _MB,
        "bundle_mb": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _MB,
    }


def measure(bundle: Bundle, tagger: Tagger, texts: Sequence[str], threads: int) -> dict[str, Any]:
    """A `loop.promotion.attempt.Speed` as a dictionary: one text a run, then calls of 8.

    As the backend serves: a lone text gets all threads, several texts one each.
    """
    model = bundle.path / MODEL
    lone = Tagger(replace(bundle, network=Network(model, threads)))
    lone.tag(texts[0])
    seconds = []
    for text in texts:
        began = time.perf_counter()
        lone.tag(text)
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    for start in range(0, len(texts), _CALL):
        tagger.tag_many(texts[start : start + _CALL])
    whole = time.perf_counter() - began
    ordered = sorted(seconds)
    return {
        "runtime": "ONNX INT8",
        "latency_ms": 1000 * statistics.median(ordered),
        "latency_p95_ms": 1000 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "documents_per_second": len(texts) / whole,
        "size_mb": model.stat().st_size / _MB,
        "texts": len(texts),
        "threads": threads,
    }


def _as_list(span: Span) -> list[Any]:
    return list(asdict(span).values())


if __name__ == "__main__":
    main()

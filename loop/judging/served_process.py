"""`python -m loop.judging.served_process`: loads a model from the disk as the backend does, and tags texts.

Nothing of training is imported, so that the memory of the process is that of serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from loop.judging.ask import reply
from loop.judging.contract import WrongFileError
from loop.judging.measured import served_runtime
from loop.judging.speeds import measure_speeds, onnx_runtime
from ner.errors import BundleError, BundleUnavailableError
from ner.models.bundle import MODEL, load_bundle
from ner.tagger import Tagger

_MB = 1e6


def tag(request: Mapping[str, Any]) -> dict[str, Any]:
    """`{spans, speed, memory_mb, bundle_mb}` of the model in the folder `bundle`.

    Request: bundle, labels (in order), threads, texts, timed (how many of the texts are timed; 0 for none).
    Raises WrongFileError for a bundle that is refused, BundleUnavailableError for what may pass.
    """
    folder, threads = Path(request["bundle"]), int(request["threads"])
    try:
        bundle = load_bundle(folder, request["labels"])
        taggings = Tagger(bundle, threads).tag_many(request["texts"])
    except BundleUnavailableError:
        raise
    except BundleError as error:
        raise WrongFileError(error.rule, value=error.value, next_step=error.next_step) from error
    memory = psutil.Process().memory_full_info()  # before anything else is loaded to take times
    timed = request["texts"][: request["timed"]]
    name = served_runtime(bundle.manifest.precision)
    speeds = measure_speeds([onnx_runtime(name, bundle, folder / MODEL, threads)], timed, threads) if timed else ()
    return {
        "spans": [[asdict(span) for span in tagging.spans] for tagging in taggings],
        "speed": asdict(speeds[0]) if speeds else None,
        "memory_mb": getattr(memory, "pss", memory.rss) / _MB,
        "bundle_mb": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _MB,
    }


if __name__ == "__main__":
    reply(tag)

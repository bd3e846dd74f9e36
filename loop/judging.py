"""A model as it is served, asked in a process of its own: reloaded from the disk, with no trace of its training."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.attempt import Speed
from ner.errors import BundleError
from ner.spans import Span

_MODULE = "loop.judge_process"


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model says of each text, in order, and what it takes; speed is None where nothing was timed."""

    spans: tuple[tuple[Span, ...], ...]
    speed: Speed | None
    memory_mb: float
    bundle_mb: float


def judge_bundle(
    folder: Path, labels: Sequence[str], texts: Sequence[str], *, threads: int = 1, timed: int = 0
) -> Judged:
    """Ask the model in `folder`; the first `timed` texts are timed.

    Raises BundleError for a folder that is refused, or with which the process ends by itself.
    """
    request = {"bundle": str(folder), "labels": list(labels), "threads": threads, "texts": list(texts), "timed": timed}
    answer = _ask(folder, request)
    if "refused" in answer:
        refused = answer["refused"]
        raise BundleError(refused["rule"], value=refused["value"], next_step=refused["next_step"])
    return Judged(
        tuple(tuple(Span(*span) for span in spans) for spans in answer["spans"]),
        Speed(**answer["speed"]) if answer["speed"] else None,
        answer["memory_mb"],
        answer["bundle_mb"],
    )


def _ask(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The process is this interpreter's; Ctrl-C ends it, too."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            out, err = process.communicate(json.dumps(request).encode("ascii"))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        last = err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise BundleError(
            "a model can be loaded and run in a process of its own",
            value=f"{folder}: exit code {process.returncode} {last}".strip(),
            next_step="Train the model again, or see whether the machine is out of memory.",
        )
    answer: dict[str, Any] = json.loads(out)
    return answer

"""A model as it is served, asked in a process of its own: reloaded from the disk, with no trace of its training."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.judging.measured import Speed
from ner.errors import BundleError, RuleError
from ner.spans import Span

_MODULE = "loop.judging.served_process"
_STARTING_SECONDS, _SECONDS_A_TEXT = 300.0, 1.0
# A graph that ends its process so is broken; whatever else ends one says nothing about the graph.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS, signal.SIGFPE)


class JudgingError(RuleError):
    """The process that was to ask a model did not answer: nothing is known of the model."""


@dataclass(frozen=True, slots=True)
class ServedAnswers:
    """What a model says of each text, in order, and what it takes; speed is None where nothing was timed."""

    spans: tuple[tuple[Span, ...], ...]
    speed: Speed | None
    memory_mb: float
    bundle_mb: float


def judge_bundle(
    folder: Path, labels: Sequence[str] | None, texts: Sequence[str], *, threads: int = 1, timed: int = 0
) -> ServedAnswers:
    """Ask the model in `folder`; the first `timed` texts are timed. labels: that it has to have; None for its own.

    Raises BundleError for a folder that is refused or crashes the process, JudgingError where the process was ended or
    does not answer.
    """
    wanted = None if labels is None else list(labels)
    request = {"bundle": str(folder), "labels": wanted, "threads": threads, "texts": list(texts), "timed": timed}
    answer = _ask(folder, request, _STARTING_SECONDS + _SECONDS_A_TEXT * (len(texts) + timed))
    if "refused" in answer:
        refused = answer["refused"]
        raise BundleError(refused["rule"], value=refused["value"], next_step=refused["next_step"])
    return ServedAnswers(
        tuple(tuple(Span(*span) for span in spans) for spans in answer["spans"]),
        Speed(**answer["speed"]) if answer["speed"] else None,
        answer["memory_mb"],
        answer["bundle_mb"],
    )


def _ask(folder: Path, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """The process is this interpreter's; Ctrl-C ends it, too. -P: the folder one stands in holds no modules of ours."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            out, err = process.communicate(json.dumps(request).encode("ascii"), timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise JudgingError(
                f"a model answers within {timeout:g} seconds",
                value=str(folder),
                next_step="Try again on a free machine.",
            ) from error
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        last = err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        crashed = -process.returncode in _CRASHES
        raise (BundleError if crashed else JudgingError)(
            "a model can be loaded and run in a process of its own",
            value=f"{folder}: exit code {process.returncode} {last}".strip(),
            next_step="Train the model again." if crashed else "See whether the machine is out of memory; try again.",
        )
    answer: dict[str, Any] = json.loads(out)
    return answer

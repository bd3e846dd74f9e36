"""A model is asked in a process of its own: one protocol for the file that serves and for its FP32 reference.

The process starts with nothing in memory but what it loads from the disk, and its memory and its threads are gone when
the next model is asked. It reads one request (JSON) from standard input. It writes one answer (JSON) to standard
output: `{"answer": ...}`, or `{"refused": ...}` with the error that it met.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.judging.contract import WrongFileError
from loop.judging.measured import Speed
from ner.errors import RuleError
from ner.spans import Span

SERVED, FP32 = "loop.judging.served_process", "loop.judging.fp32_process"
_STARTING_SECONDS, _SECONDS_A_TEXT = 300.0, 1.0
# OpenMP's threads must not wait awake: they would slow down the runtime that is timed next.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
# A broken graph can end its process by these two. The other signals say nothing about a file: SIGKILL comes from the
# kernel and SIGABRT from C++ where memory is short, SIGBUS from a file that cannot be read, SIGILL from a processor
# that lacks an instruction. (With less and less memory, a judging process ended by SIGABRT or by an exception only.)
_CRASHES = (signal.SIGSEGV, signal.SIGFPE)


class JudgingError(RuleError):
    """The process gave no answer, for a reason that may pass: nothing is known of the model."""


class _CrashError(JudgingError):
    """The process crashed, as it does when a graph is broken."""


@dataclass(frozen=True, slots=True)
class ServedAnswers:
    """What the served file says of each text, in order, and what it costs.

    speed: None where nothing was timed. memory_mb: of a process that has only loaded and run the file.
    """

    spans: tuple[tuple[Span, ...], ...]
    speed: Speed | None
    memory_mb: float
    bundle_mb: float


@dataclass(frozen=True, slots=True)
class Reference:
    """The candidate in FP32; `error` says in a sentence why there is none, and everything else is then empty.

    spans: of each text, by the FP32 ONNX file. speeds: torch FP32, ONNX FP32 and ONNX INT8; none without texts to time.
    trainable_parameters: of the adapter with its classifier. total_parameters: of the model that is served, in which
    the adapter is merged.
    """

    spans: tuple[tuple[Span, ...], ...] = ()
    speeds: tuple[Speed, ...] = ()
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    error: str | None = None


def ask_served(
    folder: Path, labels: Sequence[str] | None, texts: Sequence[str], *, threads: int = 1, timed: int = 0
) -> ServedAnswers:
    """Ask the file that serves; the first `timed` texts are timed. labels: what it must have, None for its own.

    Raises WrongFileError for a folder that is shown to be wrong, and JudgingError where nothing is shown. A crash
    counts as shown when a second process ends in the same way.
    """
    request = {
        "bundle": str(folder.absolute()),
        "labels": None if labels is None else list(labels),
        "texts": list(texts),
        "timed": timed,
        "threads": threads,
    }
    try:
        answer = _ask(SERVED, request)
    except _CrashError:
        try:
            answer = _ask(SERVED, request)
        except _CrashError as error:
            rule, step = "a model can be run twice without a crash", "Train the model again."
            raise WrongFileError(rule, value=error.value, next_step=step) from error
    speed = Speed(**answer["speed"]) if answer["speed"] else None
    return ServedAnswers(_spans(answer["spans"]), speed, answer["memory_mb"], answer["bundle_mb"])


def ask_fp32(
    folder: Path, encoder: str, texts: Sequence[str], *, timed: int = 0, threads: int = 1, seed: int = 0
) -> Reference:
    """Ask the candidate in `folder` in FP32; `encoder` is the name or folder of its base.

    The first `timed` texts are timed, in every runtime. Raises WrongFileError where the candidate's files are shown to
    be wrong. Any other trouble is the `error` of the result: a promotion does not need the reference.
    """
    with tempfile.TemporaryDirectory(prefix="reference-", ignore_cleanup_errors=True) as workspace:
        request = {
            "bundle": str(folder.absolute()),
            "encoder": encoder,
            "workspace": workspace,
            "texts": list(texts),
            "timed": timed,
            "threads": threads,
            "seed": seed,
        }
        try:
            answer = _ask(FP32, request)
        except JudgingError as error:
            return Reference(error=str(error))
    speeds = tuple(Speed(**speed) for speed in answer["speeds"])
    return Reference(_spans(answer["spans"]), speeds, answer["trainable_parameters"], answer["total_parameters"])


def reply(handle: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """The other end, for the process: answer the request on standard input by `handle`.

    What libraries print goes to standard error. A RuleError is an answer; other exceptions end the process.
    """
    with os.fdopen(os.dup(1), "w", encoding="ascii") as out:
        os.dup2(2, 1)
        json.dump(answered(handle, json.load(sys.stdin)), out)


def answered(handle: Callable[[dict[str, Any]], Mapping[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """What the process says to a request: the answer of `handle`, or the RuleError that it raised."""
    try:
        return {"answer": handle(request)}
    except RuleError as error:
        fields = {"rule": error.rule, "value": str(error.value), "next_step": error.next_step}
        return {"refused": fields | {"wrong_file": isinstance(error, WrongFileError)}}


def _ask(module: str, request: dict[str, Any]) -> dict[str, Any]:
    done = _run(module, request, _STARTING_SECONDS + _SECONDS_A_TEXT * (len(request["texts"]) + request["timed"]))
    if done.returncode:
        crashed = -done.returncode in _CRASHES
        raise (_CrashError if crashed else JudgingError)(
            "a model can be loaded and run in a process of its own",
            value=f"{request['bundle']}: {module} ended {_how(done.returncode)} {_last_line(done.stderr)}".strip(),
            next_step="See whether the machine is out of memory, and try again.",
        )
    try:
        said = json.loads(done.stdout)
        if "answer" in said:
            answer: dict[str, Any] = said["answer"]
            return _whole(answer, len(request["texts"]))
        refused = said["refused"]
        kind = WrongFileError if refused.pop("wrong_file") else JudgingError
        error = kind(refused["rule"], value=refused["value"], next_step=refused["next_step"])
    except (ValueError, KeyError, TypeError) as unreadable:
        raise JudgingError(f"{module} gives an answer that can be read", value=repr(unreadable)) from unreadable
    raise error


def _run(module: str, request: Mapping[str, Any], timeout: float) -> subprocess.CompletedProcess[bytes]:
    """The process, ended: whatever is raised here, it is gone (`subprocess.run` would not wait after Ctrl-C)."""
    words, pipe = [sys.executable, "-P", "-m", module], subprocess.PIPE  # -P: the folder one stands in holds no modules
    environment = {**os.environ, **_ENVIRONMENT}
    try:
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
            try:
                said, complained = process.communicate(json.dumps(request).encode("ascii"), timeout)
            except BaseException:
                process.kill()
                process.wait()
                raise
    except subprocess.TimeoutExpired as error:
        rule, value = f"a model answers within {timeout:g} seconds", str(request["bundle"])
        raise JudgingError(rule, value=value, next_step="Try again on a free machine.") from error
    except OSError as error:
        raise JudgingError(f"{module} can be started", value=str(error), next_step="Try again.") from error
    return subprocess.CompletedProcess(words, process.returncode, said, complained)


def _whole(answer: dict[str, Any], texts: int) -> dict[str, Any]:
    if len(answer["spans"]) != texts:
        raise JudgingError(f"a model tags all of {texts} texts", value=len(answer["spans"]))
    return answer


def _spans(rows: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[tuple[Span, ...], ...]:
    return tuple(tuple(Span(**span) for span in spans) for spans in rows)


def _how(code: int) -> str:
    """An exit code below 0 is a signal."""
    names = {number.value: number.name for number in signal.Signals}
    return f"with exit code {code}" if code >= 0 else f"by {names.get(-code, f'signal {-code}')}"


def _last_line(stderr: bytes) -> str:
    return stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]

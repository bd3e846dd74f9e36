"""The FP32 reference of a candidate, measured in a process of its own: what it finds, and how fast each runtime is.

The process (`python -m loop.judging.fp32_process`) gets the request as JSON on standard input and answers with one JSON
document on standard output. It is apart so that torch's memory and threads are gone when the next thing is measured,
and so that whatever goes wrong there costs a report its reference, and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import Signals
from typing import Any

from loop.judging.measured import Speed
from ner.spans import Span

MODULE = "loop.judging.fp32_process"
TIMED = 200
_STARTING_SECONDS = 300.0
_SECONDS_A_TEXT = 1.0
# Threads of OpenMP that wait awake would slow down the runtime that is measured next.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True, slots=True)
class ReferenceRequest:
    """What the process is asked for.

    bundle: the candidate's folder. encoder: the name or folder of its base. texts: to be tagged; timed: to be timed.
    workspace: an empty folder that its files may be put in. threads: that every runtime may use.
    """

    bundle: str
    encoder: str
    texts: tuple[str, ...]
    timed: tuple[str, ...]
    workspace: str
    threads: int
    seed: int


@dataclass(frozen=True, slots=True)
class Reference:
    """The candidate in FP32; `error` says in a sentence why there is none, and what could not be had is then empty.

    spans: of each text, by the FP32 ONNX file. speeds: torch FP32, then ONNX FP32 (INT8 is timed where it is judged);
    none without texts to time. trainable_parameters: of the adapter with its classifier. total_parameters: of the model
    that is served, the adapter merged. tokenizer_sha256: of the base encoder's tokenizer as a bundle would hold it,
    once the encoder was found to be the one that was trained from.
    """

    spans: tuple[tuple[Span, ...], ...] = ()
    speeds: tuple[Speed, ...] = ()
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    tokenizer_sha256: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return asdict(self)


def from_json(answer: Mapping[str, Any]) -> Reference:
    """The reference that a process answered. Raises KeyError and TypeError for what is none."""
    spans = tuple(tuple(Span(**span) for span in spans) for spans in answer["spans"])
    speeds = tuple(Speed(**speed) for speed in answer["speeds"])
    return Reference(**{**answer, "spans": spans, "speeds": speeds})


def measure_reference(
    bundle: Path,
    encoder: str,
    texts: Sequence[str],
    timed: Sequence[str],
    *,
    threads: int,
    seed: int,
    timeout: float | None = None,
) -> Reference:
    """The reference of the candidate in `bundle`, whose manifest records `encoder` as its base.

    The first TIMED of `timed` are timed. Nothing that goes wrong is raised: it is the `error` of the result. When this
    process is interrupted the other one ends, too. timeout: in seconds; by default it grows with the texts.
    """
    timed = tuple(timed[:TIMED])
    if timeout is None:
        timeout = _STARTING_SECONDS + _SECONDS_A_TEXT * (len(texts) + len(timed))
    try:
        with tempfile.TemporaryDirectory(prefix="reference-", ignore_cleanup_errors=True) as workspace:
            # Absolute: the process stands in the same folder, but a bundle may be named from anywhere.
            request = ReferenceRequest(str(bundle.absolute()), encoder, tuple(texts), timed, workspace, threads, seed)
            return _answer(_run(request, timeout), len(texts))
    except subprocess.TimeoutExpired:
        return Reference(error=f"The FP32 reference was not there after {timeout:g} seconds, and was given up.")
    except OSError as error:
        return Reference(error=f"The FP32 reference could not be started: {error}.")


def _run(request: ReferenceRequest, timeout: float) -> subprocess.CompletedProcess[bytes]:
    """The process, ended: whatever is raised here, it is gone (`subprocess.run` would not wait after Ctrl-C)."""
    # -P: modules of the folder one stands in are not ours, as for the `loop` command.
    words = [sys.executable, "-P", "-m", MODULE]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **_ENVIRONMENT}) as process:
        try:
            said, complained = process.communicate(json.dumps(asdict(request)).encode(), timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return subprocess.CompletedProcess(words, process.returncode, said, complained)


def _answer(done: subprocess.CompletedProcess[bytes], texts: int) -> Reference:
    if done.returncode:
        return Reference(error=f"The FP32 reference ended {_how(done.returncode)}: {_last_line(done.stderr)}")
    try:
        reference = from_json(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError) as error:
        return Reference(error=f"The FP32 reference gave no answer that can be read: {error!r}.")
    if reference.error is None and len(reference.spans) != texts:
        return Reference(error=f"The FP32 reference tagged {len(reference.spans)} of {texts} texts.")
    return reference


def _how(code: int) -> str:
    """Exit codes below 0 are signals; one that nobody here sent is most often the kernel's, for want of memory."""
    if code >= 0:
        return f"with exit code {code}"
    names = {signal.value: signal.name for signal in Signals}
    return f"by {names.get(-code, f'signal {-code}')}"


def _last_line(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."

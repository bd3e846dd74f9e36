"""The ONNX graph: windows of token ids in, their logits out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from ner.arrays import Logits
from ner.errors import BundleError, BundleUnavailableError, RuleError
from ner.models.runtime import errors, onnxruntime

EngineName = Literal["remote", "local"]
Answer = TypeVar("Answer")
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

_ONNX_ERRORS = (
    errors.EPFail,
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
)
# What ONNX Runtime says when the machine, and not the file, is at fault. It has no error class for that: too little
# memory comes as FAIL while a file is loaded and as RUNTIME_EXCEPTION while a graph is run. A file that the system does
# not give (too many are open, the disk fails) comes as FAIL with the system's error number.
_MACHINE = re.compile(
    r"bad_alloc|allocate memory|out of memory|pthread_|NO_SUCHFILE|system error number", re.IGNORECASE
)
_INTEGERS: dict[str, npt.DTypeLike] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FILLS = {"input_ids": None, "attention_mask": 1, "token_type_ids": 0}
_AWAKE_MICROSECONDS = 2000
# Addition and normalisation in one node take a little longer than the two nodes take.
_SLOWER = ["SkipLayerNormFusion"]
_REBUILD = "Train or export the model again."
# The entry in a file's metadata that its writer makes where a window's logits do not depend on the company.
WINDOWS_SHARE_RUNS = "windows_share_runs"
# A run of many windows reads the weights once for all of them. Its activations should still fit the core's cache.
TOKENS_A_RUN = 512


class Network:
    """An ONNX token classifier: inputs input_ids and, where the graph has them, attention_mask and token_type_ids.

    A run reads windows of one length, without padding. It reads a window alone unless the file says that windows may
    share a run (`windows_share_runs`), which a file in INT8 with constant scales does. Dynamic INT8, as older files
    have it, takes one scale from all values of a run, so that an answer would depend on the company.

    By default a run uses one thread: callers make runs side by side, since the runtime releases the interpreter lock.
    Raises BundleError for a file that is no such graph, and BundleUnavailableError where the machine has too little
    memory or the file is away.
    """

    windows_share_runs = False

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._path = path
        try:
            self._session = onnxruntime.InferenceSession(
                str(path),
                _options(threads),
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_SLOWER,
            )
        except _ONNX_ERRORS as error:
            raise _refusal("an ONNX file can be loaded", path, error, _REBUILD) from error
        self._inputs = [(item.name, _integer_type(item), _FILLS[item.name]) for item in self._session.get_inputs()]
        names = [item.name for item in self._session.get_outputs()]
        self._output = "logits" if "logits" in names else names[0]
        told = self._session.get_modelmeta().custom_metadata_map
        self.windows_share_runs = told.get(WINDOWS_SHARE_RUNS) == "yes"

    @property
    def engine(self) -> EngineName:
        """What runs the graph now: this process, or an inference server."""
        return "local"

    @property
    def engine_problem(self) -> RuleError | None:
        """Why this process runs the graph where an inference server should; None where nothing is wrong."""
        return None

    def logits(self, ids: Sequence[int]) -> Logits:
        """(n, t) logits of n token ids, special ones included. Errors as at construction."""
        rows: Logits = self.logits_of_run([ids])[0]
        return rows

    def runs(self, lengths: Sequence[int]) -> list[list[int]]:
        """Windows of these lengths in tokens, put together to runs: the places of the windows of each run.

        A run has windows of one length and up to TOKENS_A_RUN tokens, or one window.
        """
        if not self.windows_share_runs:
            return [[place] for place in range(len(lengths))]
        by_length: dict[int, list[int]] = {}
        for place, length in enumerate(lengths):
            by_length.setdefault(length, []).append(place)
        at_once = {length: max(1, TOKENS_A_RUN // max(1, length)) for length in by_length}
        return [
            places[start : start + at_once[length]]
            for length, places in by_length.items()
            for start in range(0, len(places), at_once[length])
        ]

    def logits_of_run(self, windows: Sequence[Sequence[int]]) -> Logits:
        """(b, n, t) logits of b windows of n token ids each, which `runs` put together. Errors as at construction."""
        ids = np.array(windows, dtype=np.int64)
        feeds = {
            name: ids.astype(dtype) if fill is None else np.full(ids.shape, fill, dtype=dtype)
            for name, dtype, fill in self._inputs
        }
        try:
            logits: Logits = self._session.run([self._output], feeds)[0]
        except _ONNX_ERRORS as error:
            rule = f"a model reads {ids.shape[1]} tokens with ids up to {ids.max(initial=0)}"
            step = "Its tokenizer, its max_length and its graph belong to one training."
            raise _refusal(rule, self._path, error, step) from error
        if logits.ndim != 3 or logits.shape[:2] != ids.shape:
            raise BundleError(
                f"a model of {ids.shape[1]} tokens answers ({ids.shape[0]}, {ids.shape[1]}, tags)",
                value=f"{self._path}: {logits.shape}",
                next_step=_REBUILD,
            )
        if not math.isfinite(logits.sum(dtype=np.float64)):  # one pass: a sum is finite only when each of its terms is
            raise BundleError("a model's logits are finite", value=str(self._path), next_step=_REBUILD)
        return logits


def by_place(runs: Sequence[Sequence[int]], answers: Iterable[Sequence[Answer]]) -> list[Answer]:
    """What each run answers for the places in it, in the order of the places 0, 1, 2, ..."""
    pairs = zip(runs, answers, strict=True)
    placed = {place: answer for run, several in pairs for place, answer in zip(run, several, strict=True)}
    return [placed[place] for place in range(len(placed))]


class FunctionNetwork(Network):
    """A network whose logits a function gives, for one window at a time; errors are the function's."""

    def __init__(self, logits: Callable[[Sequence[int]], Logits]) -> None:
        self._logits = logits

    def logits(self, ids: Sequence[int]) -> Logits:
        """(n, t) logits of n token ids, special ones included."""
        return self._logits(ids)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait for the next operator do so awake, and for a moment for the next run, too: to wake one takes as
    # long as a tenth of a short window does.
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_AWAKE_MICROSECONDS))
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return options


def _integer_type(item: Any) -> npt.DTypeLike:
    if item.name not in _FILLS or item.type not in _INTEGERS:
        raise BundleError(
            f"a model's inputs are integers among {', '.join(_FILLS)}",
            value=f"{item.name}: {item.type}",
            next_step=_REBUILD,
        )
    return _INTEGERS[item.type]


def _refusal(rule: str, path: Path, error: Exception, next_step: str) -> BundleError:
    said = str(error)
    value = f"{path}: {said.partition(chr(10))[0]}"
    if _MACHINE.search(said):
        return BundleUnavailableError(rule, value=value, next_step="Free some memory, and try again.")
    return BundleError(rule, value=value, next_step=next_step)

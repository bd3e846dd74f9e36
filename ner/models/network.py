"""The ONNX graph: one window of token ids in, its logits out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ner.arrays import Logits
from ner.errors import BundleError, BundleUnavailableError, RuleError
from ner.models.runtime import errors, onnxruntime

EngineName = Literal["remote", "local"]
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
_REBUILD = "Train or export the model again."


class Network:
    """An ONNX token classifier: inputs input_ids and, where the graph has them, attention_mask and token_type_ids.

    A run reads one sequence without padding: dynamic INT8 has one activation scale per tensor, so that in a batch the
    answer for a text would depend on the other texts. By default a run uses one thread: callers run windows side by
    side, since the runtime releases the interpreter lock. Raises BundleError for a file that is no such graph, and
    BundleUnavailableError where the machine has too little memory or the file is away.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._path = path
        try:
            self._session = onnxruntime.InferenceSession(
                str(path),
                _options(threads),
                providers=["CPUExecutionProvider"],
            )
        except _ONNX_ERRORS as error:
            raise _refusal("an ONNX file can be loaded", path, error, _REBUILD) from error
        self._inputs = [(item.name, _integer_type(item), _FILLS[item.name]) for item in self._session.get_inputs()]
        names = [item.name for item in self._session.get_outputs()]
        self._output = "logits" if "logits" in names else names[0]

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
        feeds = {
            name: np.array([ids], dtype=dtype) if fill is None else np.full((1, len(ids)), fill, dtype=dtype)
            for name, dtype, fill in self._inputs
        }
        try:
            logits: Logits = self._session.run([self._output], feeds)[0]
        except _ONNX_ERRORS as error:
            rule = f"a model reads {len(ids)} tokens with ids up to {max(ids, default=0)}"
            step = "Its tokenizer, its max_length and its graph belong to one training."
            raise _refusal(rule, self._path, error, step) from error
        if logits.ndim != 3 or logits.shape[:2] != (1, len(ids)):
            raise BundleError(
                f"a model of {len(ids)} tokens answers (1, {len(ids)}, tags)",
                value=f"{self._path}: {logits.shape}",
                next_step=_REBUILD,
            )
        if not math.isfinite(logits.sum(dtype=np.float64)):  # one pass: a sum is finite only when each of its terms is
            raise BundleError("a model's logits are finite", value=str(self._path), next_step=_REBUILD)
        rows: Logits = logits[0]
        return rows


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

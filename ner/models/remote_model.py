"""A model on an inference server, proven to be the model of a bundle before anything rests on its logits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ner.arrays import FloatArray, Logits
from ner.decoding import log_softmax
from ner.labels import LabelSet
from ner.models.bundle import Bundle
from ner.models.inference_server import (
    Array,
    EngineMismatchError,
    EngineUnavailableError,
    InferenceServer,
    ModelMetadata,
    TensorMetadata,
)

# The root mean square of the differences of log-probabilities, in nats. The FP32 weights of a bundle are 0.15 to 0.25
# away from its INT8 file; another model of the same project is 0.91 or more away. BENCHMARKS.md has the measurement.
TOLERANCE = 0.4

_FILLS = {"input_ids": None, "attention_mask": 1, "token_type_ids": 0}
_INTEGERS = {"INT64": np.int64, "INT32": np.int32}
_LOGITS = "logits"
# Texts of many kinds, so that two models differ on some of them: each model is sure of other words.
_PROBES = (
    "The laptop with Windows 11 shows the error 0x80070005 when Outlook starts after the update of Monday.",
    "Please install Python 3.11.4 and PostgreSQL on server db-07 (10.0.0.12) before 14:30; see https://example.com/a?b=1.",
    "The manager of the bank in Berlin wrote to support@example.com about the printer LaserJet 400.",
    "def main(): return os.path.join('/usr/local', name)  # raises TypeError in version 2.0-beta",
    "Der Rechner in Zürich startet nicht; seit gestern blinkt nur noch die rote Lampe.",
)


@dataclass(frozen=True, slots=True)
class _Form:
    """How a remote model is asked, and the version that its server gives it; None where the server names none."""

    inputs: tuple[TensorMetadata, ...]
    output: str
    version: str | None = None


def model_name(pattern: str, slug: str, version: str) -> str:
    """The model's name on the server. The pattern may hold "{project}" and "{version}"."""
    filled = pattern.replace("{project}", slug).replace("{version}", version)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", filled)


class RemoteModel:
    """The model `name` of a server, for a label set. Threads may share it.

    Its logits may be used once `check` has passed. An answer under another version of the server's is refused: the
    server has loaded another model since.
    """

    def __init__(self, server: InferenceServer, name: str, labels: LabelSet) -> None:
        self._server, self._name, self._labels = server, name, labels
        self._proven: _Form | None = None

    @property
    def shown(self) -> str:
        """The model and its server, for people."""
        return f"model {self._name!r} at {self._server.url}"

    def check_metadata(self) -> _Form:
        """How to ask the model, which reads token ids and gives one logit for each tag.

        Raises EngineMismatchError for metadata of another kind, and EngineUnavailableError where the server or the
        model is not ready.
        """
        self._server.check_ready(self._name)
        metadata = self._server.metadata(self._name)
        return _Form(self._check_inputs(metadata), self._check_output(metadata))

    def check(self, fingerprint: Fingerprint) -> float:
        """How far the model is from the bundle of the fingerprint, in nats; see TOLERANCE.

        Raises EngineMismatchError where it is too far, where an answer is no array of logits or the metadata is wrong;
        raises EngineUnavailableError.
        """
        form = self.check_metadata()
        form = replace(form, version=self._infer(fingerprint.windows[0], form)[1])
        distance = fingerprint.distance(lambda ids: self._infer_proven(ids, form))
        if not distance <= TOLERANCE:
            raise EngineMismatchError(
                f"a remote model's log-probabilities are within {TOLERANCE} nats of the bundle in service",
                value=f"{distance:.2f} nats from {fingerprint.version}: {self.shown}",
                next_step=f"Load {fingerprint.version} there: `loop export-model` writes it.",
            )
        self._proven = form
        return distance

    def logits(self, ids: Sequence[int]) -> Logits:
        """(n, t) logits of n token ids, special ones included. Raises EngineUnavailableError, EngineMismatchError."""
        if self._proven is None:
            raise EngineUnavailableError(
                "a remote model is compared with the bundle before it is used", value=self.shown
            )
        return self._infer_proven(ids, self._proven)

    def _infer_proven(self, ids: Sequence[int], form: _Form) -> Logits:
        logits, version = self._infer(ids, form)
        if version != form.version:
            raise EngineMismatchError(
                "the server serves the version that was compared with the bundle",
                value=f"version {version}, compared {form.version}: {self.shown}",
            )
        return logits

    def _infer(self, ids: Sequence[int], form: _Form) -> tuple[Logits, str | None]:
        """((n, t) logits, the version that answered)."""
        feeds = {one.name: (one.datatype, _feed(one, ids)) for one in form.inputs}
        answer = self._server.infer(self._name, feeds, form.output)
        width = len(self._labels.tags)
        if answer.output.shape[-2:] != (len(ids), width) or answer.output.size != len(ids) * width:
            raise self._refusal(
                f"the answer for {len(ids)} tokens has {width} logits for each", f"shape {answer.output.shape}"
            )
        logits = answer.output.reshape(len(ids), width)
        if not np.isfinite(logits).all():
            raise self._refusal("a model's logits are finite", "NaN or infinity")
        return logits, answer.model_version

    def _check_inputs(self, metadata: ModelMetadata) -> tuple[TensorMetadata, ...]:
        inputs = metadata.inputs
        good = all(one.name in _FILLS and one.datatype in _INTEGERS and len(one.shape) in (1, 2) for one in inputs)
        if not good or "input_ids" not in {one.name for one in inputs}:
            raise self._refusal(
                f"a model's inputs are integers of shape [-1, -1] among {', '.join(_FILLS)}, input_ids among them",
                _shown(inputs),
            )
        return inputs

    def _check_output(self, metadata: ModelMetadata) -> str:
        """The name of the output that has the logits."""
        outputs, width = metadata.outputs, len(self._labels.tags)
        named = [one for one in outputs if one.name == _LOGITS] or list(outputs)
        if len(named) != 1 or named[0].datatype != "FP32" or len(named[0].shape) not in (2, 3):
            raise self._refusal(f"a model gives {_LOGITS} as FP32 of shape [-1, -1, {width}]", _shown(outputs))
        found = named[0].shape[-1]
        if found not in (-1, width):
            raise self._refusal(
                f"a model of {', '.join(self._labels.types)} gives {width} logits a token (O, and B and I of each)",
                f"{found} outputs where {width} labels are needed",
            )
        return named[0].name

    def _refusal(self, rule: str, value: str) -> EngineMismatchError:
        return EngineMismatchError(
            rule,
            value=f"{value}: {self.shown}",
            next_step="Load the project's model there (`loop export-model`), or correct [backend] engine_model.",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What a bundle says of a few windows of ids: by this another copy of the same model is known.

    windows: the framed ids, the last one a full window. expected: (n, t) log-probabilities for each.
    """

    version: str
    windows: tuple[list[int], ...]
    expected: tuple[FloatArray, ...]

    @classmethod
    def of(cls, bundle: Bundle) -> Fingerprint:
        """Run the bundle's own network on the probes."""
        encoder, room = bundle.encoder, bundle.manifest.max_length - bundle.encoder.num_special
        texts = [encoder.encode(text).ids[:room] for text in _PROBES]
        every = [token for ids in texts for token in ids]
        full = (every * (room // len(every) + 1))[:room]
        framed = tuple(encoder.frame(ids) for ids in (*texts, full))
        expected = tuple(log_softmax(bundle.network.logits(ids)) for ids in framed)
        return cls(bundle.manifest.version, framed, expected)

    def distance(self, logits: Callable[[Sequence[int]], Logits]) -> float:
        """The root mean square of the differences between these log-probabilities and those of `logits`, in nats."""
        pairs = zip(self.windows, self.expected, strict=True)
        squares = [((log_softmax(logits(ids)) - expected) ** 2).ravel() for ids, expected in pairs]
        return float(np.sqrt(np.concatenate(squares).mean()))


def _feed(tensor: TensorMetadata, ids: Sequence[int]) -> Array:
    """The ids, or what fills the tensor, as one row where the model reads rows."""
    fill, dtype = _FILLS[tensor.name], _INTEGERS[tensor.datatype]
    values = np.array(ids, dtype) if fill is None else np.full(len(ids), fill, dtype)
    return values.reshape((1,) * (len(tensor.shape) - 1) + (len(ids),))


def _shown(tensors: Sequence[TensorMetadata]) -> str:
    return ", ".join(f"{one.name} {one.datatype} {list(one.shape)}" for one in tensors) or "none"

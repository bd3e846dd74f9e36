"""A client of the Open Inference Protocol over HTTP, which Triton and other inference servers speak.

The protocol is KServe's V2. Tensors travel as raw bytes where the server lists the extension `binary_tensor_data`, and
as JSON numbers elsewhere. (https://github.com/kserve/open-inference-protocol, Triton's extension_binary_data.md.)
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError, ProtocolError

from ner.errors import ConfigError, RuleError

Array = npt.NDArray[Any]

_BINARY = "binary_tensor_data"
_JSON_LENGTH = "Inference-Header-Content-Length"
_LARGEST_ANSWER = 64 * 1024 * 1024
_PIECE = 64 * 1024
# Numbers are little-endian on the wire.
_TYPES: Mapping[str, npt.DTypeLike] = {"INT64": "<i8", "INT32": "<i4", "FP32": "<f4"}


class EngineError(RuleError):
    """An inference server did not give what it was asked for."""


class EngineUnavailableError(EngineError):
    """The server cannot be reached, is too slow, or reports a failure: it may work later."""


class EngineMismatchError(EngineError):
    """The server answers, but what it serves is not the model that is needed."""

    exit_code = ConfigError.exit_code


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """A tensor as a model's metadata tells it. datatype: the protocol's word. shape: -1 where any length goes."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model reads and gives."""

    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """One output of a model, and the version that the server gives the model; None where it names none."""

    output: Array
    model_version: str | None


class InferenceServer:
    """One server. Threads may share it: each connection is kept and used again.

    seconds: how long one call may take, its retry included. A call is sent a second time only where its connection
    broke, which happens to a kept connection when the server restarts.
    """

    def __init__(self, url: str, seconds: float, connections: int = 64) -> None:
        self.url, self._seconds = url, seconds
        self._http = urllib3.PoolManager(maxsize=connections, retries=False)
        self._extensions: frozenset[str] | None = None

    def check_ready(self, model: str) -> None:
        """Raise EngineUnavailableError unless the server and the model are ready."""
        self._call("GET", "/v2/health/ready")
        self._call("GET", f"{_path(model)}/ready")

    def metadata(self, model: str) -> ModelMetadata:
        """Raises EngineUnavailableError, also where there is no such model, and EngineMismatchError."""
        told = self._ask(_path(model))
        self._extensions = self._read_extensions()
        return ModelMetadata(_tensors(told, "inputs"), _tensors(told, "outputs"))

    def infer(self, model: str, inputs: Mapping[str, tuple[str, Array]], output: str) -> Inference:
        """The FP32 tensor `output` of the model for `inputs`: name to (datatype, array).

        Raises EngineUnavailableError, and EngineMismatchError for an answer that the protocol does not allow.
        """
        if self._extensions is None:
            self._extensions = self._read_extensions()
        headers, body = _request(inputs, output, binary=_BINARY in self._extensions)
        answered, payload = self._call("POST", f"{_path(model)}/infer", headers, body)
        return _read_inference(answered.get(_JSON_LENGTH), payload, output)

    def _read_extensions(self) -> frozenset[str]:
        told = self._ask("/v2").get("extensions")
        return frozenset(map(str, told)) if isinstance(told, list) else frozenset()

    def _ask(self, path: str) -> dict[str, Any]:
        return _json_object(self._call("GET", path)[1])

    def _call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        """(headers, body) of a 200. Raises EngineUnavailableError for everything else."""
        deadline = time.monotonic() + self._seconds
        try:
            try:
                return self._once(method, path, headers, body, deadline)
            except (ProtocolError, NewConnectionError):
                return self._once(method, path, headers, body, deadline)
        except (HTTPError, LocationParseError, OSError) as error:
            raise _unavailable(self.url + path, f"{type(error).__name__}: {error}") from error

    def _once(
        self, method: str, path: str, headers: Mapping[str, str] | None, body: bytes | None, deadline: float
    ) -> tuple[Mapping[str, str], bytes]:
        left = max(deadline - time.monotonic(), 0.001)
        response = self._http.request(
            method,
            self.url + path,
            body=body,
            headers=dict(headers or {}),
            timeout=urllib3.Timeout(total=left),
            redirect=False,
            preload_content=False,
        )
        try:
            payload = _read(response, self.url + path, deadline)
        except BaseException:
            response.close()  # what is left of this answer must not stand before the next one
            raise
        response.release_conn()
        if response.status != 200:
            raise _unavailable(self.url + path, f"status {response.status}: {_told(payload)}")
        return response.headers, payload


def _path(model: str) -> str:
    return f"/v2/models/{quote(model, safe='')}"


def _unavailable(url: str, why: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        "the inference server answers",
        value=f"{url}: {why}",
        next_step="Start the server, load the model there, or correct [backend] engine and engine_model.",
    )


def _read(response: urllib3.BaseHTTPResponse, url: str, deadline: float) -> bytes:
    """The whole body. A server that sends it drop by drop gets no longer than a server that is silent."""
    body = bytearray()
    while piece := response.read1(_PIECE):
        body += piece
        if len(body) > _LARGEST_ANSWER:
            raise _unavailable(url, f"more than {_LARGEST_ANSWER:,} bytes")
        if time.monotonic() > deadline:
            raise _unavailable(url, "the answer did not arrive in time")
    return bytes(body)


def _told(payload: bytes) -> str:
    """The server's own words for a failure, on one line."""
    return " ".join(payload[:200].decode("utf-8", "replace").split()) or "no reason given"


def _json_object(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _strange(_told(payload))
    return value


def _strange(value: object) -> EngineMismatchError:
    return EngineMismatchError(
        "an inference server answers as the Open Inference Protocol says",
        value=value,
        next_step="Correct [backend] engine: another program may listen there.",
    )


def _tensors(told: Mapping[str, Any], key: str) -> tuple[TensorMetadata, ...]:
    try:
        return tuple(
            TensorMetadata(str(one["name"]), str(one["datatype"]), tuple(int(size) for size in one["shape"]))
            for one in told[key]
        )
    except (KeyError, TypeError, ValueError):
        raise _strange(f"{key}: {told.get(key)!r}") from None


def _request(inputs: Mapping[str, tuple[str, Array]], output: str, *, binary: bool) -> tuple[dict[str, str], bytes]:
    asked: dict[str, Any] = {"name": output}
    heads: list[dict[str, Any]] = [
        {"name": name, "datatype": datatype, "shape": array.shape} for name, (datatype, array) in inputs.items()
    ]
    if not binary:
        for head, (_, array) in zip(heads, inputs.values(), strict=True):
            head["data"] = array.ravel().tolist()
        return {"Content-Type": "application/json"}, json.dumps({"inputs": heads, "outputs": [asked]}).encode()
    raw = [array.astype(_TYPES[datatype], copy=False).tobytes() for datatype, array in inputs.values()]
    for head, data in zip(heads, raw, strict=True):
        head["parameters"] = {"binary_data_size": len(data)}
    asked["parameters"] = {"binary_data": True}
    head_bytes = json.dumps({"inputs": heads, "outputs": [asked]}).encode()
    headers = {"Content-Type": "application/octet-stream", _JSON_LENGTH: str(len(head_bytes))}
    return headers, b"".join([head_bytes, *raw])


def _read_inference(json_length: str | None, payload: bytes, output: str) -> Inference:
    try:
        end = len(payload) if json_length is None else int(json_length)
        told = _json_object(payload[:end])
        (found,) = [one for one in told["outputs"] if one["name"] == output]
        shape = tuple(int(size) for size in found["shape"])
        if found["datatype"] != "FP32":
            raise _strange(f"{output} in {found['datatype']}, not FP32")
        array = _array(found, shape, payload[end:])
    except (KeyError, TypeError, ValueError) as error:
        raise _strange(f"{type(error).__name__}: {error}") from None
    version = told.get("model_version")
    return Inference(array, None if version is None else str(version))


def _array(found: Mapping[str, Any], shape: Sequence[int], raw: bytes) -> Array:
    """Raises ValueError where the numbers are not as many as the shape says."""
    if "data" in found:
        return np.asarray(found["data"], dtype=np.float32).reshape(shape)
    size = int(found["parameters"]["binary_data_size"])
    if size != 4 * math.prod(shape) or size != len(raw):
        raise ValueError(f"{len(raw)} bytes of numbers for the shape {tuple(shape)}")
    return np.frombuffer(raw, _TYPES["FP32"]).reshape(shape)

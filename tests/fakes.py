"""Every fake of the suite: stand-ins that behave, where the real thing is too slow or will not fail on demand."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any, Self

import numpy as np
import onnx
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from loop.label_studio.client import (
    LabelStudioClient,
    LabelStudioError,
    TaskPage,
    TaskQuery,
    format_time,
    parse_time,
)
from ner.labels import LabelSet
from ner.models.bundle import MODEL, Manifest, write_bundle
from ner.models.network import Network


@dataclass(frozen=True)
class Answer:
    """What ScriptedServer says: a status, a body (JSON unless bytes), headers, after `delay` seconds.

    `drip` is the pause after each byte of the body. A Content-Length among the headers may lie.
    """

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0


@dataclass(frozen=True)
class Seen:
    """A request that ScriptedServer got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


CONFIG = (
    '<View><Labels name="label" toName="text"><Label value="SOFTWARE"/><Label value="OS"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
"""A label config with the types SOFTWARE and OS."""


class LocalServer:
    """An HTTP server in this process that remembers the requests and answers each as `answer` says."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen = Seen(self.command, self.path, dict(self.headers), body)
                outer.seen.append(seen)
                answer = outer.answer(seen)
                time.sleep(answer.delay)
                payload = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(payload)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if not answer.drip:
                    self.wfile.write(payload)
                    return
                for byte in payload:
                    self.wfile.write(bytes([byte]))
                    time.sleep(answer.drip)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 (names that http.server asks for)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, seen: Seen) -> Answer:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class ScriptedServer(LocalServer):
    """Gives the answers it was told, in turn."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__()
        self.answers = list(answers)

    def answer(self, seen: Seen) -> Answer:
        return self.answers.pop(0)


class StubBackend(LocalServer):
    """An ML backend that answers the set-up calls of Label Studio behind basic auth, and knows nothing.

    It passes for one of this project's that serves `projects`.
    """

    def __init__(self, user: str, password: str, projects: Iterable[str] = ("desk",)) -> None:
        super().__init__()
        served: dict[str, object] = {"store": "UP", "projects": {name: {} for name in projects}}
        self.said = {"status": "UP", "model_version": "stub", "results": [], **served}
        self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def answer(self, seen: Seen) -> Answer:
        allowed = seen.headers.get("Authorization") == self.expected
        headers = {"Content-Type": "application/json"}
        return Answer(200, self.said, headers) if allowed else Answer(401, {"detail": "who?"}, headers)


class FakeInferenceServer(LocalServer):
    """A server of the Open Inference Protocol that runs model folders, and can be told to misbehave.

    models: the served network by name. spoil: makes another answer to an inference of the right one. width: the logits
    a token that the metadata claims. extensions: with `binary_tensor_data`, tensors travel as bytes.
    """

    def __init__(self, models: Mapping[str, Path], *, binary: bool = True) -> None:
        super().__init__()
        self.models = {name: Network(folder / MODEL) for name, folder in models.items()}
        self.extensions = ["binary_tensor_data"] if binary else []
        self.version = "1"
        self.width: int | None = None
        self.input_type, self.output_type = "INT64", "FP32"
        self.spoil: Callable[[Answer], Answer] = lambda answer: answer

    @property
    def inferences(self) -> int:
        return sum(seen.path.endswith("/infer") for seen in self.seen)

    def answer(self, seen: Seen) -> Answer:
        if seen.path == "/v2":
            return Answer(body={"name": "fake", "extensions": self.extensions})
        if seen.path == "/v2/health/ready":
            return Answer()
        name, _, call = seen.path.removeprefix("/v2/models/").partition("/")
        if name not in self.models:
            return Answer(404, {"error": f"Request for unknown model: '{name}' is not found"})
        if call == "ready":
            return Answer()
        return self.spoil(self._infer(name, seen)) if call == "infer" else Answer(body=self._metadata(name))

    def _metadata(self, name: str) -> dict[str, Any]:
        width = self.width or self.models[name].logits([0]).shape[1]
        read = [
            {"name": key, "datatype": self.input_type, "shape": [-1, -1]} for key in ("input_ids", "attention_mask")
        ]
        gives = [{"name": "logits", "datatype": self.output_type, "shape": [-1, -1, width]}]
        return {"name": name, "versions": [self.version], "inputs": read, "outputs": gives}

    def _infer(self, name: str, seen: Seen) -> Answer:
        length = seen.headers.get("Inference-Header-Content-Length")
        end = len(seen.body) if length is None else int(length)
        asked = json.loads(seen.body[:end])
        first = asked["inputs"][0]
        size = first.get("parameters", {}).get("binary_data_size", 0)
        raw = np.frombuffer(seen.body[end : end + size], "<i8")
        logits = self.models[name].logits([int(one) for one in (first["data"] if length is None else raw)])
        told: dict[str, Any] = {"name": "logits", "datatype": "FP32", "shape": [1, *logits.shape]}
        head = {"model_name": name, "model_version": self.version, "outputs": [told]}
        if length is None:
            told["data"] = logits.ravel().tolist()
            return Answer(body=head)
        data = logits.astype("<f4").tobytes()
        told["parameters"] = {"binary_data_size": len(data)}
        said = json.dumps(head).encode()
        return Answer(body=said + data, headers={"Inference-Header-Content-Length": str(len(said))})


class FakeLabelStudio(LabelStudioClient):
    """A Label Studio project in memory, with the behaviour seen on the real one, that can be told to fail.

    `fail(call, times)` makes the next calls of that name raise; `poisoned` tasks cannot be served with their data;
    `after[call]` runs once after the next such call, as another user's action in between would.
    """

    def __init__(self, label_config: str, texts: Iterable[str] = ()) -> None:
        super().__init__("http://label-studio.fake", "key")
        self.settings: dict[str, Any] = {"id": 1, "title": "fake", "label_config": label_config, "model_version": None}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.poisoned: set[int] = set()
        self.calls: list[str] = []
        self.after: dict[str, Callable[[], None]] = {}
        self.lost_predictions = 0
        self._failures: dict[str, list[LabelStudioError]] = {}
        self._clock = datetime(2026, 1, 1, tzinfo=UTC)
        self._ids = count(1)
        self.import_tasks(1, [{"data": {"text": text}} for text in texts])

    def fail(self, call: str, times: int = 1, status: int | None = None) -> None:
        error = LabelStudioError("the fake works", value=f"told to fail at {call}", status=status)
        self._failures.setdefault(call, []).extend([error] * times)

    def now(self) -> str:
        self._clock += timedelta(milliseconds=1)
        return format_time(self._clock)

    def annotate(self, task_id: int, result: object, **fields: Any) -> dict[str, Any]:
        task = self.tasks[task_id]
        moment = self.now()
        annotation = {"id": next(self._ids), "result": result, "completed_by": 1, "was_cancelled": False}
        annotation |= {"ground_truth": False, "lead_time": 3.0, "parent_prediction": None, "created_at": moment}
        annotation |= {"updated_at": moment, **fields}
        task["annotations"].append(annotation)
        self._touch(task, moment)
        return annotation

    def update_annotation(self, task_id: int, annotation_id: int, **fields: Any) -> None:
        task = self.tasks[task_id]
        moment = self.now()
        for annotation in task["annotations"]:
            if annotation["id"] == annotation_id:
                annotation.update(fields, updated_at=moment)
        self._touch(task, moment)

    def delete_annotations(self, *task_ids: int) -> None:
        """As the bulk action does: all the tasks get one and the same `updated_at`."""
        moment = self.now()
        for task_id in task_ids:
            self.tasks[task_id]["annotations"] = []
            self._touch(self.tasks[task_id], moment)

    def edit(self, task_id: int, **data: Any) -> None:
        self.tasks[task_id]["data"] = data
        self._touch(self.tasks[task_id], self.now())

    def _touch(self, task: dict[str, Any], moment: str) -> None:
        task["updated_at"] = moment
        task["is_labeled"] = any(not annotation["was_cancelled"] for annotation in task["annotations"])

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self._failures.get(name):
            raise self._failures[name].pop(0)

    def project(self, project_id: int) -> dict[str, Any]:
        self._called("project")
        return {**self.settings, "task_number": len(self.tasks)}

    def update_project(self, project_id: int, **fields: Any) -> dict[str, Any]:
        self._called("update_project")
        if fields.get("model_version") not in {None, *self.model_versions(project_id)}:
            raise LabelStudioError("model version exists", status=400)
        self.settings.update(fields)
        return self.settings

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> int:
        self._called("import_tasks")
        for task in tasks:
            made = {"id": next(self._ids), "data": dict(task["data"]), "meta": {}, "annotations": []}
            made |= {"predictions": [], "is_labeled": False, "created_at": self.now(), "updated_at": self.now()}
            self.tasks[made["id"]] = made
        return len(tasks)

    def _chosen(self, query: TaskQuery) -> list[dict[str, Any]]:
        def wanted(task: dict[str, Any]) -> bool:
            moment = parse_time(task["updated_at"])
            if query.since is not None:
                return moment > query.since if query.strictly else moment >= query.since
            return task["id"] in query.ids if query.at is None else moment == query.at and task["id"] > query.after_id

        key = (lambda task: task["updated_at"]) if query.order == "updated_at" else (lambda task: task["id"])
        return sorted(filter(wanted, self.listed.values()), key=key)

    @property
    def listed(self) -> dict[int, dict[str, Any]]:
        """The tasks in an order of no meaning, which is how a server may list ties."""
        return dict(sorted(self.tasks.items(), key=lambda item: item[0] * 7919 % 101))

    def tasks_of(self, query: TaskQuery, page_size: int, name: str) -> TaskPage:
        self._called(name)
        chosen = self._chosen(query)
        page = chosen[:page_size]
        if name == "tasks" and self.poisoned & {task["id"] for task in page}:
            raise LabelStudioError("the fake works", value="cannot encode this task", status=500)
        answer = TaskPage(tuple(json.loads(json.dumps(task)) for task in page), len(chosen))
        self.after.pop(name, lambda: None)()
        return answer

    def tasks_page(self, project_id: int, query: TaskQuery, page_size: int) -> TaskPage:
        return self.tasks_of(query, page_size, "tasks")

    def stamps(self, project_id: int, query: TaskQuery, page_size: int) -> TaskPage:
        return self.tasks_of(query, page_size, "stamps")

    def count_tasks(self, project_id: int, first_id: int, last_id: int) -> int:
        self._called("count_tasks")
        return sum(first_id <= task_id <= last_id for task_id in self.tasks)

    def task_ids(self, project_id: int, first_id: int, last_id: int) -> set[int]:
        self._called("task_ids")
        return {task_id for task_id in self.tasks if first_id <= task_id <= last_id}

    def existing(self, project_id: int, task_ids: Sequence[int]) -> set[int]:
        return set(task_ids) & self.tasks.keys()

    def open_tasks_without(self, project_id: int, version: str, others: Iterable[str] = ()) -> set[int]:
        self._called("open_tasks_without")
        return {
            task["id"]
            for task in self.tasks.values()
            if not task["is_labeled"] and not any(version == p["model_version"] for p in task["predictions"])
        }

    def import_predictions(self, project_id: int, predictions: Iterable[Mapping[str, Any]]) -> int:
        self._called("import_predictions")
        sent = list(predictions)
        unknown = [p["task"] for p in sent if p["task"] not in self.tasks]
        if unknown:
            raise LabelStudioError("tasks exist", value=unknown, status=400)
        kept = sent[: len(sent) - self.lost_predictions]
        for prediction in kept:
            self.tasks[prediction["task"]]["predictions"].append({"id": next(self._ids), **prediction})
        self.after.pop("import_predictions", lambda: None)()
        return len(kept)

    def predictions(self, project_id: int, task_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        self._called("predictions")
        return {task_id: list(self.tasks[task_id]["predictions"]) for task_id in task_ids if task_id in self.tasks}

    def delete_prediction(self, prediction_id: int) -> None:
        self._called("delete_prediction")
        for task in self.tasks.values():
            task["predictions"] = [one for one in task["predictions"] if one["id"] != prediction_id]

    def model_versions(self, project_id: int) -> dict[str, int]:
        self._called("model_versions")
        return dict(Counter(p["model_version"] for task in self.tasks.values() for p in task["predictions"]))

    def next_task(self, project_id: int) -> dict[str, Any] | None:
        self._called("next_task")
        version = self.settings["model_version"]
        offered = []
        for task in self.tasks.values():
            if not task["is_labeled"] and not task["annotations"]:
                shown = [p for p in task["predictions"] if version and p["model_version"] == version]
                offered.append(({**task, "predictions": shown}, shown[0]["score"] if shown else 2.0))
        return min(offered, key=lambda pair: (pair[1], pair[0]["id"]))[0] if offered else None

    def submit_annotation(self, task_id: int, annotation: Mapping[str, Any]) -> dict[str, Any]:
        self._called("submit_annotation")
        return self.annotate(task_id, **annotation)


CERTAIN = 0.98
"""The margin that `tiny_bundle` gives every word that it is not told otherwise about."""


def tiny_bundle(
    path: Path,
    labels: Sequence[str],
    words: Mapping[str, str],
    *,
    certainty: Mapping[str, float] | None = None,
    version: str = "tiny-0001",
    max_length: int = 16,
    width: int | None = None,
    **manifest: Any,
) -> Path:
    """A real, deterministic model folder at `path` that tags words by looking them up; nothing is trained.

    words: lower-case word -> a type ("OS", meaning B-OS) or a tag ("I-OS"); every other word is O. certainty: word ->
    the margin (0..1) between its best tag and the next, so that a text's confidence is its least certain word's.
    width: logits a token, where it is not to be that of the labels. Other keywords go into the manifest.
    """
    tags = LabelSet(tuple(labels)).tags
    known = {word: tag if tag in tags else f"B-{tag}" for word, tag in words.items()}
    margins = dict(certainty or {})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({*known, *margins})]
    table = np.full((len(vocabulary), len(tags)), 1e-9)
    for row, word in enumerate(vocabulary):
        best = tags.index(known.get(word, "O"))
        margin = margins.get(word, CERTAIN)
        table[row, best], table[row, 0 if best else 1] = (1 + margin) / 2, max((1 - margin) / 2, 1e-9)
    building = path.parent / f".building-{path.name}"
    building.mkdir(parents=True)
    tiny_graph(building / "model.onnx", np.log(table)[:, :width])
    tiny_tokenizer(vocabulary).save(str(building / "tokenizer.json"))
    fields: dict[str, Any] = {
        "version": version,
        "encoder": "tiny",
        "labels": tuple(labels),
        "max_length": max_length,
        "confidence": "minimum_margin",
        "created_at": "2026-01-01T00:00:00+00:00",
        "data_fingerprint": "0" * 64,
        "seed": 13,
    }
    write_bundle(building, path, Manifest(**(fields | manifest)))
    return path


def tiny_graph(
    path: Path, table: np.ndarray[Any, Any], inputs: Sequence[str] = ("input_ids", "attention_mask")
) -> None:
    """Write an ONNX graph whose logits are the row of `table` (vocabulary, tags) for each token id."""
    size = table.shape[1]
    nodes = [
        onnx.helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        onnx.helper.make_node("MatMul", ["rows", "identity"], ["logits"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(table.astype(np.float32), "table"),
        onnx.numpy_helper.from_array(np.eye(size, dtype=np.float32), "identity"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "tokens"]) for name in inputs],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", "tokens", "tags"])],
        constants,
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), str(path))


def tiny_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """Lower-cased words and punctuation, one token each; [CLS] and [SEP] around a text."""
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    return tokenizer

"""A small stand-in for the 2.x interface of label-studio-ml. It is not that package, which is not released on PyPI.

Written from the package's documentation and source (github.com/HumanSignal/label-studio-ml-backend): a model is made
for each request from the project's id and the label config; `set` and `get` keep strings for each project between
requests; `setup` is called as a model is made; `predict` may return a ModelResponse; a webhook calls `fit` in the
server's process.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, ClassVar

import pytest
from flask import Flask, jsonify, request
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import PredictionValue
from pydantic import BaseModel, ConfigDict

TRAIN_EVENTS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "START_TRAINING")


class ModelResponse(BaseModel):
    """What `predict` returns: predictions in the SDK's own type."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str | None = None
    predictions: list[list[PredictionValue] | PredictionValue]


class LabelStudioMLBase:
    """The base class of models."""

    INITIAL_MODEL_VERSION = "0.0.1"
    kept: ClassVar[dict[tuple[str, str], str]] = {}

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        if label_config is not None:
            self.label_interface = LabelInterface(config=label_config)
            self.set("label_config", label_config)
        if not self.get("model_version"):
            self.set("model_version", self.INITIAL_MODEL_VERSION)
        self.setup()

    def setup(self) -> None:
        """For subclasses."""

    def get(self, key: str) -> str | None:
        return self.kept.get((self.project_id, key))

    def set(self, key: str, value: str) -> None:
        self.kept[self.project_id, key] = value

    @property
    def label_config(self) -> str | None:
        return self.get("label_config")

    @property
    def model_version(self) -> str | None:
        return self.get("model_version")


def init_app(model_class: Any, basic_auth_user: str | None = None, basic_auth_pass: str | None = None) -> Flask:
    """The server: a model for each request."""
    app = Flask("stand-in")

    @app.post("/setup")
    def setup() -> Any:
        asked = request.get_json()
        model = model_class(project_id=asked["project"].split(".", 1)[0], label_config=asked["schema"])
        return jsonify({"model_version": model.get("model_version")})

    @app.post("/predict")
    def predict() -> Any:
        asked = request.get_json()
        model = model_class(project_id=str(asked["project"]).split(".", 1)[0], label_config=asked["label_config"])
        params = dict(asked.get("params") or {})
        response = model.predict(asked["tasks"], context=params.pop("context", {}), **params)
        assert isinstance(response, ModelResponse)
        return jsonify({"results": response.model_dump()["predictions"]})

    @app.post("/webhook")
    def webhook() -> Any:
        data = request.get_json()
        event = data.pop("action")
        if event not in TRAIN_EVENTS:
            return jsonify({"status": "Unknown event"})
        model = model_class(str(data["project"]["id"]), label_config=data["project"]["label_config"])
        return jsonify({"result": model.fit(event, data), "status": "ok"}), 201

    return app


def install(patch: pytest.MonkeyPatch) -> None:
    """Let `import label_studio_ml` find the stand-in until the patch is undone."""
    LabelStudioMLBase.kept.clear()
    parts = {
        "label_studio_ml": {},
        "label_studio_ml.model": {"LabelStudioMLBase": LabelStudioMLBase},
        "label_studio_ml.response": {"ModelResponse": ModelResponse},
        "label_studio_ml.api": {"init_app": init_app},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        vars(module).update(content)
        patch.setitem(sys.modules, name, module)
    patch.setattr(sys.modules["label_studio_ml"], "model", sys.modules["label_studio_ml.model"], raising=False)

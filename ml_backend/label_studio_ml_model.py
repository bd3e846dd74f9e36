"""The tagger as a model of label-studio-ml, for teams that already deploy with that package.

One class serves both interfaces of the package. The released 1.0.9 (of 2023) keeps one model for all requests, and
`predict` returns a list. The 2.x line (never released on PyPI; github.com/HumanSignal/label-studio-ml-backend) makes a
model for each request, and `predict` returns a ModelResponse. Importing this module needs the package; nothing else of
this project does. The models are loaded once in each process, by the first request or by `application`.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from label_studio_ml import model as package

from ml_backend.embedded import Embedded, embedded, send_hint
from ml_backend.payload import read_project_id
from ner.errors import RuleError

log = logging.getLogger(__name__)

NO_MODEL = "no model yet"


class NerTagger(package.LabelStudioMLBase):  # type: ignore[misc] # the package has no types
    """Pre-labels texts with the model in service. It trains nothing: training belongs to `loop run`."""

    INITIAL_MODEL_VERSION = NO_MODEL  # of the 2.x interface

    def setup(self) -> None:
        """Of the 2.x interface, called as a model is made: tell the package which version answers."""
        version = embedded().version(self._project_id()) or NO_MODEL
        if str(self.get("model_version")) != version:
            self.set("model_version", version)

    def predict(self, tasks: Sequence[dict[str, Any]], context: object = None, **_: object) -> Any:  # noqa: ARG002
        """A prediction for each task, in order; an empty one for a held-out task. Raises RuleError.

        `context` is what an annotator has just drawn; this model does not use it.
        """
        tagger, project_id = embedded(), self._project_id()
        if project_id is None:
            project_id = _project_of(tasks)
        predictions = tagger.predict(tasks, project_id, self._config_xml(tagger))
        respond = _model_response()
        version = tagger.version(project_id) or NO_MODEL
        return predictions if respond is None else respond(predictions=predictions, model_version=version)

    def fit(self, *given: Any, **named: Any) -> dict[str, Any]:
        """Called for an event of Label Studio, in 1.0.9 for POST /train as well. Leaves a hint to the loop, if any.

        The 2.x interface gives (event, data), 1.0.9 gives (tasks, workdir) and names `event` and `data`.
        """
        if len(given) == 2 and isinstance(given[0], str):
            named = {"event": given[0], "data": given[1], **named}
        event, data = str(named.get("event") or "START_TRAINING"), named.get("data")
        tasks = given[0] if given and not isinstance(given[0], str) else ()
        project_id = _project_in(data) or self._project_id() or _project_of(list(tasks))
        told = project_id is not None and _send(project_id, event)
        return {"trained": False, "hint": told, "note": _TOLD if told else _NOT_TOLD}

    def _project_id(self) -> int | None:
        """Label Studio's id of the project; 1.0.9 does not tell it."""
        return read_project_id(given) if (given := getattr(self, "project_id", "")) else None

    def _config_xml(self, tagger: Embedded) -> str | None:
        """The label config that came with the request; None for the store's.

        1.0.9 keeps the config of the last /setup for every project, so a store's own config is better.
        """
        if tagger.follows_store and not getattr(self, "project_id", ""):
            return None
        config: str | None = self.label_config
        return config


_TOLD = "The loop has a hint to pull; it trains when enough is new."
_NOT_TOLD = "Nothing is trained here: set LOOP_STORE_URL, and let `loop run` train."


def application(model_class: type[NerTagger]) -> Any:
    """The package's Flask app. The models are loaded now, so that a fault shows at the start. Raises RuleError."""
    api = importlib.import_module("label_studio_ml.api")
    app = api.init_app(model_class)
    embedded()
    manager = getattr(package, "LabelStudioMLManager", None)
    if manager is not None:
        _prepare(manager)
    return app


def _prepare(manager: Any) -> None:
    """Mend what hurts in 1.0.9.

    As the package comes, /predict fails until the first /setup after each start, /train fails in most settings, and
    each event is written to a folder with its texts and handled by a fork of the server.
    """
    os.environ.setdefault("LABEL_STUDIO_ML_BACKEND_V2", "1")
    manager.get_job_manager = _Events
    manager.fetch()


class _Events:
    """What 1.0.9 calls a job manager: it runs no jobs, and its last result is the model in service."""

    def run_job(self, model_class: type[NerTagger], args: tuple[str, Mapping[str, Any], str]) -> None:
        """Handle one event."""
        event, data, _ = args
        if event in model_class.TRAIN_EVENTS:
            model_class().fit(event, data)

    def get_result(self, _model_version: str | None = None) -> dict[str, Any]:
        """The package takes `job_id` for the model's version."""
        return {"job_id": embedded().version(None) or NO_MODEL}


def _model_response() -> Any:
    """The class of the 2.x interface; None in 1.0.9."""
    try:
        return importlib.import_module("label_studio_ml.response").ModelResponse
    except ModuleNotFoundError:
        return None


def _send(project_id: int, event: str) -> bool:
    try:
        return send_hint(project_id, event)
    except RuleError as error:
        log.warning("the hint is lost, the next pull will find what it was about: %s", error)
        return False


def _project_in(data: object) -> int | None:
    project = data.get("project") if isinstance(data, Mapping) else None
    given = project.get("id") if isinstance(project, Mapping) else project
    return read_project_id(given) if given else None


def _project_of(tasks: Sequence[object]) -> int | None:
    """The project that the tasks name; whole tasks of Label Studio have the field."""
    first = tasks[0] if tasks else None
    return _project_in(first)

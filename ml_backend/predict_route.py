"""`POST /predict` from a WSGI environment to an answer, for the gate and for Flask alike.

The gate answers it without Flask's request, session and response objects: they take a sixth of the time that a short
text does. Every other route, and every other method here, is Flask's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ml_backend.answers import Answer, failure
from ml_backend.backend import Backend
from ml_backend.payload import read_body, read_json, read_predict
from ml_backend.predict import find_project, predict
from ml_backend.refusals import as_json, status_of
from ner.errors import RuleError

log = logging.getLogger(__name__)


def answer_predict(environ: Mapping[str, Any], backend: Backend) -> tuple[Answer, str]:
    """((status, content), what the log says of the request besides). Never raises."""
    note = ""
    try:
        payload = read_json(read_body(environ, backend.settings.max_body_bytes))
        asked = read_predict(payload, backend.limits)
        note = f" project={asked.ls_project_id} tasks={len(asked.tasks)}"
        served = find_project(backend.live.served, asked.ls_project_id)
        results = predict(asked, served, backend.live, backend.limits, backend.settings.answer_seconds)
    except RuleError as error:
        return refusal("/predict", error), note
    except Exception as error:
        log.exception("/predict failed")
        return failure(error), note
    backend.metrics.predicted(served.linked.slug, len(results))
    return (200, {"results": results}), note


def refusal(route: str, error: RuleError) -> Answer:
    """The answer to a request that broke a rule; its value, which may be somebody's text, is not logged."""
    status = status_of(error)
    log.warning("%s refused (%d): %s", route, status, error.rule)
    return status, as_json(error)

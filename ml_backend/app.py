"""The routes that Label Studio calls, and `/metrics`, as a Flask app.

Every request takes one path: basic auth before it, one count and one line of the log after it. `arrival` hands a
request over once it has arrived whole, so a thread never waits for a client.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from flask import Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from ml_backend.backend import ASK, Backend, health
from ml_backend.payload import (
    UnknownProjectError,
    as_json,
    check_content_type,
    error_body,
    read_json,
    read_predict,
    read_project_id,
    status_of,
)
from ml_backend.predict import find_project, predict
from ml_backend.settings import ServerSettings
from ner.errors import InputError, RuleError

log = logging.getLogger(__name__)
access = logging.getLogger("ml_backend.access")

BACKEND = "ml_backend"
# Under this name an environ holds the RuleError for which the body was not read to its end.
NOT_READ = "ml_backend.not_read"
OPEN = frozenset({"/", "/health"})
_ACTION_CHARS = 100


def create_app(settings: ServerSettings) -> Flask:
    """The app. Its backend is `app.extensions[BACKEND]`, which loads the models when it is started."""
    app = Flask("ml_backend", static_folder=None)
    app.extensions[BACKEND] = Backend(settings)
    app.before_request(_begin)
    app.after_request(_note)
    app.register_error_handler(RuleError, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _failed)
    app.add_url_rule("/", "root", _health)
    app.add_url_rule("/health", view_func=_health)
    app.add_url_rule("/versions", view_func=_versions)
    app.add_url_rule("/metrics", view_func=_metrics)
    app.add_url_rule("/setup", view_func=_setup, methods=["POST"])
    app.add_url_rule("/predict", view_func=_predict, methods=["POST"])
    app.add_url_rule("/webhook", view_func=_webhook, methods=["POST"])
    return app


def _begin() -> Response | None:
    """Start the clock, and ask for credentials where the request needs some and has none."""
    g.began, g.note = time.perf_counter(), ""
    if request.path not in OPEN and not _backend().auth.allows(request.headers.get("Authorization")):
        told = error_body("this needs the user and the password of basic auth", None, "Send an Authorization header.")
        return _answer(told, 401, ASK)
    return None


def _note(response: Response) -> Response:
    """Count the request and log it. Bodies, queries and headers are not logged."""
    seconds = time.perf_counter() - g.began
    route = request.url_rule.rule if request.url_rule else None
    _backend().metrics.answered(route, response.status_code, seconds)
    shown = route or "(no such route)"
    access.info("%s %s %d %.1f ms%s", request.method, shown, response.status_code, 1000 * seconds, g.note)
    if response.status_code >= 400:  # what the client still sends of its body would stand before its next request
        response.headers["Connection"] = "close"
    return response


def _health() -> Response:
    """Answered from memory, to anyone."""
    return _answer(health(_backend()))


def _setup() -> Response:
    """Label Studio connects a backend only if this succeeds, so a project without a model gets a null version.

    The body carries an access token: nothing of the body is stored or logged.
    """
    try:
        served = find_project(_backend().live.served, read_project_id(_payload().get("project")))
    except UnknownProjectError as error:
        return _answer({"model_version": None, "note": str(error)})
    note = "" if served.version else "no model is promoted yet"
    if served.problem is not None:
        note = f"{served.linked.version} cannot be served: {served.problem.rule}"
    return _answer({"model_version": served.version, "note": note})


def _predict() -> Response:
    backend = _backend()
    asked = read_predict(_payload(), backend.limits)
    g.note = f" project={asked.ls_project_id} tasks={len(asked.tasks)}"
    served = find_project(backend.live.served, asked.ls_project_id)
    results = predict(asked, served, backend.live, backend.limits, backend.settings.answer_seconds)
    backend.metrics.predicted(served.linked.slug, len(results))
    return _answer({"results": results})


def _versions() -> Response:
    """The versions in service; with `?project=`, which Label Studio does not send, the version of one project."""
    live = _backend().live
    if "project" in request.args:
        every = [find_project(live.served, read_project_id(request.args["project"]))]
    else:
        every = [one for group in live.served.values() for one in group]
    return _answer({"versions": [one.version for one in every if one.version is not None]})


def _webhook() -> Response:
    """A hint that something changed in Label Studio; the store hears of it later."""
    backend, payload = _backend(), _payload()
    action, project = payload.get("action"), payload.get("project")
    if not isinstance(action, str) or not action.isprintable() or not 0 < len(action) <= _ACTION_CHARS:
        raise InputError(f"`action` is a name of up to {_ACTION_CHARS} characters", value=action)
    backend.hints.add(read_project_id(project.get("id") if isinstance(project, dict) else project), action)
    backend.metrics.hinted()
    return _answer({"status": "accepted", "action": action})


def _metrics() -> Response:
    return Response(_backend().metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


def _backend() -> Backend:
    backend: Backend = current_app.extensions[BACKEND]
    return backend


def _payload() -> dict[str, Any]:
    """The JSON object in the body. Raises WrongTypeError, InputError, and the error that `arrival` met in the body."""
    check_content_type(request.content_type or "")
    if NOT_READ in request.environ:
        problem: RuleError = request.environ[NOT_READ]
        raise problem
    return read_json(request.get_data(cache=False))


def _refused(error: RuleError) -> Response:
    """The value, which may be somebody's text, is sent back but not logged."""
    status = status_of(error)
    log.warning("%s refused (%d): %s", request.path, status, error.rule)
    return _answer(as_json(error), status)


def _http_error(error: HTTPException) -> Response:
    allowed = {"Allow": ", ".join(sorted(methods))} if (methods := getattr(error, "valid_methods", None)) else {}
    return _answer(error_body(error.name, request.path), error.code or 400, allowed)


def _failed(error: Exception) -> Response:
    """What happened stands in the log only."""
    log.error("%s failed", request.path, exc_info=error)
    return _answer(error_body("the backend answers", type(error).__name__, "See the backend's log."), 500)


def _answer(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Compact JSON in ASCII, so that any text comes through any client."""
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, status, headers, mimetype="application/json")

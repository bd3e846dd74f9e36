"""The routes that Label Studio calls, and `/metrics`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from ml_backend.auth import REALM
from ml_backend.backend import Backend, health
from ml_backend.payload import read_json, read_predict, read_project_id
from ml_backend.predict import find_project, predict
from ml_backend.refusals import TooLargeError, UnknownProjectError, WrongTypeError, as_json, error_body, status_of
from ml_backend.settings import Settings
from ner.errors import InputError, RuleError

log = logging.getLogger(__name__)
access = logging.getLogger("ml_backend.access")

_OPEN = frozenset({"root", "health"})
_ACTION_CHARS = 100


def create_app(settings: Settings) -> Flask:
    """The WSGI app. Its threads start with `app.extensions["ml_backend"].start()`, or with the first request."""
    app = Flask("ml_backend", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    backend = Backend(settings)
    app.extensions["ml_backend"] = backend
    _add_routes(app, backend)
    _add_gate(app, backend)
    _add_error_answers(app)
    return app


def _add_routes(app: Flask, backend: Backend) -> None:
    def up() -> Response:
        return _answer(health(backend))

    def setup() -> Response:
        return _answer(_setup(backend, _body()))

    def predictions() -> Response:
        payload = _body()
        asked = read_predict(payload, backend.limits)
        g.tasks, g.project = len(asked.tasks), asked.ls_project_id
        served = find_project(backend.live.served, asked.ls_project_id)
        results = predict(asked, served, backend.live, backend.limits, backend.settings.answer_seconds)
        backend.metrics.predicted(served.linked.slug, len(results))
        return _answer({"results": results})

    def versions() -> Response:
        return _answer(_versions(backend, request.args.get("project")))

    def webhook() -> Response:
        return _answer(_hint(backend, _body()))

    def metrics() -> Response:
        return Response(backend.metrics.exposition(), content_type=CONTENT_TYPE_LATEST)

    routes: list[tuple[str, str, str, Callable[[], Response]]] = [
        ("GET", "/", "root", up),
        ("GET", "/health", "health", up),
        ("POST", "/setup", "setup", setup),
        ("POST", "/predict", "predict", predictions),
        ("GET", "/versions", "versions", versions),
        ("POST", "/webhook", "webhook", webhook),
        ("GET", "/metrics", "metrics", metrics),
    ]
    for method, path, name, view in routes:
        app.add_url_rule(path, name, view, methods=[method])


def _add_gate(app: Flask, backend: Backend) -> None:
    """Before a request: its clock and its credentials. After it: one count and one line, never a body."""

    def enter() -> Response | None:
        g.began = time.perf_counter()
        if request.endpoint not in _OPEN and not backend.auth.allows(request.headers.get("Authorization")):
            refused = error_body("this needs the user and password of basic auth", None, "See BASIC_AUTH_USER.")
            return _answer(refused, 401, {"WWW-Authenticate": REALM})
        backend.start()
        return None

    def leave(response: Response) -> Response:
        seconds = time.perf_counter() - g.began
        backend.metrics.answered(request.endpoint, response.status_code, seconds)
        if access.isEnabledFor(logging.INFO):
            path = request.url_rule.rule if request.url_rule else "(no such route)"
            tail = f" project={g.project} tasks={g.tasks}" if "tasks" in g else ""
            access.info("%s %s %d %.1f ms%s", request.method, path, response.status_code, seconds * 1000, tail)
        return response

    app.before_request(enter)
    app.after_request(leave)


def _add_error_answers(app: Flask) -> None:
    def refused(error: RuleError) -> Response:
        status = status_of(error)
        log.warning("%s refused (%d): %s", request.endpoint, status, error.rule)
        return _answer(as_json(error), status)

    def http_error(error: HTTPException) -> Response:
        if error.response is not None:
            return _answer(error_body(error.name), error.response.status_code)
        if error.code == 413:
            return refused(TooLargeError(f"a body has at most {app.config['MAX_CONTENT_LENGTH']:,} bytes"))
        allowed = {"Allow": ", ".join(sorted(methods))} if (methods := getattr(error, "valid_methods", None)) else {}
        return _answer(error_body(error.name, request.path, error.description or ""), error.code or 400, allowed)

    def failed(error: Exception) -> Response:
        log.error("%s failed", request.endpoint, exc_info=error)
        return _answer(error_body("the backend answers", type(error).__name__, "See the backend's log."), 500)

    app.register_error_handler(RuleError, refused)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, failed)


def _body() -> dict[str, Any]:
    """The JSON object in the request's body; no copy of it is kept with the request."""
    if not request.is_json:
        raise WrongTypeError(
            "a body is sent as application/json",
            value=request.mimetype or "no Content-Type",
            next_step="Set the Content-Type header.",
        )
    return read_json(request.get_data(cache=False))


def _setup(backend: Backend, payload: dict[str, Any]) -> dict[str, Any]:
    """Label Studio connects a backend only if this succeeds, so a project without a model gets a null version.

    The body carries an access token: nothing of it is stored or logged.
    """
    try:
        served = find_project(backend.live.served, read_project_id(payload.get("project")))
    except UnknownProjectError as error:
        return {"model_version": None, "note": str(error)}
    if served.problem is not None:
        return {
            "model_version": served.version,
            "note": f"{served.linked.version} cannot be served: {served.problem.rule}",
        }
    return {"model_version": served.version, "note": "" if served.version else "no model is promoted yet"}


def _versions(backend: Backend, project: str | None) -> dict[str, Any]:
    """The versions in service; of one project where `?project=` names it (Label Studio does not)."""
    if project is not None:
        every = [find_project(backend.live.served, read_project_id(project))]
    else:
        every = [one for group in backend.live.served.values() for one in group]
    return {"versions": [one.version for one in every if one.version is not None]}


def _hint(backend: Backend, payload: dict[str, Any]) -> dict[str, Any]:
    action = payload.get("action")
    if not isinstance(action, str) or not action.isprintable() or not 0 < len(action) <= _ACTION_CHARS:
        raise InputError(f"`action` is a name of up to {_ACTION_CHARS} characters", value=action)
    project = payload.get("project")
    backend.hints.add(read_project_id(project.get("id") if isinstance(project, dict) else project), action)
    backend.metrics.hinted()
    return {"status": "accepted", "action": action}


def _answer(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, status, headers, mimetype="application/json")

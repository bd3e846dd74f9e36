"""The routes that Label Studio calls, and `/metrics`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from ml_backend.answers import encode, failure
from ml_backend.backend import Backend, health
from ml_backend.gate import Gate
from ml_backend.payload import read_body, read_json, read_project_id
from ml_backend.predict import find_project
from ml_backend.predict_route import answer_predict, refusal
from ml_backend.refusals import UnknownProjectError, error_body
from ml_backend.settings import ServerSettings
from ner.errors import InputError, RuleError

log = logging.getLogger(__name__)

_ACTION_CHARS = 100


def create_app(settings: ServerSettings) -> Flask:
    """The WSGI app. Its threads start with `app.extensions["ml_backend"].start()`, or with the first request."""
    app = Flask("ml_backend", static_folder=None)
    backend = Backend(settings)
    app.extensions["ml_backend"] = backend
    _add_routes(app, backend)
    _add_error_answers(app)
    routes = [rule.rule for rule in app.url_map.iter_rules()]
    app.wsgi_app = Gate(app.wsgi_app, backend, routes)  # type: ignore[method-assign]
    return app


def _add_routes(app: Flask, backend: Backend) -> None:
    def up() -> Response:
        return _answer(health(backend))

    def setup() -> Response:
        return _answer(_setup(backend, _body(backend)))

    def predictions() -> Response:
        (status, content), _ = answer_predict(request.environ, backend)
        return _answer(content, status)

    def versions() -> Response:
        return _answer(_versions(backend, request.args.get("project")))

    def webhook() -> Response:
        return _answer(_hint(backend, _body(backend)))

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


def _add_error_answers(app: Flask) -> None:
    def refused(error: RuleError) -> Response:
        status, content = refusal(_route(), error)
        return _answer(content, status)

    def http_error(error: HTTPException) -> Response:
        allowed = {"Allow": ", ".join(sorted(methods))} if (methods := getattr(error, "valid_methods", None)) else {}
        return _answer(error_body(error.name, request.path, error.description or ""), error.code or 400, allowed)

    def failed(error: Exception) -> Response:
        log.error("%s failed", _route(), exc_info=error)
        status, content = failure(error)
        return _answer(content, status)

    app.register_error_handler(RuleError, refused)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, failed)


def _route() -> str:
    return request.url_rule.rule if request.url_rule else "(no such route)"


def _body(backend: Backend) -> dict[str, Any]:
    return read_json(read_body(request.environ, backend.settings.max_body_bytes))


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
    return Response(encode(content), status, headers, mimetype="application/json")

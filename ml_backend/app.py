"""The routes that Label Studio calls, and `/metrics`.

Handlers run on the event loop, where a slow client costs nothing. A handler reads the body there, and leaves what takes
time to the backend's threads. So a thread only ever holds a request that has arrived whole.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ml_backend.access import CLOSE, Access, BasicAuth
from ml_backend.backend import Backend, health
from ml_backend.payload import check_content_type, check_length, read_json, read_predict, read_project_id
from ml_backend.predict import find_project, predict
from ml_backend.refusals import TooSlowError, UnknownProjectError, as_json, error_body, status_of
from ml_backend.settings import ServerSettings
from ner.errors import InputError, RuleError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_ACTION_CHARS = 100
_BODY_SECONDS = 60.0


def create_app(settings: ServerSettings) -> Starlette:
    """The ASGI app. The models are loaded, and the threads start, in the app's lifespan."""
    backend = Backend(settings)
    routes = [
        Route("/predict", _predict, methods=["POST"]),
        Route("/", _health),
        Route("/health", _health),
        Route("/setup", _setup, methods=["POST"]),
        Route("/versions", _versions),
        Route("/webhook", _webhook, methods=["POST"]),
        Route("/metrics", _metrics),
    ]
    auth = BasicAuth(settings.user, settings.password)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Access, auth, backend.metrics, [route.path for route in routes])],
        exception_handlers={RuleError: _refused, HTTPException: _http_error, Exception: _failed},
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.backend = backend
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    backend: Backend = app.state.backend
    backend.start()
    yield
    backend.stop()


async def _health(request: Request) -> Response:
    """Answered from memory, to anyone."""
    return _answer(health(request.app.state.backend))


async def _setup(request: Request) -> Response:
    """Label Studio connects a backend only if this succeeds, so a project without a model gets a null version.

    The body carries an access token: nothing of the body is stored or logged.
    """
    backend: Backend = request.app.state.backend
    payload = await _payload(request)
    try:
        served = find_project(backend.live.served, read_project_id(payload.get("project")))
    except UnknownProjectError as error:
        return _answer({"model_version": None, "note": str(error)})
    note = "" if served.version else "no model is promoted yet"
    if served.problem is not None:
        note = f"{served.linked.version} cannot be served: {served.problem.rule}"
    return _answer({"model_version": served.version, "note": note})


async def _predict(request: Request) -> Response:
    body = await _body(request)
    return Response(await _in_thread(request, lambda: _predictions(request, body)), media_type="application/json")


def _predictions(request: Request, body: bytes) -> bytes:
    """The answer to a body of /predict; runs in a thread of the backend's."""
    backend: Backend = request.app.state.backend
    asked = read_predict(read_json(body), backend.limits)
    request.state.note = f" project={asked.ls_project_id} tasks={len(asked.tasks)}"
    served = find_project(backend.live.served, asked.ls_project_id)
    results = predict(asked, served, backend.live, backend.limits, backend.settings.answer_seconds)
    backend.metrics.predicted(served.linked.slug, len(results))
    return _encode({"results": results})


async def _versions(request: Request) -> Response:
    """The versions in service; with `?project=`, which Label Studio does not send, the version of one project."""
    live = request.app.state.backend.live
    if "project" in request.query_params:
        every = [find_project(live.served, read_project_id(request.query_params["project"]))]
    else:
        every = [one for group in live.served.values() for one in group]
    return _answer({"versions": [one.version for one in every if one.version is not None]})


async def _webhook(request: Request) -> Response:
    """A hint that something changed in Label Studio; the store hears of it later."""
    backend: Backend = request.app.state.backend
    payload = await _payload(request)
    action, project = payload.get("action"), payload.get("project")
    if not isinstance(action, str) or not action.isprintable() or not 0 < len(action) <= _ACTION_CHARS:
        raise InputError(f"`action` is a name of up to {_ACTION_CHARS} characters", value=action)
    backend.hints.add(read_project_id(project.get("id") if isinstance(project, dict) else project), action)
    backend.metrics.hinted()
    return _answer({"status": "accepted", "action": action})


async def _metrics(request: Request) -> Response:
    content = await _in_thread(request, request.app.state.backend.metrics.exposition)
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _payload(request: Request) -> dict[str, Any]:
    body = await _body(request)
    return await _in_thread(request, lambda: read_json(body))


async def _body(request: Request) -> bytes:
    """The whole body of a request that says it is JSON.

    Raises WrongTypeError, TooLargeError, TooSlowError, and InputError when the client has left.
    """
    limit = request.app.state.backend.settings.max_body_bytes
    check_content_type(request.headers.get("content-type", ""))
    given = request.headers.get("content-length", "")
    check_length(int(given) if given.isdecimal() else 0, limit)
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                check_length(len(body), limit)
    except TimeoutError:
        raise TooSlowError("a body arrives in time", next_step="Send the body without long pauses.") from None
    except ClientDisconnect:
        raise InputError("a body arrives whole", value=f"{len(body):,} bytes, then the client left") from None
    return bytes(body)


async def _in_thread(request: Request, work: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(request.app.state.backend.threads, work)


async def _refused(request: Request, error: Exception) -> Response:
    """The value, which may be somebody's text, is sent back but not logged."""
    assert isinstance(error, RuleError)
    status = status_of(error)
    log.warning("%s refused (%d): %s", request.scope["path"], status, error.rule)
    return _answer(as_json(error), status, CLOSE)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(
        error_body(error.detail, request.scope["path"]), error.status_code, CLOSE | dict(error.headers or {})
    )


async def _failed(_request: Request, error: Exception) -> Response:
    """What happened stands in the server's log only, where the server writes it."""
    return _answer(error_body("the backend answers", type(error).__name__, "See the backend's log."), 500, CLOSE)


def _answer(content: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(content), status, headers, media_type="application/json")


def _encode(content: dict[str, Any]) -> bytes:
    """Compact JSON in ASCII, so that any text comes through any client."""
    return json.dumps(content, separators=(",", ":")).encode()

"""Requests that have arrived whole: the ASGI side of the server, in front of the Flask app.

granian reads HTTP and tells of it as ASGI events. This module waits for a body on the event loop, where a slow client
costs nothing, and then hands the request to Flask in a thread. So a thread only ever holds a request that is complete.
Requests of /predict have threads of their own: a health check or a webhook, which is part of an annotator's Submit,
does not wait behind them.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.wsgi import WsgiToAsgiInstance
from flask import Flask
from werkzeug.wrappers import Response

from ml_backend.app import BACKEND, NOT_READ, OPEN
from ml_backend.backend import Backend
from ml_backend.payload import TooSlowError, check_length
from ner.errors import InputError, RuleError

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

BODY_SECONDS = 60.0


class Arrival:
    """The ASGI app. The models are loaded, and the threads start, in its lifespan."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.backend: Backend = app.extensions[BACKEND]

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """One connection's request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.backend.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.backend.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Event, receive: Receive, send: Send) -> None:
        environ = _environ(self._app, scope)
        try:
            body = await self._body(environ, receive)
        except RuleError as error:
            body, environ[NOT_READ] = b"", error
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        threads = self.backend.threads if environ["PATH_INFO"] == "/predict" else self.backend.quick_threads
        response = await asyncio.get_running_loop().run_in_executor(threads, self._respond, environ)
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.get_data()})

    def _respond(self, environ: dict[str, Any]) -> Response:
        return Response.from_app(self._app, environ, buffered=True)

    async def _body(self, environ: dict[str, Any], receive: Receive) -> bytes:
        """The whole body; nothing is read of a client without credentials, whom Flask refuses.

        Raises TooLargeError, TooSlowError, and InputError when the client has left.
        """
        if environ["PATH_INFO"] not in OPEN and not self.backend.auth.allows(environ.get("HTTP_AUTHORIZATION")):
            return b""
        limit = self.backend.settings.max_body_bytes
        given = environ.get("CONTENT_LENGTH", "")
        check_length(int(given) if given.isdecimal() else 0, limit)
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise InputError("a body arrives whole", value=f"{len(body):,} bytes, then the client left")
                    body += event.get("body", b"")
                    check_length(len(body), limit)
                    more = event.get("more_body", False)
        except TimeoutError:
            raise TooSlowError("a body arrives in time", next_step="Send the body without long pauses.") from None
        return bytes(body)


def _environ(app: Flask, scope: Event) -> dict[str, Any]:
    """The WSGI environ of a request without its body, as asgiref makes it; a repeated header's values are joined."""
    translator = WsgiToAsgiInstance(app, duplicate_header_limit=0)  # type: ignore[no-untyped-call]
    translator.scope = scope
    environ: dict[str, Any] = translator.build_environ(scope, None)  # type: ignore[no-untyped-call]
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # the server has undone it
    return environ

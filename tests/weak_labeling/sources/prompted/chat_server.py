"""A real HTTP server of chat completions on 127.0.0.1 that misbehaves as each test asks it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Handler"], None]


def completion(content: object, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}, **more}


def entities(*items: object) -> str:
    """The words of a model that obeys; a pair is (quote, label)."""
    named = [dict(zip(("quote", "label"), item, strict=True)) if isinstance(item, tuple) else item for item in items]
    return json.dumps({"entities": named})


class Handler(BaseHTTPRequestHandler):
    """Answers each request as the server's `behave` says for its text."""

    protocol_version = "HTTP/1.1"
    asked: dict[str, Any]

    def do_POST(self) -> None:
        chat: ChatServer = self.server.chat  # type: ignore[attr-defined]
        self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with chat.lock:
            chat.requests.append(self.asked)
            chat.authorizations.append(self.headers.get("Authorization"))
            chat.paths.append(self.path)
        chat.behave(self)

    @property
    def text(self) -> str:
        """The text that is asked about."""
        return self.asked["messages"][-1]["content"]

    def say(self, body: object, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        """Answer with JSON, or with bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def say_content(self, content: object, finish: str = "stop") -> None:
        """Answer a completion with these words."""
        self.say(completion(content, finish))

    def hang(self, seconds: float) -> None:
        """Send nothing for a while, and then close the connection."""
        time.sleep(seconds)
        self.close()

    def hang_within(self, seconds: float) -> None:
        """Send the beginning of an answer, and the rest never."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"{")
        self.wfile.flush()
        self.hang(seconds)

    def drip(self, seconds: float) -> None:
        """Send a long answer drop by drop."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.02)
        self.close()

    def close(self) -> None:
        """End the connection without a further word."""
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left is no news."""


@dataclass
class ChatServer:
    """What the server was asked, and how it behaves."""

    url: str
    behave: Behaviour = lambda handler: handler.say_content(entities())
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def texts(self) -> list[str]:
        """The texts that were asked about, one for each request."""
        return [request["messages"][-1]["content"] for request in self.requests]


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """A server on a free port of 127.0.0.1."""
    http = _QuietServer(("127.0.0.1", 0), Handler)
    chat = ChatServer(f"http://127.0.0.1:{http.server_port}/v1")
    http.chat = chat  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        http.shutdown()
        http.server_close()
        thread.join()

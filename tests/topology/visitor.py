"""A client of the ML backend, as Label Studio is one: every request resolves the name and connects anew.

`python -m tests.topology.visitor URL PROJECT OUT THREADS PAUSE` sends one-task requests until SIGTERM, each thread with
a pause (seconds) between two of them. It appends one line of JSON for each to OUT: when the request began and ended
(seconds of the clock that all processes share), its status and its error. User and password are those that the backend
itself reads from the environment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import requests

_TEXTS = ("my Outlook crashes on start", "please install Firefox for me", "nothing happens today")
_SECONDS, _UNSEEN = 30.0, 10_000_000


Auth = tuple[str, str] | None


def main(url: str, project: str, out: Path, threads: int, pause: float) -> None:
    """Send requests from some threads until the process is told to end."""
    ended, auth = threading.Event(), _credentials(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with out.open("a", buffering=1) as stream:
        senders = [
            threading.Thread(target=_send, args=(url, project, stream, ended, pause, auth)) for _ in range(threads)
        ]
        for sender in senders:
            sender.start()
        while not ended.wait(0.1):
            pass
        for sender in senders:
            sender.join()


def _send(url: str, project: str, stream: TextIO, ended: threading.Event, pause: float, auth: Auth) -> None:
    number = 0
    while not ended.wait(pause):
        number += 1
        task: dict[str, object] = {"data": {"text": f"{_TEXTS[number % len(_TEXTS)]} {number}"}}
        if number % 2:  # a task of Label Studio's that the store has not seen: the backend asks the store about it
            task["id"] = _UNSEEN + number
        began = time.monotonic()
        status, error, version = 0, "", None
        try:
            answer = requests.post(
                f"{url}/predict", json={"tasks": [task], "project": project}, auth=auth, timeout=_SECONDS
            )
            status = answer.status_code
            version = answer.json()["results"][0]["model_version"] if answer.ok else None
        except requests.RequestException as problem:
            error = type(problem).__name__ + ": " + str(problem)[-120:]
        line = {"began": began, "ended": time.monotonic(), "status": status, "error": error, "version": version}
        stream.write(json.dumps(line) + "\n")


def _credentials(environ: Mapping[str, str]) -> Auth:
    file = environ.get("BASIC_AUTH_PASS_FILE")
    word = Path(file).read_text().strip() if file else environ.get("BASIC_AUTH_PASS", "")
    return (environ["BASIC_AUTH_USER"], word) if word else None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))

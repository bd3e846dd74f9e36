"""Lines of requests are kept for a moment, and written in their order with their own time."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from ml_backend.access_log import _CAPACITY, AccessLog
from tests.ml_backend.given import until

NAME = "ml_backend.access_log"


def test_lines_are_written_in_order_with_the_time_of_their_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, NAME)
    access_log = AccessLog()
    access_log.add("GET", "/health", 200, 0.0015)
    access_log.add("POST", "/predict", 400, 2.0, " project=7 tasks=1")
    answered = time.time()
    assert caplog.messages == []
    time.sleep(0.05)
    access_log.write()
    assert caplog.messages == ["GET /health 200 1.5 ms", "POST /predict 400 2000.0 ms project=7 tasks=1"]
    assert all(record.created <= answered for record in caplog.records)


def test_where_nobody_writes_them_the_oldest_lines_are_let_go_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, NAME)
    access_log = AccessLog()
    for number in range(_CAPACITY + 5):
        access_log.add("GET", f"/{number}", 401, 0.0)
    access_log.write()
    assert len(caplog.messages) == _CAPACITY
    assert caplog.messages[0].startswith("GET /5 ")


def test_the_thread_writes_by_itself_and_leaves_no_line_behind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, NAME)
    access_log = AccessLog()
    access_log.start()
    access_log.add("GET", "/1", 200, 0.0)
    until(lambda: len(caplog.messages) == 1)
    access_log.add("GET", "/2", 200, 0.0)
    access_log.stop()
    assert len(caplog.messages) == 2
    assert "access-log" not in {thread.name for thread in threading.enumerate()}


def test_nothing_is_kept_that_would_not_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, NAME)
    access_log = AccessLog()
    access_log.add("GET", "/health", 200, 0.0)
    caplog.set_level(logging.INFO, NAME)
    access_log.write()
    assert caplog.messages == []

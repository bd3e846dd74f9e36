"""What `loop run` checks and waits for before its first cycle. Nothing here takes long to import.

What a person must mend ends the service with an error that names the mend. What another program mends is waited for: a
service that ended then would be started again and again.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from loop.training.room import NoRoomError, check_room, check_writable
from store.errors import StoreAwayError

logger = logging.getLogger(__name__)

_STORE_POLL = 2.0
# Of the tries to reach a store that is away, each of this number is logged: about once a minute.
_LOGGED_TRIES = 30

_Made = TypeVar("_Made")


def check_folders(home: Path, model_dir: Path) -> None:
    """Raise ConfigError for a folder that cannot be written to. A full disk is logged: pulling goes on without room."""
    check_writable(home, "the project's folder")
    try:
        check_room(model_dir)
    except NoRoomError as error:
        logger.error("nothing is trained until there is room: %s", error)


def when_store_answers(make: Callable[[], _Made], *, sleep: Callable[[float], None] = time.sleep) -> _Made:
    """What `make` gives, once the store's server answers. SIGTERM and SIGINT raise KeyboardInterrupt meanwhile.

    After a restart of the host, the service may be there before the server. What waiting does not mend, such as a wrong
    password, is raised.
    """
    tries = 0
    with interrupted_by(signal.SIGINT, signal.SIGTERM):
        while True:
            try:
                return make()
            except StoreAwayError as error:
                if tries % _LOGGED_TRIES == 0:
                    logger.error("waiting for the store: %s", error)
            tries += 1
            sleep(_STORE_POLL)


@contextmanager
def interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Each of these signals raises KeyboardInterrupt, whatever the process inherited; only a main thread can do this.

    A shell starts a job in the background with SIGINT ignored, and Python then leaves SIGINT ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""`python -m ml_backend`: granian with the app, as the environment says.

granian reads requests in Rust, beside the interpreter, and hands the app what has arrived. Each worker process imports
the app for itself, and loads the promoted models before it listens.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from ml_backend.settings import ServerSettings
from ml_backend.starting import check_in_process
from ner.containers import hold
from ner.errors import ConfigError, RuleError

if TYPE_CHECKING:
    from ml_backend.arrival import Arrival

log = logging.getLogger(__name__)

_LOG_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"
_GRACE_SECONDS = 30
# A client that has sent no whole head by then is let go of; so is a kept connection that nobody uses.
_HEAD_SECONDS = 10
# Each connection is an open file; so are the store, the models and the log.
_MOST_CONNECTIONS, _OTHER_FILES = 10_000, 100
# A thread back from the runtime waits at most so long for the interpreter lock; requests hold the lock for about 1 ms.
# With four clients on two cores this gave 3-8 % over the interpreter's own 5 ms.
_SWITCH_SECONDS = 0.0005
_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def main() -> int:
    """Serve until SIGTERM or SIGINT; 3 for what a person must mend, such as a wrong password or a taken port."""
    for number in (signal.SIGTERM, signal.SIGINT):  # granian's own handlers come later
        signal.signal(number, _leave)
    code = _serve()
    hold(os.environ, code)
    return code


def _serve() -> int:
    # A forked worker would start with its parent's handlers, which would take a signal and forget it.
    multiprocessing.set_start_method("spawn")
    try:
        settings = ServerSettings.from_environ(os.environ)
        set_up_logging(settings)
        host, port = find_address(settings)
    except RuleError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the edge prints
        return error.exit_code
    if code := check_in_process(settings):
        return code
    log.info("listening on http://%s:%d", host, port)
    with _metrics_folder(settings.workers):
        server = Server(**options(settings, host, port))
        try:
            server.serve()
        except SystemExit as ended:  # a worker that heeds Ctrl-C by itself counts as failed, but is not
            return 0 if server.interrupt_signal else int(ended.code or 0)
    return 0


def _leave(*_: object) -> None:
    raise SystemExit(0)


def options(settings: ServerSettings, host: str, port: int) -> dict[str, Any]:
    """granian's options, all of them documented ones."""
    return {
        "target": "ml_backend.serve:worker_application",
        "factory": True,
        "interface": Interfaces.ASGI,
        "address": host,
        "port": port,
        "workers": settings.workers,
        "http": HTTPModes.http1,
        "http1_settings": HTTP1Settings(header_read_timeout=1000 * _HEAD_SECONDS),
        "websockets": False,
        "loop": Loops.asyncio,
        "backpressure": allow_connections(),
        "respawn_failed_workers": True,
        "workers_kill_timeout": _GRACE_SECONDS,
        "log_level": LogLevels(settings.log_level.lower()),
        "log_dictconfig": {"loggers": {"_granian": {"propagate": True}}},
    }


def application() -> Arrival:
    """The app as the environment says, for any ASGI server that takes a factory. Raises ConfigError."""
    settings = ServerSettings.from_environ(os.environ)
    set_up_logging(settings)
    sys.setswitchinterval(_SWITCH_SECONDS)
    prepare_libraries(os.environ)
    app = importlib.import_module("ml_backend.app").create_app(settings)
    arrival: Arrival = importlib.import_module("ml_backend.arrival").Arrival(app)
    return arrival


def worker_application() -> Arrival:
    """The app for a worker process, which ends at once after an orderly shutdown."""
    atexit.register(_end_at_once)
    return application()


def _end_at_once() -> None:
    """End without the libraries' own way out: ONNX Runtime now and then aborts there ("terminate called")."""
    logging.shutdown()
    os._exit(0)


def prepare_libraries(environ: MutableMapping[str, str]) -> None:
    """Keep numpy from starting threads that nothing here uses; numpy reads this when it is first imported.

    What the operator has set stays.
    """
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def set_up_logging(settings: ServerSettings) -> None:
    """Lines on standard error, from the settings' level on."""
    logging.basicConfig(level=settings.logging_level, format=_LOG_FORMAT, stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def allow_connections() -> int:
    """Raise the limit of open files as far as the system allows; how many connections a worker may take then."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return _MOST_CONNECTIONS if most == resource.RLIM_INFINITY else min(_MOST_CONNECTIONS, most - _OTHER_FILES)


@contextmanager
def _metrics_folder(workers: int) -> Iterator[None]:
    """Where several workers put their metrics, for as long as the server runs; one worker needs no folder.

    prometheus_client reads the variable when it is first imported, which happens in `application`.
    """
    if workers == 1:
        os.environ.pop(_METRICS, None)
        yield
        return
    folder = tempfile.mkdtemp(prefix="ner-backend-metrics-")
    os.environ[_METRICS] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_address(settings: ServerSettings) -> tuple[str, int]:
    """The IP address and the port that HOST and PORT stand for; for PORT=0 a port that is free now.

    Raises ConfigError for a port that is taken or an address that is not ours. granian itself would share the port with
    another granian.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
            probe.listen()
        except (OSError, OverflowError) as error:
            raise ConfigError(
                "the backend's address is free",
                value=f"{settings.host}:{settings.port}: {getattr(error, 'strerror', None) or error}",
                next_step="Stop what listens there, or set PORT (and HOST) to another address.",
            ) from error
        host, port = probe.getsockname()[:2]
        return host, port

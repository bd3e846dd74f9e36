"""`python -m ml_backend`: gunicorn with the app, as the environment says.

The app is imported in each worker and not before the fork, so that no thread of a library is left behind by it. A
worker loads the promoted models before it takes its first request.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn import arbiter
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from ml_backend.libraries import make_app
from ml_backend.settings import ServerSettings
from ner.errors import ConfigError, RuleError

log = logging.getLogger(__name__)

_LOG_FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"
# A worker that says nothing for so long is replaced; its main thread says something every second, busy or not.
_SILENT_SECONDS = 60
_GRACE_SECONDS = 30
_KEEP_ALIVE_SECONDS = 75
# A thread back from the runtime waits at most so long for the interpreter lock; requests hold it for about 1 ms. With
# four clients on two cores this gave 3-8 % over the interpreter's own 5 ms.
_SWITCH_SECONDS = 0.0005
# One file each, of the 1024 that a process may commonly have open.
_CONNECTIONS = 800
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def main() -> int:
    """Serve until SIGTERM or SIGINT; 3 when the configuration is wrong or the port is taken."""
    for number in _ENDING:  # gunicorn's own handlers come later
        signal.signal(number, _leave)
    try:
        settings = ServerSettings.from_environ(os.environ)
        listener = listen(settings)
    except RuleError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the edge prints
        return error.exit_code
    _set_up_logging(settings)
    log.info("listening on http://%s:%d", *listener.getsockname()[:2])
    with _metrics_folder(settings.workers):
        try:
            _Server(settings, listener).run()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def _leave(*_: object) -> None:
    """The way out for a signal that comes early."""
    raise SystemExit(0)


def _set_up_logging(settings: ServerSettings) -> None:
    """Lines on standard error. The attributes left out are those that logging's documentation names as costly."""
    logging.basicConfig(level=settings.logging_level, format=_LOG_FORMAT, stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name, value in (("_srcfile", None), ("logThreads", False), ("logMultiprocessing", False)):
        setattr(logging, name, value)


@contextmanager
def _metrics_folder(workers: int) -> Iterator[None]:
    """Where several workers put their metrics, for as long as the server runs; one worker needs none.

    prometheus_client reads the variable when it is first imported, hence before `_Server.load`.
    """
    if workers == 1:
        os.environ.pop(_METRICS, None)
        yield
        return
    owner, folder = os.getpid(), tempfile.mkdtemp(prefix="ner-backend-metrics-")
    os.environ[_METRICS] = folder
    try:
        yield
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)


def listen(settings: ServerSettings) -> socket.socket:
    """The socket that the workers share; raises ConfigError for a port that is taken or an address that is not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections have it from the moment they arrive, which may be before gunicorn sets it: an answer goes out in two
    # pieces, and without it the second one waits 40 ms for the client to acknowledge the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            "the backend's address is free",
            value=f"{settings.host}:{settings.port}: {getattr(error, 'strerror', None) or error}",
            next_step="Stop what listens there, or set PORT (and HOST) to another address.",
        ) from error
    return listener


class _Logger(Logger):  # type: ignore[misc]
    """gunicorn's own lines, in the format of all the others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: ServerSettings, listener: socket.socket) -> None:
        self._settings, self._listener = settings, listener
        super().__init__()

    def load_config(self) -> None:
        # Handed over for good: gunicorn closes this number once it has a socket of its own.
        for name, value in options(self._settings, self._listener.detach()).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return make_app(self._settings, os.environ)

    def run(self) -> None:
        _Arbiter(self).run()


class _Arbiter(arbiter.Arbiter):  # type: ignore[misc]
    def spawn_worker(self) -> Any:
        """A new process starts with the arbiter's handlers, which would take a signal and forget it.

        So signals wait until the worker has handlers of its own and lets them through.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def options(settings: ServerSettings, listener: int) -> dict[str, Any]:
    """gunicorn's settings; `listener` is the file number of the listening socket."""
    return {
        "bind": [f"fd://{listener}"],
        "workers": settings.workers,
        "worker_class": "ml_backend.worker.Worker",
        "threads": settings.threads,
        "worker_connections": _CONNECTIONS,
        "keepalive": _KEEP_ALIVE_SECONDS,
        "timeout": _SILENT_SECONDS,
        "graceful_timeout": _GRACE_SECONDS,
        "loglevel": settings.log_level.lower(),
        "accesslog": None,
        "logger_class": _Logger,
        "control_socket_disable": True,
        "post_worker_init": _post_worker_init,
        "worker_exit": _worker_exit,
        "child_exit": _child_exit,
    }


def _post_worker_init(worker: Any) -> None:
    """Load the models; between two, say that the worker is alive. One that was told to end loads no more."""
    sys.setswitchinterval(_SWITCH_SECONDS)

    def go_on() -> bool:
        worker.notify()
        return bool(worker.alive)

    if worker.alive:
        worker.wsgi.extensions["ml_backend"].start(go_on)


def _worker_exit(_server: object, worker: Any) -> None:
    """End the threads and the process: its libraries' own way out, at the interpreter's end, is not to be relied on.

    ONNX Runtime now and then aborts there ("terminate called"), and a request that hangs would be waited for.
    gunicorn calls this in the arbiter, too, for a worker that was gone already.
    """
    if hasattr(worker, "wsgi"):  # else it ended before it had the app
        worker.wsgi.extensions["ml_backend"].stop()
    if os.getpid() == worker.pid:
        ending = sys.exc_info()[1]
        logging.shutdown()
        os._exit(ending.code & 0xFF if isinstance(ending, SystemExit) and isinstance(ending.code, int) else 0)


def _child_exit(_server: object, worker: Any) -> None:
    """Take the gauges of a worker that is gone out of the sums."""
    if _METRICS not in os.environ:
        return
    multiprocess = importlib.import_module("prometheus_client.multiprocess")
    multiprocess.mark_process_dead(worker.pid)

"""Logits from an inference server, with the local bundle behind it: a request never fails because the server does.

The server answers once its model has been compared with the bundle in service. After a failure the bundle answers at
once, for that window and the next ones. A thread asks the server again, after ever longer pauses, and compares anew;
no annotator's request is used to try the server out. While the server answers, the comparison is repeated now and
then, since a server can load another model under the same name.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from weakref import WeakSet

from ml_backend.settings import LOCAL, ServerSettings
from ner.arrays import Logits
from ner.errors import RuleError
from ner.labels import LabelSet
from ner.models.bundle import Bundle
from ner.models.inference_server import EngineMismatchError, EngineUnavailableError, InferenceServer
from ner.models.network import EngineName, Network
from ner.models.remote_model import Fingerprint, RemoteModel, model_name

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LAST_PAUSE, _DOUBLINGS = 1.0, 60.0, 6
_CHECK_SECONDS = 10.0
# A server is too slow where so many calls in a row take longer than this share of the time that one may take: a request
# of many windows would wait for each of them.
_SLOW_CALLS, _SLOW_SHARE = 10, 0.25
# A server that has answered for so long has recovered: the pauses start from the shortest again.
_STEADY_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_UNFORESEEN = "the inference server failed in a way that nobody foresaw"


@dataclass(frozen=True, slots=True)
class EngineListener:
    """Whom to tell: `answered` that an engine gave one window's logits (slug, engine), `fell_back` why the bundle took
    over (slug, reason), `changed` which engine answers from now on (slug, engine)."""

    answered: Callable[[str, EngineName], object] = lambda *_: None
    fell_back: Callable[[str, str], object] = lambda *_: None
    changed: Callable[[str, EngineName], object] = lambda *_: None


class RemoteNetwork(Network):
    """A bundle's network with a remote copy of the same model in front of it. Threads may share it.

    Its logits are those of the remote model while that is trusted, else those of the bundle's own network. INT8 and
    FP32 copies of a model differ a little, so an answer may depend on which of the two gave it.
    """

    def __init__(
        self, bundle: Bundle, remote: RemoteModel, slug: str, seconds: float, listener: EngineListener
    ) -> None:
        self._local, self._remote = bundle.network, remote
        self._slug, self._version, self._listener = slug, bundle.manifest.version, listener
        self._fingerprint = Fingerprint.of(bundle)
        self._slow_seconds, self._slow_calls = _SLOW_SHARE * seconds, 0
        self._lock = threading.Lock()
        self._trusted = False
        self._problem: RuleError | None = None
        self._failures, self._steady_from, self._due = 0, 0.0, 0.0

    @property
    def engine(self) -> EngineName:
        """Which of the two answers now."""
        return "remote" if self._trusted else "local"

    @property
    def engine_problem(self) -> RuleError | None:
        """Why the bundle answers in place of the server; None where the server answers."""
        return self._problem

    def logits(self, ids: Sequence[int]) -> Logits:
        """As `Network.logits`. Whatever goes wrong with the server, the bundle answers."""
        if self._trusted:
            try:
                logits = self._ask(ids)
            except RuleError as error:
                self._distrust(error)
            except Exception as error:
                log.exception(_UNFORESEEN)
                self._distrust(EngineUnavailableError("the inference server answers", value=repr(error)))
            else:
                self._listener.answered(self._slug, "remote")
                return logits
        self._listener.answered(self._slug, "local")
        return self._local.logits(ids)

    def check_when_due(self) -> None:
        """Compare the remote model with the bundle if it is time to; never raises. One thread calls this."""
        if time.monotonic() < self._due:
            return
        started = time.monotonic()
        try:
            distance = self._remote.check(self._fingerprint)
            if time.monotonic() - started > self._slow_seconds * len(self._fingerprint.windows):
                raise self._too_slow()
        except RuleError as error:
            self._distrust(error, checked=True)
        except Exception as error:
            log.exception(_UNFORESEEN)
            problem = EngineUnavailableError("the inference server answers", value=repr(error))
            self._distrust(problem, checked=True)
        else:
            self._trust(distance)

    def _ask(self, ids: Sequence[int]) -> Logits:
        started = time.monotonic()
        logits = self._remote.logits(ids)
        # Threads count without a lock: a call that is miscounted does no harm.
        self._slow_calls = self._slow_calls + 1 if time.monotonic() - started > self._slow_seconds else 0
        if self._slow_calls >= _SLOW_CALLS:
            self._distrust(self._too_slow())
        return logits

    def _too_slow(self) -> EngineUnavailableError:
        return EngineUnavailableError(
            "an inference server answers fast enough for texts of many windows",
            value=f"calls in a row over {self._slow_seconds:.3g} s: {self._remote.shown}",
            next_step="Give the server more instances, or raise [backend] engine_seconds.",
        )

    def _trust(self, distance: float) -> None:
        with self._lock:
            now = time.monotonic()
            if self._trusted and now - self._steady_from > _STEADY_SECONDS:
                self._failures = 0
            self._due = now + _CHECK_SECONDS
            if self._trusted:
                return
            self._trusted, self._problem, self._steady_from, self._slow_calls = True, None, now, 0
        log.info(
            "project %s: %s is answered by %s from now on (%.3f nats from the bundle)",
            self._slug,
            self._version,
            self._remote.shown,
            distance,
        )
        self._listener.changed(self._slug, "remote")

    def _distrust(self, error: RuleError, *, checked: bool = False) -> None:
        """Let the bundle answer. Requests that fail together count as one failure, and are logged as one."""
        with self._lock:
            first = self._problem is None
            was_trusted, self._trusted = self._trusted, False
            if not was_trusted and not checked:
                return
            news = first or str(error) != str(self._problem)
            self._problem = error
            pause = min(_FIRST_PAUSE * 2 ** min(self._failures, _DOUBLINGS), _LAST_PAUSE)
            self._failures += 1
            self._due = time.monotonic() + pause
        if news:
            log.error(
                "project %s: the local bundle answers for %s; the inference server is asked again in %.0f s: %s",
                self._slug,
                self._version,
                pause,
                error,
            )
        if first:
            self._listener.fell_back(
                self._slug, "mismatch" if isinstance(error, EngineMismatchError) else "unavailable"
            )
            self._listener.changed(self._slug, "local")


def open_engine(settings: ServerSettings, listener: EngineListener | None = None) -> RemoteEngine | None:
    """The inference server that the settings name; None for "local"."""
    if settings.engine == LOCAL:
        return None
    return RemoteEngine(settings.engine, settings.engine_model, settings.engine_seconds, listener)


class RemoteEngine:
    """The inference server of a backend, and the thread that watches over it.

    pattern: see `model_name`. seconds: how long one window may take there, before the bundle answers.
    """

    def __init__(self, url: str, pattern: str, seconds: float, listener: EngineListener | None = None) -> None:
        self._server, self._seconds = InferenceServer(url, seconds), seconds
        self._pattern, self._listener = pattern, listener or EngineListener()
        self._networks: WeakSet[RemoteNetwork] = WeakSet()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def attach(self, bundle: Bundle, slug: str) -> Bundle:
        """The bundle with the remote model in front of its own network, compared once where the server answers.

        The network is watched for as long as something uses it.
        """
        remote = self._remote(slug, bundle.manifest.version, bundle.labels)
        network = RemoteNetwork(bundle, remote, slug, self._seconds, self._listener)
        network.check_when_due()
        with self._lock:
            self._networks.add(network)
        return replace(bundle, network=network)

    def check_labels(self, slug: str, version: str, labels: LabelSet) -> None:
        """Raise EngineMismatchError unless the model on the server has an output for each tag of the labels.

        Raises EngineUnavailableError where that cannot be told.
        """
        self._remote(slug, version, labels).check_metadata()

    def start(self) -> None:
        """Begin to watch over the networks."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, name="remote-engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. A server that is slow to answer it is not waited for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._seconds)

    def _remote(self, slug: str, version: str, labels: LabelSet) -> RemoteModel:
        return RemoteModel(self._server, model_name(self._pattern, slug, version), labels)

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        with self._lock:
            networks = list(self._networks)
        for network in networks:
            network.check_when_due()

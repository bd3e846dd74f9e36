"""Equal requests at the same moment are tagged once: all of them get that answer.

Label Studio asks again about a task that two annotators open, and a client whose connection broke asks again, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait

from ner.models.bundle import Bundle
from ner.tagger import StopCheck, Tagger, Tagging

_Work = Callable[[], list[Tagging]]


class RequestTagger(Tagger):
    """A tagger whose calls for equal texts share the work while it is being done; nothing is kept afterwards.

    A call that waits for another has neither its `progress` nor its `check` called. When the call that works fails,
    for example since its time is up, each call that waited does the work by itself.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        super().__init__(bundle, threads)
        self._lock = threading.Lock()
        self._at_work: dict[tuple[str, ...], Future[list[Tagging]]] = {}

    def tag(self, text: str, check: StopCheck | None = None) -> Tagging:
        """As `Tagger.tag`."""
        tag = super().tag
        return self._once((text,), lambda: [tag(text, check)])[0]

    def tag_many(
        self, texts: Iterable[str], progress: Callable[[int], object] | None = None, check: StopCheck | None = None
    ) -> list[Tagging]:
        """As `Tagger.tag_many`."""
        every, tag_many = tuple(texts), super().tag_many
        return self._once(every, lambda: tag_many(every, progress, check))

    def _once(self, texts: tuple[str, ...], work: _Work) -> list[Tagging]:
        mine: Future[list[Tagging]] = Future()
        with self._lock:
            shared = self._at_work.setdefault(texts, mine)
        if shared is not mine:
            wait([shared])
            return work() if shared.exception() is not None else list(shared.result())
        try:
            mine.set_result(work())
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._at_work[texts]
        return list(mine.result())

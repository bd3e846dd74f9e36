"""What goes wrong while people annotate and pre-labels are asked for: services are stopped, restarted and killed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.topology.accounts import Request
from tests.topology.load import Annotators
from tests.topology.team import Team, Visitor

_AFTER_EACH = 8
_SUBMIT_SECONDS = 240.0


@dataclass(frozen=True)
class Window:
    """Seconds, by the clock that all processes share, between which a service was stopped or started again."""

    begin: float
    end: float

    def meets(self, request: Request) -> bool:
        """Whether the request was in flight at some moment of the window."""
        return request.began <= self.end and request.ended >= self.begin


@dataclass(frozen=True)
class Suffered:
    """When each fault was, what the annotators did, and every request for predictions."""

    kills: tuple[Window, ...]
    windows: Mapping[str, tuple[Window, ...]]
    done: Mapping[str, int]
    requests: tuple[Request, ...]

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if request.failed]


def suffer(team: Team, people: Annotators, visitor: Visitor, *, stopped: float, rounds: int = 1) -> Suffered:
    """Kill a backend, restart PostgreSQL, and stop Label Studio for `stopped` seconds, under load, `rounds` times.

    While PostgreSQL is away, the loop is killed and started again, as after a restart of the host. The annotators go on
    until all is well again.
    """
    kills: list[Window] = []
    windows: dict[str, list[Window]] = {"PostgreSQL restarted": [], "Label Studio stopped": []}
    with visitor.at_work():
        for number in range(rounds):
            kills.append(_kill_backend(team, f"backend-{number % 2 + 1}"))
            people.wait(_AFTER_EACH, _SUBMIT_SECONDS)
            windows["PostgreSQL restarted"].append(_restart_postgres(team))
            people.wait(_AFTER_EACH, _SUBMIT_SECONDS)
            windows["Label Studio stopped"].append(_stop_label_studio(team, stopped))
            people.wait(_AFTER_EACH, _SUBMIT_SECONDS)
        people.stop()
    found = {name: tuple(every) for name, every in windows.items()}
    return Suffered(tuple(kills), found, dict(people.done), tuple(visitor.made()))


def _kill_backend(team: Team, name: str) -> Window:
    """`kill -9`, and a new start, as the restart policy gives it. The window ends once the process is gone."""
    backend = team.topology[name]
    begin = time.monotonic()
    backend.kill()
    end = time.monotonic()
    backend.start()
    team.wait_until_back(backend)
    return Window(begin, end)


def _restart_postgres(team: Team) -> Window:
    begin = time.monotonic()
    team.postgres.stop()
    team.loop.kill()
    team.loop.start()
    time.sleep(1.0)
    team.postgres.start()
    team.wait_until_back(team.postgres)
    return Window(begin, time.monotonic())


def _stop_label_studio(team: Team, seconds: float) -> Window:
    begin = time.monotonic()
    team.label_studio.stop()
    time.sleep(seconds)
    team.label_studio.start()
    team.wait_until_back(team.label_studio)
    return Window(begin, time.monotonic())

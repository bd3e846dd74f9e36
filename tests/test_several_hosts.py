"""Two backends and a loop on hosts of their own: one PostgreSQL, one S3 server, and a model folder for each host."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from loop.cli.app import run
from ner.models.bundle import MODEL
from ner.spans import Span
from store.database.session import open_store
from store.projects import link, project_by_name
from tests.loop import tiny
from tests.loop.desk import LABELS, Desk
from tests.ml_backend.given import LS_URL, Caller, RunningBackend, running, until
from tests.s3_server import READ, S3Server, damage
from tests.store.cluster import Cluster, free_port

GOLD = [
    labelled
    for n in range(40)
    for labelled in (
        (f"windows and excel {n}", (Span(0, 7, "OS"), Span(12, 17, "SOFTWARE"))),
        (f"ubuntu {n}", (Span(0, 6, "OS"),)),
        (f"nothing {n}", ()),
    )
]
ONE, ALL = {"windows": "OS"}, {"windows": "OS", "excel": "SOFTWARE", "ubuntu": "OS"}
FIRST, SECOND, THIRD = "desk-0001", "desk-0002", "desk-0003"
QUICK: dict[str, Any] = {
    "promotion__reference": False,
    "promotion__robustness": 0,
    "promotion__timed": 0,
    "promotion__unlabelled": 0,
    "promotion__resamples": 1000,
}


@dataclass
class Backend:
    """A backend on a host of its own."""

    running: RunningBackend
    models: Path

    def health(self) -> Mapping[str, Any]:
        with urlopen(f"{self.running.url}/health", timeout=30) as answer:
            told: Mapping[str, Any] = json.load(answer)["projects"]["desk"]
        return told

    def serves(self, version: str) -> bool:
        return bool(self.health()["model_version"] == version)

    def kept(self) -> list[str]:
        """The versions in its cache."""
        return sorted(path.name for path in (self.models / "desk").iterdir() if not path.name.startswith("."))


@dataclass
class Hosts:
    """The hosts of one project. The commands of `desk` run on the host "loop", unless another is named."""

    desk: Desk
    s3: S3Server
    bucket: str
    store_url: str
    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def on(self, host: str, *words: str) -> Any:
        """What a command on that host answers, as JSON."""
        self.desk.monkeypatch.setenv("MODEL_DIR", str(self.folder / host))
        said = self.desk.loop(*words, "--json")
        assert said.code == 0, said.err
        return said.json

    def environ(self, host: str, **more: str) -> dict[str, str]:
        """Of a backend on that host, which may only read the bucket's objects."""
        own = {
            "LOOP_STORE_URL": self.store_url,
            "MODEL_DIR": str(self.folder / host),
            "MODEL_STORE": self.address,
            "POLL_SECONDS": "0.05",
            "PORT": "0",
            "PATH": "/usr/bin",
        }
        return {**own, **self.s3.environ(), **more}

    def backend(self, host: str, **more: str) -> Backend:
        started = running(self.environ(host, **more), self.folder / f"{host}.log")
        return Backend(self.stack.enter_context(started), self.folder / host)

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/team"


@pytest.fixture
def hosts(
    s3: S3Server,
    postgres: Cluster,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Hosts]:
    """A project with gold in its holdout, linked to Label Studio; no model yet."""
    database = postgres.create()
    url = postgres.url(database)
    for name in ("LOOP_HOME", "MODEL_STORE", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOOP_STORE_URL", url)
    assert run(["init", str(tmp_path / "desk"), "--labels", ",".join(LABELS)]) == 0
    capsys.readouterr()
    made = Hosts(Desk(tmp_path / "desk", capsys, monkeypatch), s3, s3.bucket(), url, tmp_path)
    made.desk.configure(store__url=url, models__remote=made.address, models__dir=str(tmp_path / "loop"), **QUICK)
    with open_store(url).transaction() as tx:
        project = project_by_name(tx.session, "desk")
        link(tx, project.id, LS_URL, 7)
        tx.commit()
    tiny.put(open_store(url), project, list(GOLD), "holdout")
    with made.stack:
        yield made
    postgres.drop(database)


def test_a_promotion_and_a_rollback_reach_both_backends_and_fail_no_request(hosts: Hosts) -> None:
    hosts.desk.candidate(ONE)
    assert hosts.on("loop", "promote")["promoted"]
    backends = [hosts.backend("one", WORKERS="2"), hosts.backend("two", MODEL_CACHE_MB="1")]
    assert [backend.serves(FIRST) for backend in backends] == [True, True]
    stop = threading.Event()
    callers = [
        Caller(one.running.url.removeprefix("http://"), keep, stop) for one in backends for keep in (True, False)
    ]
    with _calling(callers, stop):
        hosts.desk.candidate(ALL)
        assert hosts.on("loop", "promote")["promoted"]
        until(lambda: {caller.versions[-1] for caller in callers} == {SECOND})
        # Another host takes it back: this host has neither model, and fetches what it verifies.
        assert hosts.on("another", "rollback", "--reason", "a test")["version"] == FIRST
        until(lambda: {caller.versions[-1] for caller in callers} == {FIRST})
    assert [caller.failures for caller in callers] == [[], [], [], []]
    assert sorted(path.name for path in (hosts.folder / "another" / "desk").iterdir()) == [".fetch.lock", FIRST]


@contextmanager
def _calling(callers: Sequence[Caller], stop: threading.Event) -> Iterator[None]:
    """Each caller asks, one request after the other, until the end of the block."""
    threads = [threading.Thread(target=caller.run) for caller in callers]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(caller.versions or caller.failures for caller in callers))
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_an_altered_model_is_refused_and_the_old_one_serves_until_it_is_whole(hosts: Hosts) -> None:
    hosts.desk.candidate(ONE)
    hosts.on("loop", "promote")
    backend = hosts.backend("one")
    hosts.desk.candidate(ALL)
    hosts.on("loop", "promote")
    until(lambda: backend.serves(SECOND))
    key = f"team/desk/{FIRST}/{MODEL}"
    whole = hosts.s3.content(hosts.bucket, key)
    other = hosts.backend("two")
    damage(hosts.s3, hosts.bucket, key, "altered")
    hosts.on("loop", "rollback", "--reason", "a test")
    until(lambda: "SHA-256" in (other.health()["problem"] or ""))
    assert other.serves(SECOND)
    assert other.kept() == [SECOND]
    until(lambda: backend.serves(FIRST))  # from its cache
    hosts.s3.put(hosts.bucket, key, whole)
    until(lambda: other.serves(FIRST))
    assert other.health()["problem"] is None


def test_a_candidate_that_could_not_be_sent_waits_and_is_sent_by_the_next_try(hosts: Hosts) -> None:
    hosts.desk.candidate(ONE)
    hosts.desk.monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    refused = hosts.desk.loop("promote")
    assert (refused.code, "Check the network and AWS_ENDPOINT_URL" in refused.err) == (9, True)
    hosts.desk.monkeypatch.setenv("AWS_ENDPOINT_URL", hosts.s3.url)
    doctor = {check["name"]: check for check in hosts.on("loop", "doctor")["checks"]}
    assert doctor["shared models"]["state"] == "warn"
    assert f"only here: {FIRST}" in doctor["shared models"]["finding"]
    assert hosts.on("loop", "promote")["promoted"]
    assert f"team/desk/{FIRST}/manifest.json" in hosts.s3.objects(hosts.bucket)


def test_a_rollback_waits_for_no_shared_folder(hosts: Hosts) -> None:
    for words in (ONE, ALL):
        hosts.desk.candidate(words)
        hosts.on("loop", "promote")
    hosts.desk.monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    assert hosts.on("loop", "rollback", "--reason", "a test")["version"] == FIRST


def test_a_candidate_of_another_host_that_was_not_sent_is_named_and_stays_one(hosts: Hosts) -> None:
    hosts.desk.candidate(ONE)
    hosts.desk.monkeypatch.setenv("MODEL_DIR", str(hosts.folder / "another"))
    refused = hosts.desk.loop("promote")
    assert refused.code == 9
    assert "on the host that trained it" in refused.err
    assert hosts.on("loop", "promote")["promoted"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"MODEL_STORE": "s3://no-such-bucket/team"}, "NoSuchBucket. Make s3://no-such-bucket/team"),
        ({"MODEL_STORE": "gs://bucket"}, "Please install gcsfs"),
    ],
)
def test_a_backend_that_cannot_use_the_shared_folder_ends_at_start_and_says_why(
    hosts: Hosts, more: dict[str, str], told: str
) -> None:
    with pytest.raises(RuntimeError) as ended:
        hosts.backend("one", **more)
    assert told in str(ended.value)


def test_a_backend_without_rights_ends_at_start_and_says_which_it_needs(hosts: Hosts) -> None:
    with hosts.s3.enforcing(hosts.bucket, ["s3:GetObject"]) as credentials, pytest.raises(RuntimeError) as ended:
        hosts.backend("one", **credentials)
    assert "AccessDenied. Allow listing and reading" in str(ended.value)


def test_the_loop_ends_at_start_where_it_may_not_write(hosts: Hosts) -> None:
    hosts.desk.monkeypatch.setenv("LABEL_STUDIO_URL", LS_URL)
    hosts.desk.monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    with hosts.s3.enforcing(hosts.bucket, READ) as credentials:
        for name, value in credentials.items():
            hosts.desk.monkeypatch.setenv(name, value)
        said = hosts.desk.loop("run", "--once")
    assert (said.code, "AccessDenied" in said.err, "s3:PutObject" in said.err) == (3, True, True)

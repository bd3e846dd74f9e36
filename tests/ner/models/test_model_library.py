"""Models between hosts: sent whole, fetched once and by their hashes, and kept in a cache that does not grow."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ner.errors import BundleError, BundleUnavailableError
from ner.models.bundle import MANIFEST, MODEL, load_bundle, read_manifest
from ner.models.model_library import ModelLibrary
from ner.models.shared_folder import SharedFolder, SharedFolderError
from tests.fakes import tiny_bundle
from tests.s3_server import S3Server, damage
from tests.store.cluster import free_port

LABELS, WORDS = ("OS",), {"windows": "OS"}
A, B, C = "desk/desk-0001", "desk/desk-0002", "desk/desk-0003"
LARGE = 2**30


@dataclass
class Hosts:
    """Hosts that share a bucket, each with a folder of its own."""

    s3: S3Server
    bucket: str
    folder: Path
    files: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/models"

    def host(self, name: str, cache_bytes: int = LARGE) -> ModelLibrary:
        return ModelLibrary(self.folder / name, SharedFolder(self.address), cache_bytes)

    def trained(self, host: ModelLibrary, path: str, **words: str) -> dict[str, str]:
        """Write a model as a training does; gives the hashes that the store notes."""
        final = host.folder / path
        final.parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle(final, LABELS, words or WORDS, version=final.name)
        manifest = hashlib.sha256((final / MANIFEST).read_bytes()).hexdigest()
        self.files[path] = {**read_manifest(final).files, MANIFEST: manifest}
        return self.files[path]

    def shared(self, path: str = A) -> ModelLibrary:
        """A host that has trained this model and sent it."""
        host = self.host("trainer")
        assert host.share(path, self.trained(host, path))
        return host


@pytest.fixture
def hosts(s3: S3Server, tmp_path: Path) -> Hosts:
    return Hosts(s3, s3.bucket(), tmp_path)


def names(folder: Path) -> list[str]:
    """What stands in a project's folder on a host."""
    return sorted(path.name for path in (folder / "desk").iterdir() if path.name != ".fetch.lock")


def test_another_host_fetches_what_was_sent(hosts: Hosts) -> None:
    trainer = hosts.shared()
    fetched = hosts.host("server").bundle(A, hosts.files[A])
    assert load_bundle(fetched).manifest == load_bundle(trainer.folder / A).manifest
    assert names(hosts.folder / "server") == ["desk-0001"]


def test_a_model_is_sent_once(hosts: Hosts) -> None:
    trainer = hosts.shared()
    assert not trainer.share(A, hosts.files[A])
    assert not hosts.host("trainer").share(A, hosts.files[A])


def test_a_model_that_was_removed_from_the_shared_folder_is_sent_again(hosts: Hosts) -> None:
    trainer = hosts.shared()
    for key in hosts.s3.objects(hosts.bucket):
        hosts.s3.client.delete_object(Bucket=hosts.bucket, Key=key)
    trainer.look_again("desk")
    assert trainer.share(A, hosts.files[A])
    load_bundle(hosts.host("server").bundle(A, hosts.files[A]))


def test_without_a_shared_folder_nothing_is_fetched_or_removed(tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path)
    assert library.bundle(A, {}) == tmp_path / A
    assert not library.share(A, {})
    assert list(tmp_path.iterdir()) == []


@dataclass
class Failing:
    """Lets a shared folder fail after so many files were sent."""

    send: Callable[[Path, str], None]
    left: int

    def __call__(self, file: Path, path: str) -> None:
        if self.left == 0:
            raise SharedFolderError("the shared folder of the models answers", value="the line is cut")
        self.left -= 1
        self.send(file, path)


def test_half_a_model_is_no_model_and_the_next_try_sends_the_rest(hosts: Hosts) -> None:
    trainer, server = hosts.host("trainer"), hosts.host("server")
    files = hosts.trained(trainer, A)
    assert trainer.shared is not None
    trainer.shared.send = Failing(trainer.shared.send, left=2)  # type: ignore[method-assign]
    with pytest.raises(SharedFolderError, match="the line is cut"):
        trainer.share(A, files)
    assert len(hosts.s3.objects(hosts.bucket)) == 2
    with pytest.raises(BundleUnavailableError, match=r"neither .*desk-0001 nor s3://.*`loop run` or `loop promote`"):
        server.bundle(A, files)
    assert hosts.host("trainer").share(A, files)
    assert load_bundle(server.bundle(A, files)).manifest.version == "desk-0001"


@pytest.mark.parametrize("how", ["truncated", "altered"])
@pytest.mark.parametrize("name", [MODEL, "tokenizer.json", MANIFEST])
def test_a_damaged_object_is_refused_and_fetched_again_once_it_is_whole(hosts: Hosts, how: str, name: str) -> None:
    hosts.shared()
    server, key = hosts.host("server"), f"models/{A}/{name}"
    whole = hosts.s3.content(hosts.bucket, key)
    damage(hosts.s3, hosts.bucket, key, how)
    with pytest.raises(BundleError):
        server.bundle(A, hosts.files[A])
    assert names(server.folder) == []
    hosts.s3.put(hosts.bucket, key, whole)
    assert load_bundle(server.bundle(A, hosts.files[A])).manifest.version == "desk-0001"


def test_a_manifest_that_was_written_anew_is_refused(hosts: Hosts) -> None:
    hosts.shared()
    key = f"models/{A}/{MANIFEST}"
    again = hosts.s3.content(hosts.bucket, key).replace(b'"seed": ', b'"seed": 1')
    hosts.s3.put(hosts.bucket, key, again)
    with pytest.raises(BundleError, match=r"is the one that the store knows: got s3://.*desk-0001: manifest\.json"):
        hosts.host("server").bundle(A, hosts.files[A])


def test_a_file_outside_the_folder_is_refused(hosts: Hosts) -> None:
    hosts.shared()
    key = f"models/{A}/{MANIFEST}"
    content = hosts.s3.content(hosts.bucket, key).replace(b'"model.onnx"', b'"../../model.onnx"')
    hosts.s3.put(hosts.bucket, key, content)
    with pytest.raises(BundleError, match="lie in its folder"):
        hosts.host("server").bundle(A, {})


def test_another_store_may_not_take_the_place_of_a_model(hosts: Hosts) -> None:
    hosts.shared()
    other = hosts.host("other")
    with pytest.raises(BundleError, match=r"one model under one path.*another prefix"):
        other.share(A, hosts.trained(other, A, linux="OS"))


def test_a_damaged_model_is_not_sent(hosts: Hosts) -> None:
    trainer = hosts.host("trainer")
    files = hosts.trained(trainer, A)
    (trainer.folder / A / MODEL).write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"the SHA-256 of model\.onnx"):
        trainer.share(A, files)
    assert hosts.s3.objects(hosts.bucket) == []


def test_a_damaged_copy_of_a_shared_model_is_fetched_again(hosts: Hosts) -> None:
    trainer = hosts.shared()
    (trainer.folder / A / MODEL).write_bytes(b"no graph")
    load_bundle(hosts.host("trainer").bundle(A, hosts.files[A]))


def test_a_damaged_copy_is_kept_where_it_is_the_only_one(hosts: Hosts) -> None:
    trainer = hosts.host("trainer")
    files = hosts.trained(trainer, A)
    (trainer.folder / A / MODEL).write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"the SHA-256 of model\.onnx"):
        trainer.bundle(A, files)
    assert names(trainer.folder) == ["desk-0001"]


def test_what_is_here_is_used_while_the_shared_folder_is_away(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.shared()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    away = hosts.host("trainer")
    load_bundle(away.bundle(A, hosts.files[A]))
    with pytest.raises(SharedFolderError, match="answers"):
        away.bundle(B, {})


# Processes of one host

_FETCH = """
import sys, logging
from pathlib import Path
from ner.models.bundle import load_bundle
from ner.models.model_library import ModelLibrary
logging.basicConfig(level="INFO")
folder, address, path = sys.argv[1:]
library = ModelLibrary.at(Path(folder), address, 1000)
load_bundle(library.bundle(path, {}))
print("in use", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(hosts: Hosts) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a process that uses model A on the host "server", until its input ends."""
    started: list[subprocess.Popen[str]] = []

    def begin(path: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", _FETCH, str(hosts.folder / "server"), hosts.address, path]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_fetch_a_model_once(hosts: Hosts, start: Callable[[str], subprocess.Popen[str]]) -> None:
    hosts.shared()
    said = [process.communicate("", 60) for process in [start(A), start(A)]]
    assert [out for out, _ in said] == ["in use\n", "in use\n"]
    assert sum("was fetched from" in err for _, err in said) == 1


def test_a_child_that_is_forked_during_a_fetch_does_not_keep_other_processes_from_fetching(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.shared()
    server, (waits, ends), children = hosts.host("server"), os.pipe(), []
    fetch_file = server._fetch_file

    def forking(*args: Any) -> None:
        children.append(os.fork())
        if children[-1] == 0:
            os.close(ends)
            os.read(waits, 1)
            os._exit(0)
        fetch_file(*args)

    monkeypatch.setattr(server, "_fetch_file", forking)
    try:
        server.bundle(A, hosts.files[A])
        with (server.folder / "desk" / ".fetch.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(ends)
        for child in children:
            os.waitpid(child, 0)
        os.close(waits)


def test_what_a_dead_process_left_is_no_model_and_goes_with_the_next_fetch(hosts: Hosts) -> None:
    hosts.shared()
    server = hosts.host("server")
    for name in (".fetching-desk-0001", ".fetching-desk-0009", ".leaving-desk-0008"):
        (server.folder / "desk" / name).mkdir(parents=True)
        (server.folder / "desk" / name / MODEL).write_bytes(b"half")
    load_bundle(server.bundle(A, hosts.files[A]))
    assert names(server.folder) == ["desk-0001"]


# The cache


@pytest.fixture
def three(hosts: Hosts) -> Hosts:
    """Three models in the shared folder."""
    for path in (A, B, C):
        hosts.shared(path)
    return hosts


def size_of_two(hosts: Hosts) -> int:
    """Room for two models, and not for three."""
    return hosts.host("trainer").size() * 5 // 6


def used(host: ModelLibrary, path: str, hosts: Hosts, seconds_ago: int) -> None:
    """Use a model and let go of it, so long ago."""
    folder = host.bundle(path, hosts.files[path])
    at = folder.stat().st_mtime - seconds_ago
    os.utime(folder, (at, at))
    host.release()


def test_the_models_used_least_recently_leave_the_cache(three: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = three.host("server", size_of_two(three))
    used(server, A, three, seconds_ago=10)
    used(server, B, three, seconds_ago=20)
    server.bundle(C, three.files[C])
    assert names(server.folder) == ["desk-0001", "desk-0003"]
    assert "desk/desk-0002 leaves the cache" in caplog.text


def test_a_model_that_left_the_cache_is_fetched_again(three: Hosts) -> None:
    server = three.host("server", cache_bytes=1)
    used(server, A, three, seconds_ago=10)
    used(server, B, three, seconds_ago=5)
    assert names(server.folder) == ["desk-0002"]
    load_bundle(server.bundle(A, three.files[A]))


def test_a_model_in_use_stays_until_it_is_let_go(three: Hosts) -> None:
    server = three.host("server", cache_bytes=1)
    server.bundle(A, three.files[A])
    server.bundle(B, three.files[B])
    assert names(server.folder) == ["desk-0001", "desk-0002"]
    server.release(keep={B})
    server.bundle(C, three.files[C])
    assert names(server.folder) == ["desk-0002", "desk-0003"]


def test_a_model_that_another_process_uses_stays(three: Hosts, start: Callable[[str], subprocess.Popen[str]]) -> None:
    process = start(A)
    assert process.stdout is not None
    assert process.stdout.readline() == "in use\n"
    server = three.host("server", cache_bytes=1)
    used(server, B, three, seconds_ago=10)
    used(server, C, three, seconds_ago=5)
    assert names(server.folder) == ["desk-0001", "desk-0003"]
    process.kill()  # the lock ends with the process
    process.wait()
    used(server, B, three, seconds_ago=0)
    assert names(server.folder) == ["desk-0002"]


def test_a_model_that_the_shared_folder_lacks_stays_until_it_is_sent(three: Hosts) -> None:
    trainer, only_here = three.host("trainer", cache_bytes=1), "desk/desk-0004"
    files = three.trained(trainer, only_here)
    used(trainer, A, three, seconds_ago=0)
    assert names(trainer.folder) == ["desk-0001", "desk-0004"]
    trainer.share(only_here, files)
    used(trainer, B, three, seconds_ago=0)
    assert names(trainer.folder) == ["desk-0002"]


def test_the_cache_keeps_everything_while_the_shared_folder_is_away(
    three: Hosts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    away = three.host("trainer", cache_bytes=1)
    away.bundle(A, three.files[A])
    assert names(away.folder) == ["desk-0001", "desk-0002", "desk-0003"]
    assert caplog.text.count("the cache stays too large") == 1  # the other models do not wait for the same answer


def test_a_model_that_another_process_removes_meanwhile_is_no_failure(
    three: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = three.host("server", cache_bytes=1)
    used(server, A, three, seconds_ago=10)
    found = [server.folder / B, server.folder / A]  # B has been removed since
    monkeypatch.setattr(server, "_folders", lambda: found)
    server.bundle(C, three.files[C])
    assert names(server.folder) == ["desk-0003"]

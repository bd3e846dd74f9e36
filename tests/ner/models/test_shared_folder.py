"""The folder that several hosts share: on a real S3 server and on the disk; what stands against its use is named."""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

import pytest

from ner.errors import ConfigError
from ner.models.shared_folder import SharedFolder, SharedFolderError, check_at_start
from tests.s3_server import READ, S3Server
from tests.store.cluster import free_port


@pytest.fixture(params=["s3", "file"])
def address(request: pytest.FixtureRequest, s3: S3Server, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"s3://{s3.bucket()}/team/models"
    (tmp_path / "shared").mkdir()
    return f"file://{tmp_path / 'shared'}"


def test_what_one_host_writes_another_reads(address: str, tmp_path: Path) -> None:
    one, other = SharedFolder(address), SharedFolder(address)
    (tmp_path / "large").write_bytes(bytes(range(256)) * 100)
    one.check(writing=True)
    assert other.read("desk/a/manifest.json") is None
    assert other.names("desk") == frozenset()
    one.send(tmp_path / "large", "desk/a/adapter/large")
    one.write("desk/a/manifest.json", b"{}")
    assert other.read("desk/a/manifest.json") == b"{}"
    assert other.names("desk") == {"a"}
    parts = list(other.parts("desk/a/adapter/large", 1000))
    assert {len(part) for part in parts[:-1]} == {1000}
    assert b"".join(parts) == (tmp_path / "large").read_bytes()


def test_a_file_that_is_missing_is_named(address: str) -> None:
    with pytest.raises(SharedFolderError, match=r"every file of a model is in the shared folder: got .*desk/a/x"):
        list(SharedFolder(address).parts("desk/a/x", 10))


def test_a_bucket_that_does_not_exist_is_named(s3: S3Server) -> None:
    with pytest.raises(ConfigError, match=r"is there: got s3://nowhere/models: NoSuchBucket\. Make s3://nowhere"):
        SharedFolder("s3://nowhere/models").check(writing=False)


@pytest.mark.parametrize(
    ("rights", "writing", "allowed"),
    [
        (READ, False, True),
        (READ, True, False),
        ((*READ, "s3:PutObject"), True, True),
        (("s3:GetObject",), False, False),
    ],
)
def test_rights_that_are_missing_are_named(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, rights: tuple[str, ...], writing: bool, allowed: bool
) -> None:
    bucket = s3.bucket()
    with s3.enforcing(bucket, rights) as credentials:
        for name, value in credentials.items():
            monkeypatch.setenv(name, value)
        folder = SharedFolder(f"s3://{bucket}/models")
        if allowed:
            folder.check(writing=writing)
            return
        with pytest.raises(
            ConfigError, match=rf"with our rights: got s3://{bucket}/models.*AccessDenied.*s3:PutObject"
        ):
            folder.check(writing=writing)


@pytest.mark.parametrize(
    ("key", "said"), [("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")]
)
def test_a_wrong_key_is_named_and_not_shown(s3: S3Server, monkeypatch: pytest.MonkeyPatch, key: str, said: str) -> None:
    bucket = s3.bucket()
    with s3.enforcing(bucket, READ) as credentials:
        for name, value in (credentials | {key: "a-wrong-one"}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError, match=f"{said}.*AWS_SECRET_ACCESS_KEY") as refused:
            SharedFolder(f"s3://{bucket}").check(writing=False)
        assert not any(value in str(refused.value) for value in (*credentials.values(), "a-wrong-one"))


def test_credentials_may_stand_in_files(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bucket = s3.bucket()
    with s3.enforcing(bucket, READ) as credentials:
        for name, value in credentials.items():
            monkeypatch.delenv(name)
            monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
            (tmp_path / name).write_text(f"{value}\n")
        SharedFolder(f"s3://{bucket}").check(writing=False)
        (tmp_path / "AWS_SECRET_ACCESS_KEY").unlink()
        with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY_FILE names a file that this user can read"):
            SharedFolder(f"s3://{bucket}")


def test_missing_credentials_are_named(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # Where the metadata service of a cloud would answer, nobody does.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://169.254.169.254.nip.invalid:{free_port()}")
    with pytest.raises(ConfigError, match=r"takes our credentials: got none for s3://.*Set AWS_ACCESS_KEY_ID and"):
        SharedFolder(f"s3://{s3.bucket()}").check(writing=False)


def test_a_server_that_does_not_answer_is_logged_at_start_and_what_is_here_is_served(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SharedFolderError, match=r"answers: got s3://b/models.*Check the network and AWS_ENDPOINT_URL"):
        SharedFolder("s3://b/models").check(writing=False)
    check_at_start("s3://b/models", tmp_path / "models", writing=False)
    assert "only models that are here can be used" in caplog.text


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("models", "is an address: got models. Write it as s3://bucket/prefix"),
        ("s3://", "is an address"),
        ("file://models", "or as file:///absolute/path"),
        ("nothing://a/b", "nothing://a/b: Protocol not known"),
        ("gs://bucket/models", "the package for gs:// addresses is installed: got Please install gcsfs"),
    ],
)
def test_an_address_that_cannot_be_opened_is_refused(address: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SharedFolder(address)
    assert told in str(refused.value)


def test_the_package_for_s3_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.fsspec", None)
    with pytest.raises(ConfigError, match=r's3:// addresses is installed.*pip install "ner-annotation-loop\[s3\]"'):
        SharedFolder("s3://bucket/models")


def test_a_folder_that_is_not_mounted_is_refused_and_not_made(tmp_path: Path) -> None:
    folder = SharedFolder(f"file://{tmp_path / 'not-mounted'}")
    with pytest.raises(ConfigError, match=r"is there: got file:///.*not-mounted.*mount it"):
        folder.check(writing=True)
    with pytest.raises(SharedFolderError, match="mount it"):
        folder.write("desk/a/manifest.json", b"{}")
    assert not (tmp_path / "not-mounted").exists()


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    shared = SharedFolder(f"file://{tmp_path}")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, most))
    try:
        with pytest.raises(SharedFolderError, match="File too large"):
            shared.write("desk/a/manifest.json", b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        signal.signal(signal.SIGXFSZ, before)
    assert shared.read("desk/a/manifest.json") is None
    assert shared.names("desk/a") == frozenset()


def test_a_local_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"\(MODEL_DIR\): got .*file/models: Not a directory\. Make it writable"):
        check_at_start(f"file://{tmp_path}", tmp_path / "file" / "models", writing=False)


def test_no_message_shows_a_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        SharedFolder("nothing://me:secret@host/models?signature=secret")
    assert "nothing://host/models" in str(refused.value)
    assert "secret" not in str(refused.value)

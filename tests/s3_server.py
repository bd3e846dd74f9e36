"""A real S3 server of the tests' own: moto's, over HTTP, which keeps objects in memory and can enforce rights."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.request import Request, urlopen

import boto3
from moto.server import ThreadedMotoServer

_REGION = "us-east-1"
READ = ("s3:ListBucket", "s3:GetObject")
_numbers = itertools.count()


@dataclass
class S3Server:
    """A running server, and what a test does to its objects behind the project's back."""

    url: str
    client: Any = field(repr=False)

    def environ(self, **credentials: str) -> dict[str, str]:
        """The variables by which a process finds the server; with these credentials where given."""
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        return {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": _REGION, **keys, **credentials}

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"models-{next(_numbers)}"
        self.client.create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> list[str]:
        """The keys of all objects, but for the object by which rights are checked."""
        found = self.client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return [one["Key"] for one in found if "may-be-written" not in one["Key"]]

    def content(self, bucket: str, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    @contextmanager
    def enforcing(self, bucket: str, actions: Sequence[str]) -> Iterator[dict[str, str]]:
        """The credentials of a user who may do only this to the bucket. Until the end, rights are enforced."""
        iam = boto3.client("iam", **_options(self.url))
        name = f"user-{next(_numbers)}"
        iam.create_user(UserName=name)
        allowed = {
            "Effect": "Allow",
            "Action": list(actions),
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self._enforce_after(b"0")
        try:
            yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        finally:
            self._enforce_after(b"inf")

    def _enforce_after(self, requests: bytes) -> None:
        plain = {"Content-Type": "text/plain"}
        urlopen(Request(f"{self.url}/moto-api/reset-auth", data=requests, method="POST", headers=plain)).close()


def _options(url: str) -> dict[str, str]:
    return {
        "endpoint_url": url,
        "region_name": _REGION,
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
    }


@contextmanager
def running() -> Iterator[S3Server]:
    """A server for as long as the block lasts."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        yield S3Server(url, boto3.client("s3", **_options(url)))
    finally:
        server.stop()


def damage(s3: S3Server, bucket: str, key: str, how: str) -> None:
    """Cut an object in half, or change its last byte."""
    content = s3.content(bucket, key)
    changed = content[: len(content) // 2] if how == "truncated" else content[:-1] + bytes([content[-1] ^ 1])
    s3.put(bucket, key, changed)

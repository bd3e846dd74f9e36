"""Basic auth lets in one user."""

from __future__ import annotations

import base64

import pytest

from ml_backend.backend import BasicAuth


def header(text: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(text.encode()).decode()}"


def test_the_right_user_and_password_are_let_in() -> None:
    assert BasicAuth("user", "pass:wörd").allows(header("user:pass:wörd"))


def test_the_scheme_is_read_in_any_case() -> None:
    assert BasicAuth("user", "word").allows(header("user:word", "bASIC"))


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic \udcff",
        header("user:wrong"),
        header("user"),
        header("user:word") + "x",
        header("user:word", "Bearer"),
    ],
)
def test_anything_else_is_not(given: str | None) -> None:
    assert not BasicAuth("user", "word").allows(given)


def test_without_a_user_everyone_is_let_in() -> None:
    assert BasicAuth("", "").allows(None)

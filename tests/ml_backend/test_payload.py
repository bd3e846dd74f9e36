"""What arrives is read by rules that name the value which breaks them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ml_backend.payload import (
    Asked,
    Limits,
    TooLargeError,
    WrongTypeError,
    _parse_once,
    check_content_type,
    check_length,
    parse_config,
    read_json,
    read_predict,
    read_project_id,
    read_tasks,
)
from ner.errors import InputError, RuleError
from tests.ml_backend.given import CONFIG, request_body, task

LIMITS = Limits(max_tasks=3, max_text_chars=20)


def read(*tasks: Any) -> list[Asked]:
    return read_tasks(list(tasks), parse_config(CONFIG), LIMITS)


@pytest.mark.parametrize("given", ["7.1795219575", "7", 7, "0007.1"])
def test_a_project_id_is_what_stands_before_the_time_of_creation(given: object) -> None:
    assert read_project_id(given) == 7


@pytest.mark.parametrize("given", [None, "", "x", "7.", ".7", "7.1.2", "-7", -7, 7.5, True, [7], "٧", "9" * 20, 2**63])
def test_anything_else_is_no_project_id(given: object) -> None:
    with pytest.raises(InputError, match="project"):
        read_project_id(given)


@pytest.mark.parametrize("body", [b"", b"{", b"nope", b"\xff\xfe\xfd", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InputError, match="JSON"):
        read_json(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InputError, match="JSON object"):
        read_json(body)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"project": None}, "project"),
        ({"tasks": None}, "tasks"),
        ({"tasks": {}}, "tasks"),
        ({"params": []}, "params"),
        ({"label_config": 5}, "label_config"),
        ({"label_config": "<View"}, "XML"),
        ({"label_config": "<View/>"}, "Labels"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        read_predict({**request_body("x"), **change}, LIMITS)


def test_a_config_is_parsed_once_unless_it_is_too_large_to_keep() -> None:
    _parse_once.cache_clear()
    assert parse_config(CONFIG) is parse_config(CONFIG)
    large = f"<!--{'x' * 20_000}-->{CONFIG}"
    assert parse_config(large) == parse_config(CONFIG)
    assert parse_config(large) is not parse_config(large)
    for number in range(100):
        parse_config(f"<!--{number}-->{CONFIG}")
    assert _parse_once.cache_info().currsize == 32


@pytest.mark.parametrize("given", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
def test_a_content_type_that_names_json_is_let_through(given: str) -> None:
    check_content_type(given)


@pytest.mark.parametrize("given", ["", "text/plain", "application/jsonp", "json"])
def test_any_other_content_type_is_refused(given: str) -> None:
    with pytest.raises(WrongTypeError, match="application/json"):
        check_content_type(given)


def test_a_body_is_as_long_as_is_allowed() -> None:
    check_length(2, 2)
    with pytest.raises(TooLargeError, match="at most 2 bytes"):
        check_length(3, 2)


def test_a_request_may_leave_out_its_config_and_its_params() -> None:
    assert read_predict({"project": "7.1", "tasks": []}, LIMITS).label_config is None


def test_too_many_tasks_are_refused_with_both_numbers() -> None:
    with pytest.raises(TooLargeError, match=r"at most 3 tasks.*got 4"):
        read_predict(request_body("a", "b", "c", "d"), LIMITS)


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_an_empty_or_blank_text_is_read_as_empty(text: str) -> None:
    assert read(task(text)) == [Asked("", 1, None)]


def test_a_number_and_a_list_are_read_as_the_page_shows_them() -> None:
    assert [asked.text for asked in read(task(5.0), task(["a", "b"]))] == ["5", "a,b"]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (None, "task 1: a task is an object"),
        ({}, "task 1: a task is an object"),
        ({"data": []}, "task 1: a task is an object"),
        (task(None), r"task 1: a text is a string, .* \(the task's data field 'body'\): got null"),
        (task({"de": "x"}), r"task 1: a text is a string, .* \(the task's data field 'body'\): got {'de'"),
        (task("x", field="text"), "task 1: a task has the data field 'body', .* got fields \\['text'\\]"),
        (task("x" * 21), "task 1: a text has at most 20 characters"),
        (task("a\0b"), r"task 1: a text holds no U\+0000"),
        (task("a\ud800b"), "task 1: a text holds no lone surrogate"),
        ({**task("x"), "id": "1"}, "task 1: a task's `id` is a whole number"),
        ({**task("x"), "id": 2**70}, "task 1: a task's `id` is a whole number"),
    ],
)
def test_a_bad_task_is_refused_with_its_place_and_its_rule(bad: Any, rule: str) -> None:
    with pytest.raises(RuleError, match=rule):
        read(task("good"), bad)


def test_a_text_that_is_too_long_is_a_413() -> None:
    with pytest.raises(TooLargeError):
        read(task("x" * 21))


@pytest.mark.parametrize(
    ("more", "group"),
    [
        ({}, None),
        ({"data": {"body": "x", "doc": "post-1"}}, "post-1"),
        ({"data": {"body": "x", "doc": 5}}, "5"),
        ({"data": {"body": "x", "doc": " "}, "meta": {"doc": "post-2"}}, "post-2"),
        ({"data": {"body": "x", "doc": [1]}, "meta": None}, None),
        ({"data": {"body": "x", "doc": "a\ud800"}}, hashlib.sha256(b"a\xed\xa0\x80").hexdigest()),
        ({"data": {"body": "x", "doc": "d" * 10_000}}, hashlib.sha256(b"d" * 10_000).hexdigest()),
    ],
)
def test_the_group_of_a_task_is_the_doc_of_its_data_or_meta(more: dict[str, Any], group: str | None) -> None:
    assert read({**task("x"), **more}) == [Asked("x", 1, group)]

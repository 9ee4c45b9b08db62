"""JSON as Go writes it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Refused
from agent.rollout.go_json import Types, write

TYPES = Types(
    {
        "Base": "name:str! size:int",
        "All": """
            text:str count:int on:bool items:[str] labels:{str} part:Part link:*Part
            cpu:quantity port:intstr soft:*intstr flag:*bool raw:raw at:*time
        """,
        "Part": "key:str limits:{quantity} parts:[Part]",
        "Kept": "text:str! count:int! items:[Part]! labels:{str}! link:*Part!",
        "More": "+Base extra:str",
    }
)
EMPTY = '"part":{},"cpu":"0","port":0'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({}, "{" + EMPTY + "}", id="structs stay when nothing is given"),
        pytest.param(None, "{" + EMPTY + "}", id="null is an empty struct"),
        pytest.param({"text": "", "count": 0, "on": False, "items": [], "labels": {}, "link": None}, "{" + EMPTY + "}", id="what is empty vanishes"),
        pytest.param({"flag": False, "soft": 0, "link": {}}, '{"part":{},"link":{},"cpu":"0","port":0,"soft":0,"flag":false}', id="behind pointers zero is something"),
        pytest.param({"port": "http", "text": "a", "unknown": 1}, '{"text":"a","part":{},"cpu":"0","port":"http"}', id="order of the type, unknown ones vanish"),
        pytest.param({"labels": {"b": "1", "B": "2", "é": "3", "a": None}}, '{"labels":{"B":"2","a":"","b":"1","é":"3"},"part":{},"cpu":"0","port":0}', id="maps are sorted by code point"),
        pytest.param({"cpu": 1, "part": {"limits": {"m": "2048Ki", "c": 0.5}}}, '{"part":{"limits":{"c":"500m","m":"2Mi"}},"cpu":"1","port":0}', id="quantities, also those written as numbers"),
        pytest.param({"count": 3.0}, '{"count":3,"part":{},"cpu":"0","port":0}', id="a whole number written with a point"),
        pytest.param({"part": {"parts": [None, {"key": "k"}]}}, '{"part":{"parts":[{},{"key":"k"}]},"cpu":"0","port":0}', id="null in a list is an empty element"),
        pytest.param({"at": "2024-05-01T10:00:00Z"}, '{"part":{},"cpu":"0","port":0,"at":"2024-05-01T10:00:00Z"}', id="times"),
    ],
)  # fmt: skip
def test_struct(value: Any, text: str) -> None:
    assert write(value, "All", TYPES) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, '{"text":"","count":0,"items":null,"labels":null,"link":null}'),
        ({"items": [], "labels": {}}, '{"text":"","count":0,"items":[],"labels":{},"link":null}'),
    ],
)
def test_fields_that_are_always_written(value: Any, text: str) -> None:
    assert write(value, "Kept", TYPES) == text


def test_fields_of_another_struct_come_first() -> None:
    assert write({"extra": "x", "size": 2}, "More", TYPES) == '{"name":"","size":2,"extra":"x"}'


@pytest.mark.parametrize(
    ("char", "written"),
    [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
        ('"', '\\"'),
        ("\\", "\\\\"),
        ("/", "/"),
        ("\n", "\\n"),
        ("\b", "\\b"),
        ("\x0b", "\\u000b"),
        ("\x7f", "\x7f"),
        ("é", "é"),
        ("😀", "😀"),
        ("\ud83d", "\ufffd"),
    ],
)
def test_characters(char: str, written: str) -> None:
    assert write(f"a{char}b", "str", TYPES) == f'"a{written}b"'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "x<"]}, '{"b":1,"a":[true,null,"x\\u003c"]}'),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.000001, "0.000001"),
        (2.5e-05, "0.000025"),
        (1.2345678901234568e-05, "0.000012345678901234568"),
        (1e-7, "1e-7"),
        (-2.5, "-2.5"),
    ],
)
def test_raw_json_keeps_its_order_and_gos_numbers(value: Any, text: str) -> None:
    assert write(value, "raw", TYPES) == text


@pytest.mark.parametrize(
    ("value", "field", "detail"),
    [
        ({"text": 5}, "text", "expected a text, got int"),
        ({"count": "5"}, "count", "expected a whole number, got str"),
        ({"count": True}, "count", "expected a whole number, got a boolean"),
        ({"count": 1.5}, "count", "expected a whole number, got float"),
        ({"on": "yes"}, "on", "expected true or false, got str"),
        ({"items": "a"}, "items", "expected a list, got str"),
        ({"items": ["a", 5]}, "items[1]", "expected a text, got int"),
        ({"labels": ["a"]}, "labels", "expected a map, got list"),
        ({"labels": {"a": 1}}, "labels[a]", "expected a text, got int"),
        ({"part": [1]}, "part", "expected an object, got list"),
        ({"part": {"limits": {"cpu": "lots"}}}, "part.limits[cpu]", "'lots' is not a quantity such as 500m, 1Gi or 2e3"),
        ({"cpu": True}, "cpu", "expected a quantity such as 500m or 1Gi"),
    ],
)  # fmt: skip
def test_what_go_would_not_read_is_refused(value: Any, field: str, detail: str) -> None:
    with pytest.raises(Refused) as raised:
        write(value, "All", TYPES)
    assert (raised.value.field, raised.value.detail) == (field, detail)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_raw_json_reads_back_as_it_was(value: Any) -> None:
    assert json.loads(write(value, "raw", TYPES)) == value

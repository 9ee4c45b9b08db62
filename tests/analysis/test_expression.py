"""Conditions: outcomes, where `safe` differs from Argo, limits, and what no text may do."""

import math
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.analysis.expression import evaluate_time
from agent.analysis.judge import judge
from agent.analysis.verdict import Compat
from agent.errors import Refused

NOW = datetime(2024, 5, 1, 10, 0, 0, tzinfo=UTC)
BOTH: tuple[Compat, ...] = ("safe", "argo")


def phase(value: Any, success: str = "", failure: str = "", compat: Compat = "safe") -> str:
    return judge(value, success=success, failure=failure, result_type="json", compat=compat).phase


@pytest.mark.parametrize(
    ("value", "success", "failure", "expected"),
    [
        pytest.param([0.99], "result[0] >= 0.95", "", "Successful", id="success condition holds"),
        pytest.param([0.5], "result[0] >= 0.95", "", "Failed", id="success condition fails"),
        pytest.param([0.5], "", "result[0] < 0.9", "Failed", id="failure condition holds"),
        pytest.param([0.95], "", "result[0] < 0.9", "Successful", id="failure condition fails"),
        pytest.param(0.92, "result > 0.95", "result < 0.9", "Inconclusive", id="between both"),
        pytest.param(1.0, "true", "true", "Failed", id="failure beats success"),
        pytest.param(1.0, "", "", "Successful", id="no condition"),
        pytest.param([math.nan], "result[0] > 1", "", "Failed", id="NaN is no success"),
        pytest.param({"a": None}, "(result.a?.b ?? 2) == 2", "", "Successful", id="optional chain"),
        pytest.param([3.0, 1.0], "sort(result)[0] == 1", "", "Successful", id="builtin"),
        pytest.param(7.0, "1 < result <= 7", "", "Successful", id="chained comparison"),
        pytest.param([1.0], "-7 % 3 == -1", "", "Successful", id="remainder has the left sign"),
        pytest.param([1.0], "result[0] / 0 > 1e300", "", "Successful", id="division by zero"),
        pytest.param(
            1.0,
            "9223372036854775807 + 1 == -9223372036854775808 + 0",
            "",
            "Error",
            id="no literal beyond 64 bits",
        ),
        pytest.param(1.0, "9223372036854775807 + 1 < 0", "", "Successful", id="integers wrap"),
    ],
)
def test_a_measurement_has_the_phase_that_its_conditions_give(
    value: Any, success: str, failure: str, expected: str
) -> None:
    for compat in BOTH:
        assert phase(value, success, failure, compat) == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param("rate > 1", "unknown name rate", id="unknown name"),
        pytest.param("true || rate > 1", "unknown name rate", id="in a branch that never runs"),
        pytest.param("let len = 1; true", "cannot redeclare builtin len", id="hidden builtin"),
        pytest.param("result", "expected bool, but got float64", id="not a bool"),
        pytest.param("(" * 100 + "1" + ")" * 100, "nested deeper than", id="too deep"),
        pytest.param("true" + " " * 10_000, "longer than", id="too long"),
        pytest.param("len(1..9223372036854775807) > 1", "memory budget", id="too large a range"),
        pytest.param('len(repeat("a", 1000000000)) > 1', "memory budget", id="too long a text"),
        pytest.param("all(1..999, all(1..999, true))", "more than", id="too many steps"),
        pytest.param(
            'let t = repeat("a", 900000); all(1..99999, t contains "b" or # > 0)',
            "more than",
            id="a long text read many times",
        ),
        pytest.param("result > 'a'", "mismatched types", id="types that do not compare"),
        pytest.param("true || result % 2 == 1", "mismatched types", id="a type in a dead branch"),
        pytest.param("result == 'a'", "mismatched types", id="equality of a number and a text"),
        pytest.param(
            "'a' in [1, 2]", "cannot use string as type int in array", id="a text among numbers"
        ),
        pytest.param("false && 'a' matches '('", "regexp", id="a pattern in a dead branch"),
        pytest.param("all([1], # + 1)", "should return boolean", id="a predicate of numbers"),
        pytest.param("result.rate > 1", "type float64 has no field rate", id="a field of a number"),
        pytest.param("'a' matches nil", "mismatched types string and unknown", id="no pattern"),
        pytest.param("result ? true : false", "non-bool", id="a number as a condition"),
        pytest.param("now() == nil", "not available", id="no clock in a condition"),
        pytest.param("'a' matches '('", "error parsing regexp", id="bad pattern"),
        pytest.param("abs(1, 2) == 1", "expected 1, got 2", id="too many arguments"),
        pytest.param("asInt() == 1", "not enough arguments to call asInt", id="too few arguments"),
    ],
)
def test_a_condition_that_cannot_be_judged_is_an_error_with_its_cause(
    text: str, cause: str
) -> None:
    got, message, *_ = judge(1.5, success=text, failure="", result_type="float", compat="argo")
    assert got == "Error"
    assert message.startswith(f'could not evaluate successCondition "{text}": ')
    assert cause in message.removeprefix(f'could not evaluate successCondition "{text}": ')


def test_what_json_holds_is_known_only_when_it_is_there() -> None:
    value = {"rate": 0.5, "name": "checkout"}
    assert phase(value, "result.rate < 1 && result.name == 'checkout'") == "Successful"
    assert phase(value, "result.name == 1") == "Failed"
    assert phase(value, "result.name > 1") == "Error"
    assert phase({"rate": 2.0}, "result.rate == 1 || result.rate == true") == "Failed"


def test_equal_looking_literals_keep_their_types() -> None:
    assert phase([1.0], "[1][0] == 1") == "Successful"
    assert phase([1.0], "[true][0] == 1") == "Error"
    assert phase([1.0], "[1.0][0] == 1") == "Successful"


WORDS = st.sampled_from(
    [
        *("result", "#", "[", "]", "(", ")", "{", "}", ".", "?.", "??", "..", ",", ":", "?", "|"),
        *("+", "-", "*", "/", "%", "**", "==", "<", ">=", "&&", "or", "not", "!", "in", "let"),
        *("1", "0.5", "'a'", "nil", "true", "len", "all", "map", "x", "=", ";", "matches", "if"),
        *("sum", "sort", "keys", "split", "duration", "date", "toJSON", "isNaN", "asInt", "else"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(string.printable, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(words=st.lists(WORDS, max_size=12), value=VALUES)
def test_no_text_and_no_value_does_anything_but_give_a_phase(words: list[str], value: Any) -> None:
    got, message, *_ = judge(
        value, success=" ".join(words), failure="", result_type="json", compat="safe"
    )
    assert got in ("Successful", "Failed", "Error")
    assert bool(message) == (got == "Error")


@given(
    left=st.integers(-(2**62), 2**62),
    right=st.integers(-(2**62), 2**62).filter(bool),
)
def test_division_and_remainder_fit_together(left: int, right: int) -> None:
    whole = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    text = f"{left} % {right} + {whole} * {right} == {left}"
    assert phase(1.0, text) == "Successful"


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_being_written_and_read(value: float) -> None:
    assert phase(value, "float(string(result)) == result") == "Successful"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('now() - duration("10m")', "2024-05-01T09:50:00+00:00"),
        ('date("2024-01-02")', "2024-01-02T00:00:00+00:00"),
        ('date("02/01/2024 10:30", "02/01/2006 15:04", "UTC")', "2024-01-02T10:30:00+00:00"),
        ('now().Add(duration("1h"))', "2024-05-01T11:00:00+00:00"),
    ],
)
def test_a_time_expression_gives_the_time(text: str, expected: str) -> None:
    assert evaluate_time(text, NOW).isoformat() == expected


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("result", "unknown name result"),
        ("1 + 1", "expected time.Time, but got int"),
        ('date("tomorrow")', "invalid date tomorrow"),
        ("", "unexpected token EOF"),
    ],
)
def test_a_time_expression_that_gives_none_is_refused(text: str, detail: str) -> None:
    with pytest.raises(Refused, match=detail):
        evaluate_time(text, NOW)

"""Go durations and pauses."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.durations import (
    NANOSECONDS,
    REFUSED,
    SECOND,
    format_go_duration,
    parse_go_duration,
    pause_seconds,
)
from agent.api.rollout import Pause


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("-0", 0),
        ("4h", 4 * 3600 * SECOND),
        ("1h2m3s4ms5us6ns", 3723004005006),
        ("7µs", 7_000),
        ("7μs", 7_000),
        ("1.", None),
        ("1.s", SECOND),
        ("0.333333333s", 333_333_333),
        ("0.100000000000000000000h", 360 * SECOND),
        ("-.25m", -15 * SECOND),
        ("9223372036854775807ns", 2**63 - 1),
        ("-9223372036854775808ns", -(2**63)),
        ("00012s", 12 * SECOND),
        ("1s1s", 2 * SECOND),
    ],
)
def test_parses_what_go_parses(text: str, nanoseconds: int | None) -> None:
    if nanoseconds is None:
        with pytest.raises(ValueError, match="missing unit"):
            parse_go_duration(text)
    else:
        assert parse_go_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("h", 'time: invalid duration "h"'),
        (".s", 'time: invalid duration ".s"'),
        ("+-1s", 'time: invalid duration "+-1s"'),
        ("1s-1s", 'time: unknown unit "s-" in duration "1s-1s"'),
        ("7", 'time: missing unit in duration "7"'),
        ("1h7", 'time: missing unit in duration "1h7"'),
        ("2d", 'time: unknown unit "d" in duration "2d"'),
        ("1 m", 'time: unknown unit " m" in duration "1 m"'),
        ('1"', 'time: unknown unit "\\"" in duration "1\\""'),
        ("1é", 'time: unknown unit "\\xc3\\xa9" in duration "1\\xc3\\xa9"'),
        ("1\n", 'time: unknown unit "\\x0a" in duration "1\\x0a"'),
        ("٣s", 'time: invalid duration "\\xd9\\xa3s"'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("-9223372036854775809ns", 'time: invalid duration "-9223372036854775809ns"'),
        ("2562048h", 'time: invalid duration "2562048h"'),
        ("2562047h2562047h", 'time: invalid duration "2562047h2562047h"'),
        ("99999999999999999999s", 'time: invalid duration "99999999999999999999s"'),
    ],
)
def test_refuses_in_the_words_of_go(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_go_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (1_500_000_000, "1.5s"),
        (60 * SECOND, "1m0s"),
        (5400 * SECOND, "1h30m0s"),
        (-3661 * SECOND - 1, "-1h1m1.000000001s"),
        (100 * 3600 * SECOND, "100h0m0s"),
    ],
)
def test_formats_as_go(nanoseconds: int, text: str) -> None:
    assert format_go_duration(nanoseconds) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_what_is_formatted_parses_back(nanoseconds: int) -> None:
    assert parse_go_duration(format_go_duration(nanoseconds)) == nanoseconds


@given(st.text(alphabet="0123456789.hmsnuµ+- ", max_size=12))
def test_any_text_parses_or_is_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert abs(parse_go_duration(text)) <= 2**63


@given(st.integers(0, 10**9), st.sampled_from(sorted(NANOSECONDS)))
def test_a_whole_number_of_a_unit(count: int, unit: str) -> None:
    expected = count * NANOSECONDS[unit]
    if expected < 2**63:
        assert parse_go_duration(f"{count}{unit}") == expected


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        pytest.param(None, None, id="none waits for a person"),
        pytest.param(0, 0, id="zero"),
        pytest.param(30, 30, id="a number is seconds"),
        pytest.param(-3, -3, id="a negative number stays negative, for validation to refuse"),
        pytest.param("45", 45, id="digits are seconds"),
        pytest.param("+45", 45, id="a sign is allowed"),
        pytest.param("2m", 120, id="a duration"),
        pytest.param("1999ms", 1, id="a fraction of a second is cut"),
        pytest.param("-1999ms", -1, id="towards zero"),
        pytest.param("1_0", REFUSED, id="Python's digit groups are no digits"),
        pytest.param("٣", REFUSED, id="only ASCII digits are digits"),
        pytest.param("2147483647", 2147483647, id="the largest"),
        pytest.param("2147483648s", REFUSED, id="beyond 32 bits"),
        pytest.param("soon", REFUSED, id="no duration"),
    ],
)
def test_pause_seconds(duration: int | str | None, seconds: int | None) -> None:
    assert pause_seconds(Pause(duration=duration)) == seconds

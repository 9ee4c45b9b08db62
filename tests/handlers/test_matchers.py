"""Alertmanager's matcher syntax."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Refused
from handlers.alert.matchers import Matcher, parse_matchers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('severity="critical"', (Matcher("severity", "=", "critical"),), id="equality"),
        pytest.param("severity=critical", (Matcher("severity", "=", "critical"),), id="bare value"),
        pytest.param(
            ' a != "b" , team =~ "pay.*" ',
            (Matcher("a", "!=", "b"), Matcher("team", "=~", "pay.*")),
            id="spaces around everything",
        ),
        pytest.param('{a!~"x|y",}', (Matcher("a", "!~", "x|y"),), id="braces and a trailing comma"),
        pytest.param(r'a="say \"hi\"\n"', (Matcher("a", "=", 'say "hi"\n'),), id="escapes"),
        pytest.param('a="x,y"', (Matcher("a", "=", "x,y"),), id="comma inside quotes"),
    ],
)
def test_reads(text: str, expected: tuple[Matcher, ...]) -> None:
    assert parse_matchers(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "{}", "severity", 'severity="a" b="c"', '="x"', 'a=~"("', '{a="b"', "a=", "x" * 5_000],
    ids=[
        "nothing", "empty braces", "no operator", "no comma", "no label", "bad regular expression",
        "open brace", "no value", "too long",
    ],
)  # fmt: skip
def test_refuses_with_a_reason(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_matchers(text)
    assert refused.value.detail


@pytest.mark.parametrize(
    ("matcher", "labels", "accepted"),
    [
        (Matcher("a", "=", "x"), {"a": "x"}, True),
        (Matcher("a", "=", ""), {}, True),
        (Matcher("a", "!=", "x"), {}, True),
        (Matcher("a", "=~", "x.*"), {"a": "xyz"}, True),
        (Matcher("a", "=~", "y"), {"a": "xyz"}, False),
        (Matcher("a", "!~", "x.*"), {"a": "xyz"}, False),
    ],
    ids=["equal", "absent is empty", "unequal", "regex", "regex is anchored", "negated regex"],
)
def test_accepts(matcher: Matcher, labels: dict[str, str], accepted: bool) -> None:
    assert matcher.accepts(labels) is accepted


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        matchers = parse_matchers(text)
    except Refused:
        return
    assert matchers

"""What becomes of what providers answer: checked, without secrets, bounded, timed."""

from typing import Any

import pytest
from msgspec.structs import replace

from agent.analysis.providers.port import masked
from agent.api.analysis import Measurement, Metric
from agent.api.names import JUDGE_STATE
from agent.engine.measuring import MAX_STATE, MAX_VALUE, bounded, checked, deadline_seconds

FINE = Measurement(phase="Successful", value="1", metadata={"a": "b"})


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (None, "answered NoneType, not a measurement"),
        ({"phase": "Successful"}, "answered dict, not a measurement"),
        (Measurement(phase="successful"), "the phase 'successful'"),
        (Measurement(phase="x" * 500), f"the phase '{'x' * 40}'"),
        (Measurement(), "the phase ''"),
        (replace(FINE, value=1), "that is no text"),
        (replace(FINE, message=None), "that is no text"),
        (replace(FINE, metadata={"a": 1}), "that is no text"),
        (replace(FINE, metadata={1: "a"}), "that is no text"),
        (replace(FINE, phase="Running", resume_at="soon"), "asked again at 'soon'"),
        (replace(FINE, phase="Running", resume_at=7), "asked again at '7'"),
        (replace(FINE, metadata={JUDGE_STATE: "x" * (MAX_STATE + 1)}), "to remember more than"),
    ],
    ids=repr,
)
def test_nonsense_is_an_error_with_the_provider_s_name(made: Any, says: str) -> None:
    got = checked("acme/x", made)
    assert (got.phase, got.message.startswith("provider acme/x ")) == ("Error", True)
    assert says in got.message


def test_what_is_a_measurement_stays_as_it_is() -> None:
    running = Measurement(phase="Running", resume_at="2026-05-01T10:00:00Z")
    assert checked("acme/x", FINE) is FINE
    assert checked("acme/x", running) is running
    assert bounded(FINE) == FINE


def test_texts_are_cut_and_say_how_long_they_were() -> None:
    state = "s" * 10_000
    many = {f"k{n}": "v" * 10_000 for n in range(100)}
    got = bounded(
        Measurement(
            phase="Failed",
            value="1" * 1_000_000,
            message="m" * 5000,
            metadata={JUDGE_STATE: state, **many},
        )
    )
    assert got.value == "1" * MAX_VALUE + "… (1000000 characters)"
    assert got.message.endswith("… (5000 characters)")
    assert (got.metadata or {})[JUDGE_STATE] == state
    assert len(got.metadata or {}) == 32
    assert max(len(v) for n, v in (got.metadata or {}).items() if n != JUDGE_STATE) < 4200


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("key abcdef", ("abc", "abcdef"), "key *****"),
        ("key abc", ("",), "key abc"),
        ("Bearer abc", ("abc\n",), "Bearer *****"),
        (r"b'abc\n'", ("abc\n",), "b'*****'"),
        ("?key=a%2Fb%2B&x=1", ("a/b+",), "?key=*****&x=1"),
        (r'{"key":"a\"b"}', ('a"b',), '{"key":"*****"}'),
    ],
)
def test_secrets_are_found_as_they_are_written(
    text: str, secrets: tuple[str, ...], shown: str
) -> None:
    assert masked(text, secrets) == shown


@pytest.mark.parametrize(
    ("provider", "seconds"),
    [
        ({"web": {}}, 60),
        ({"web": {"timeoutSeconds": 120}}, 125),
        ({"prometheus": {"timeout": 30}}, 60),
        ({"prometheus": {"timeout": 10_000}}, 600),
        ({"prometheus": {"timeout": "soon"}}, 60),
        ({"web": "x"}, 60),
        ({}, 60),
    ],
)
def test_a_measurement_may_take_somewhat_longer_than_it_asks_for(
    provider: dict[str, Any], seconds: float
) -> None:
    assert deadline_seconds(Metric(name="m", provider=provider)) == seconds

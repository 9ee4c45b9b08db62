"""Quantities as Kubernetes writes them back."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rollout.quantities import amount, canonical


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param("0", "0", id="zero"),
        pytest.param("0.0", "0", id="zero with a fraction"),
        pytest.param("-0m", "0", id="zero of a unit"),
        pytest.param("250m", "250m", id="already canonical"),
        pytest.param("3000m", "3", id="thousandths to ones"),
        pytest.param("0.25", "250m", id="a fraction to thousandths"),
        pytest.param("1.5", "1500m", id="a fraction above one"),
        pytest.param("12.0", "12", id="a needless fraction"),
        pytest.param("1000k", "1M", id="thousands to millions"),
        pytest.param("1e3", "1e3", id="an exponent"),
        pytest.param("10e3", "10e3", id="an exponent that is a multiple of three"),
        pytest.param("1E4", "10e3", id="an exponent that is none"),
        pytest.param("2048Ki", "2Mi", id="kibi to mebi"),
        pytest.param("1536Ki", "1536Ki", id="half a mebi more"),
        pytest.param("1.5Gi", "1536Mi", id="a fraction of gibi"),
        pytest.param("0.5Ki", "512", id="less than a kibi is decimal"),
        pytest.param("0.1Ki", "102400m", id="a broken number of bytes is decimal"),
        pytest.param("+7", "+7", id="a sign is not seen and stays"),
        pytest.param("-2000m", "-2", id="negative"),
        pytest.param("0.1n", "1n", id="rounded up to billionths"),
        pytest.param("1e-20", "1e-9", id="far below billionths"),
        pytest.param("0.0000000015", "2n", id="between billionths"),
        pytest.param("123456789012345678901", "123456789012345678901", id="beyond 64 bits"),
        pytest.param("99Ei", "9223372036854775807", id="binary ones are capped at 64 bits"),
        pytest.param("7Ei", "7Ei", id="the largest whole exbi"),
        pytest.param("07", "07", id="leading zeros are not seen and stay"),
        pytest.param("m", "0", id="nothing of a unit"),
        pytest.param("Ki", "0", id="nothing of a binary unit"),
    ],
)
def test_canonical(text: str, written: str) -> None:
    assert canonical(text) == written


@pytest.mark.parametrize(
    "text", ["", " ", "1x", "1 Gi", "1e", "--1", "1.2.3", "1kk", "1e99999999999", "٣"]
)
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|exponent"):
        canonical(text)


UNITS = st.sampled_from(
    ["n", "u", "m", "", "k", "M", "G", "T", "Ki", "Mi", "Gi", "e3", "e-3", "E2"]
)


@given(st.decimals(min_value=-(10**7), max_value=10**7, places=3).map(str), UNITS)
def test_writing_changes_no_amount_above_billionths(number: str, unit: str) -> None:
    if "E" in number:
        return
    before, after = amount(number + unit), amount(canonical(number + unit))
    assert abs(before - after) < Fraction(1, 10**9)


@given(st.integers(-(10**6), 10**6), UNITS)
def test_writing_twice_is_writing_once(number: int, unit: str) -> None:
    once = canonical(f"{number}{unit}")
    assert canonical(once) == once


@given(st.text(alphabet="0123456789.eE+-KMGnumki", max_size=14))
def test_any_text_is_written_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        canonical(text)
        amount(text)


def test_absurd_exponents_cost_nothing() -> None:
    assert canonical("1e2147482998") == "1e2147482998"
    assert amount("1e2147482998") == Fraction(10) ** 1000
    assert canonical("1e-2147483000") == "1e-9"

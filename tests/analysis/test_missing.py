"""Missing data: never success in `safe`, whatever the conditions, unless one asks for it."""

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.analysis.judge import Judged, judge
from agent.analysis.missing import (
    NO_DATA,
    NO_NUMBER,
    NOT_A_NUMBER,
    Missing,
    Policy,
    policy_for,
    stale,
    warned,
)
from agent.analysis.verdict import Compat
from agent.errors import Refused

NAN = math.nan
PARTLY = "1 of 2 values are no numbers: only a part was measured"
MET = "a comparison met NaN"
READ = "a part of the metric result that the condition reads is nil or empty"


def judged(
    value: Any,
    success: str = "",
    failure: str = "",
    *,
    compat: Compat = "safe",
    policy: Policy = "error",
    noted: Missing | None = None,
    result_type: str = "json",
) -> Judged:
    return judge(
        value,
        success=success,
        failure=failure,
        result_type=result_type,
        compat=compat,
        policy=policy,
        noted=noted,
    )


@pytest.mark.parametrize(
    ("value", "success", "failure", "kind", "cause"),
    [
        pytest.param([], "", "", "no data", NO_DATA, id="nothing came and nothing was asked"),
        pytest.param(None, "", "", "no data", NO_DATA, id="null and no condition"),
        pytest.param("", "result != 'down'", "", "no data", NO_DATA, id="an empty page"),
        pytest.param(NAN, "", "", "NaN", NOT_A_NUMBER, id="NaN and no condition"),
        pytest.param([NAN, NAN], "", "", "NaN", NOT_A_NUMBER, id="only NaN"),
        pytest.param([None], "", "", "no data", NO_DATA, id="only null"),
        pytest.param([], "all(result, # < 1)", "", "no data", NO_DATA, id="all of none"),
        pytest.param([], "none(result, # > 1)", "", "no data", NO_DATA, id="none of none"),
        pytest.param([], "sum(result) < 1", "", "no data", NO_DATA, id="the sum of nothing"),
        pytest.param(
            [], "len(filter(result, # > 1)) == 0", "", "no data", NO_DATA, id="nothing to filter"
        ),
        pytest.param(
            [NAN], "!(result[0] > 0.05)", "", "NaN", NOT_A_NUMBER, id="NaN, and the contrary"
        ),
        pytest.param(
            [NAN], "result[0] < 1 || true", "", "NaN", NOT_A_NUMBER, id="true in any case"
        ),
        pytest.param([NAN], "result[0] != 1", "", "NaN", NOT_A_NUMBER, id="NaN is not 1"),
        pytest.param(NAN, "", "result > 0.05", "NaN", NOT_A_NUMBER, id="NaN does not fail"),
        pytest.param([NAN], "", "result[0] > 0.05", "NaN", NOT_A_NUMBER, id="NaN in a vector"),
        pytest.param([], "", "any(result, # > 0.05)", "no data", NO_DATA, id="none can fail"),
        pytest.param(None, "", "result == 1", "no data", NO_DATA, id="no answer is not 1"),
        pytest.param(math.inf, "result > 0.95", "", "infinite", NO_NUMBER, id="x / 0 is above all"),
        pytest.param([-math.inf], "", "result[0] > 1", "infinite", NO_NUMBER, id="and below all"),
        pytest.param(
            [0.01, NAN], "", "any(result, # > 0.05)", "partial data", PARTLY, id="one of two is NaN"
        ),
        pytest.param(
            [0.01, None], "result[0] < 1", "", "partial data", PARTLY, id="one of two is null"
        ),
        pytest.param([0.01, NAN], "", "", "partial data", PARTLY, id="partial, no condition"),
        pytest.param(
            [0.0, 0.0], "!(result[0] / result[1] > 0.05)", "", "NaN", MET, id="nothing of nothing"
        ),
        pytest.param(
            {"rate": "NaN"}, "", "asFloat(result.rate) > 0.05", "NaN", MET, id="NaN as a text"
        ),
        pytest.param(
            {"data": []}, "all(result.data, # < 1)", "", "no data", READ, id="an empty list inside"
        ),
        pytest.param({}, "result.rate != 1", "", "no data", READ, id="a field that is missing"),
        pytest.param(
            {"rate": None}, "!(result.rate in [1])", "", "no data", READ, id="a field without value"
        ),
        pytest.param(
            {"a": None}, "result.a?.rate != 1", "", "no data", READ, id="a chain that leads nowhere"
        ),
        pytest.param(
            [NAN], "len(result) == 1", "", "NaN", NOT_A_NUMBER, id="to count is not to ask for NaN"
        ),
        pytest.param(
            [], "!any(result, isNaN(#))", "", "no data", NO_DATA, id="NaN asked, but it is empty"
        ),
    ],
)
def test_what_argo_lets_pass_without_data_is_an_error(
    value: Any, success: str, failure: str, kind: str, cause: str
) -> None:
    assert judged(value, success, failure, compat="argo") == Judged("Successful")
    phase, message, missing, counts = judged(value, success, failure)
    assert (phase, missing and missing.kind, counts) == ("Error", kind, True)
    assert cause in message
    assert (success or failure or "without conditions") in message


@pytest.mark.parametrize(
    ("value", "success", "failure", "expected"),
    [
        pytest.param([NAN], "", "isNaN(result[0])", "Failed", id="asked for NaN, and failed"),
        pytest.param([NAN], "isNaN(result[0])", "", "Successful", id="NaN allowed by name"),
        pytest.param([NAN], "result[0] != result[0]", "", "Successful", id="only NaN is another"),
        pytest.param(math.inf, "isInf(result)", "", "Successful", id="infinite by name"),
        pytest.param(
            [NAN], "isNaN(result[0]) || result[0] < 1", "", "Successful", id="NaN or small"
        ),
        pytest.param(
            [NAN, 0.1], "all(result, isNaN(#) || # < 1)", "", "Successful", id="NaN of some"
        ),
        pytest.param([], "len(result) == 0", "result != []", "Successful", id="empty allowed"),
        pytest.param([], "result | len() < 1 or result[0] < 1", "", "Successful", id="piped"),
        pytest.param([], "", "len(result) == 0", "Failed", id="empty is a failure by name"),
        pytest.param(
            [], "", "len(result) > 0 && result[0] > 1", "Successful", id="only what is there"
        ),
        pytest.param(None, "default(result, 0) < 1", "", "Successful", id="a default"),
        pytest.param(None, "isNil(result)", "", "Successful", id="nil allowed"),
        pytest.param(
            [None], "isNil(result) or result[0] == nil", "", "Successful", id="null in it"
        ),
        pytest.param(None, "(result ?? 0) < 1", "", "Successful", id="a value instead of nil"),
        pytest.param({}, "result.error == nil", "", "Successful", id="no error is good news"),
        pytest.param({"errors": []}, "len(result.errors) < 1", "", "Successful", id="no errors"),
        pytest.param({"a": {}}, "result.a.b != nil || true", "", "Successful", id="nil by name"),
    ],
)
def test_a_condition_that_asks_for_silence_decides_about_it(
    value: Any, success: str, failure: str, expected: str
) -> None:
    for compat in get_args(Compat):
        assert judged(value, success, failure, compat=compat) == Judged(expected)


@pytest.mark.parametrize(
    ("value", "success", "failure", "expected"),
    [
        pytest.param([NAN], "result[0] > 1", "", "Failed", id="NaN is not above a limit"),
        pytest.param([NAN], "result[0] > 1", "result[0] < 0", "Inconclusive", id="between both"),
        pytest.param([0.9, NAN], "", "any(result, # > 0.5)", "Failed", id="proven by the rest"),
        pytest.param([], "result[0] > 1", "", "Error", id="no first value"),
    ],
)
def test_an_outcome_that_is_no_success_stays_as_argo_has_it(
    value: Any, success: str, failure: str, expected: str
) -> None:
    argo = judged(value, success, failure, compat="argo")
    safe = judged(value, success, failure)
    assert argo.phase == safe.phase == expected
    assert argo.message == safe.message
    assert safe.missing


def test_the_error_is_in_argos_words_and_says_how_to_allow_it() -> None:
    assert judged([], "all(result, # < 1)").message == (
        f'could not evaluate successCondition "all(result, # < 1)": {NO_DATA} (no success without data;'
        " a condition that allows it asks for it: len(result) == 0 or a comparison with nil)"
    )


@pytest.mark.parametrize("noted", [stale("the newest sample is 300 s old"), warned("it is slow")])
@pytest.mark.parametrize("success", ["", "result < 1", "isNaN(result) || len([result]) > 0"])
def test_no_condition_can_allow_what_the_provider_doubts(noted: Missing, success: str) -> None:
    phase, message, missing, _ = judged(0.1, success, noted=noted)
    assert (phase, missing) == ("Error", noted)
    assert noted.text in message


@pytest.mark.parametrize(
    ("value", "success", "failure", "phase"),
    [
        pytest.param([], "all(result, # < 1)", "", "Inconclusive", id="a success"),
        pytest.param([NAN], "result[0] < 1", "", "Inconclusive", id="a condition without answer"),
        pytest.param([], "result[0] < 1", "", "Inconclusive", id="an error for want of data"),
        pytest.param([NAN], "result[0] > 1", "result[0] < 0", "Inconclusive", id="between both"),
        pytest.param([NAN], "", "!(result[0] < 1)", "Failed", id="a failure by its condition"),
        pytest.param([0.9, NAN], "all(result, # < 0.5)", "", "Failed", id="partial and failed"),
        pytest.param([0.1], "result[0] < 1", "", "Successful", id="nothing missing"),
    ],
)
@pytest.mark.parametrize("policy", ["inconclusive", "ignore"])
def test_another_policy_takes_every_answer_that_missing_data_gave(
    value: Any, success: str, failure: str, phase: str, policy: Policy
) -> None:
    found = judged(value, success, failure, policy=policy)
    assert found.phase == phase
    assert found.counts == (policy != "ignore" or phase != "Inconclusive")


CONDITIONS = st.sampled_from(
    [
        *("", "result < 1", "result[0] < 1", "!(result[0] > 1)", "all(result, # < 1)", "true"),
        *("any(result, # > 1)", "len(result) == 0", "isNaN(result[0])", "result != 1"),
        *("sum(result) < 1", "isNil(result)", "(result ?? 0) == 0", "count(result, # > 1) == 0"),
    ]
)
NUMBERS = st.sampled_from([0.0, 0.5, 2.0, NAN, math.inf])
BADNESS = ("Successful", "Inconclusive", "Error", "Failed")


@given(
    value=st.none() | NUMBERS | st.lists(NUMBERS | st.none(), max_size=3),
    success=CONDITIONS,
    failure=CONDITIONS,
    policy=st.sampled_from(get_args(Policy)),
)
def test_safe_is_never_kinder_than_argo_by_default_and_no_policy_makes_silence_a_success(
    value: Any, success: str, failure: str, policy: Policy
) -> None:
    argo = judged(value, success, failure, compat="argo")
    safe = judged(value, success, failure, policy=policy)
    assert judged(value, success, failure, compat="argo", policy=policy) == argo
    if policy == "error":
        assert BADNESS.index(safe.phase) >= BADNESS.index(argo.phase)
    if safe.missing:
        assert safe.phase != "Successful"
    else:
        assert safe == argo


@pytest.mark.parametrize(
    ("text", "metric", "expected"),
    [
        ("ignore", "errors", "ignore"),
        (" latency = ignore , inconclusive ", "latency", "ignore"),
        ("latency=ignore,inconclusive", "errors", "inconclusive"),
        ("latency=ignore", "errors", None),
    ],
)
def test_an_annotation_sets_the_policy_of_all_metrics_or_of_one(
    text: str, metric: str, expected: Policy | None
) -> None:
    assert policy_for(text, metric) == expected


@pytest.mark.parametrize("text", ["ignored", "latency=", "latency=no,error", ","])
def test_an_annotation_that_is_none_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(Refused, match="write one of error, inconclusive, ignore, or metric=policy"):
        policy_for(text, "latency")

"""Settings of the judge: what is wrong with them is said by its field."""

from typing import Any

import pytest

from agent.analysis.sequential.settings import settings_of, template_problem, with_edges
from agent.analysis.validation import validate_metrics
from agent.analysis.verdict import is_endless
from agent.api.analysis import Metric
from agent.errors import Refused
from tests.analysis.sequential.given import CANARY, arm, metric, settings

PLUGIN = "provider.plugin[serinus/sequential]"


def test_numbers_may_be_texts_for_that_is_what_arguments_are() -> None:
    got = settings(r0="2", alpha="0.001", dispersion="3", safeToAdvance={"ratio": "4"})
    assert (got.r0, got.alpha, got.dispersion, got.tolerance) == (2.0, 0.001, 3.0, 4.0)
    assert settings(dispersion="auto").dispersion == "auto"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"aplha": 1}, f"{PLUGIN}: Object contains unknown field `aplha`"),
        ({"r0": "much"}, f"{PLUGIN}.r0: Expected `float`"),
        ({"r0": 0}, f"{PLUGIN}.r0: 0 must be from 0.05 to 100"),
        ({"alpha": 1}, f"{PLUGIN}.alpha: 1 must be a chance"),
        ({"canary": None}, "missing required field `canary`"),
        ({"canary": {"requests": "x"}}, f"{PLUGIN}.canary.bad: is required without slowerThan"),
        ({"canary": arm("sum(rate(x[2m]))")}, f"{PLUGIN}.canary.requests: 'sum(rate(x[2m]))' is no"),
        ({"canary": arm("x[2m]")}, f"{PLUGIN}.canary.requests: 'x[2m]' is no selector"),
        ({"canary": arm("{}")}, f"{PLUGIN}.canary.requests: '{{}}' is no selector"),
        ({"stable": arm(CANARY)}, "a comparison with itself says nothing"),
        ({"slowerThan": [250]}, f"{PLUGIN}.canary.requests: does not go with buckets"),
        ({"guard": {"rate": 5}}, f"{PLUGIN}.guard.rate: 5 must be between 0 and 1"),
        ({"guard": {}}, f"{PLUGIN}.guard: Object missing required field `rate`"),
        ({"safeToAdvance": {"ratio": 1}}, f"{PLUGIN}.safeToAdvance.ratio: 1 must be from r0 (1.5)"),
        ({"safeToAdvance": {"beta": 0}}, f"{PLUGIN}.safeToAdvance.beta: 0 must be a chance"),
        ({"safeToAdvance": {"minRequests": -1}}, "minRequests: must not be negative"),
        ({"atEnd": "pass"}, f"{PLUGIN}.atEnd: Invalid enum value 'pass'"),
        ({"atEnd": "successful"}, f"{PLUGIN}.atEnd: never comes without a count"),
        ({"dispersion": 0.5}, f"{PLUGIN}.dispersion: 0.5 must be auto, or from 1"),
        ({"stratum": "0s"}, f"{PLUGIN}.stratum: '0s' is too short"),
        ({"grace": "soon"}, f"{PLUGIN}.grace: time: invalid duration"),
        ({"staleAfter": "-1s"}, f"{PLUGIN}.staleAfter: '-1s' is too short"),
        ({"metric_successCondition": "true"}, "successCondition: does not go with serinus/sequential"),
        ({"metric_failureLimit": 2}, "failureLimit: does not go with serinus/sequential"),
        ({"metric_consecutiveSuccessLimit": 2}, "consecutiveSuccessLimit: does not go with"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_is_wrong_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        settings(**given)
    assert words in str(refused.value)


@pytest.mark.parametrize("edges", [[], [1, 2, 3, 4, 5], [1, 1], [0]], ids=str)
def test_edges_are_few_different_and_positive(edges: list[float]) -> None:
    buckets = {
        "canary": {"buckets": 'x_bucket{v="c"}'},
        "stable": {"buckets": 'x_bucket{v="s"}'},
        "slowerThan": edges,
    }
    with pytest.raises(Refused):
        settings(**buckets)
    assert settings(**{**buckets, "slowerThan": [0.25, 1]}).comparisons == 2


@pytest.mark.parametrize(
    ("selector", "restricted"),
    [
        ("x", 'x{le=~"0[.]25([.]0+)?|[+]Inf"}'),
        ('x{a="b",}', 'x{a="b",le=~"0[.]25([.]0+)?|[+]Inf"}'),
        ('{__name__="x"}', '{__name__="x",le=~"0[.]25([.]0+)?|[+]Inf"}'),
        ('x{a="}"}', 'x{a="}",le=~"0[.]25([.]0+)?|[+]Inf"}'),
    ],
)
def test_only_the_buckets_that_are_needed_are_asked_for(selector: str, restricted: str) -> None:
    assert with_edges(selector, (0.25, float("inf"))) == restricted


def test_a_large_edge_is_found_in_either_notation() -> None:
    assert with_edges("x", (1e6,)) == 'x{le=~"1000000([.]0+)?|1e[+]06([.]0+)?"}'


def of_plugins(**plugins: Any) -> Metric:
    return Metric(name="m", provider={"plugin": plugins})


def test_a_template_is_checked_before_its_arguments_are_known() -> None:
    tagged = metric(
        metric_count="{{args.looks}}",
        canary=arm('x{service="{{args.canary-service}}"}'),
        stable=arm('x{service="{{ args.stable }}"}'),
        r0="{{args.r0}}",
        guard={"rate": "{{args.rate}}"},
        atEnd="successful",
        prometheus={"address": "http://{{args.host}}:9090"},
    )
    assert template_problem(tagged) == ""
    assert "alpha" in template_problem(metric(alpha=7, r0="{{args.r0}}"))
    assert "no selector" in template_problem(metric(canary=arm("rate({{args.x}}[1m])")))
    assert "unknown field" in template_problem(metric(typo="{{args.x}}x", tpyo=1))


def test_other_plugins_are_none_of_the_judge_s_business() -> None:
    # Argo's own validation leaves plugins to themselves; its answer must stay the same.
    validate_metrics([of_plugins(**{"a/b": {}})])
    assert template_problem(of_plugins(**{"a/b": {}})) == ""
    assert template_problem(of_plugins()) == ""
    assert template_problem(Metric(name="m", provider={"web": {}})) == ""
    with pytest.raises(Refused, match="must be a mapping"):
        settings_of(of_plugins(**{"serinus/sequential": "x"}))


def test_without_a_count_of_looks_a_step_could_wait_for_ever() -> None:
    assert is_endless(metric(metric_interval="15s"))
    assert not is_endless(metric(metric_interval="15s", metric_count=40))

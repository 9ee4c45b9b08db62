"""Which specs can be driven."""

from typing import Any

import pytest

from agent.api.decode import read
from agent.api.rollout import Rollout
from agent.rollout.validation import validate, validate_strategy

TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
}
GOOD: dict[str, Any] = {
    "selector": {"matchLabels": {"app": "web"}},
    "template": TEMPLATE,
    "strategy": {"canary": {}},
}
REF = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
ISTIO: dict[str, Any] = {"istio": {"virtualService": {"name": "v"}}}
SERVICES = {"canaryService": "c", "stableService": "s"}


def errors_of(**spec: Any) -> list[tuple[str, str]]:
    given = {key: value for key, value in {**GOOD, **spec}.items() if value is not None}
    return [(error.field, error.detail) for error in validate(read(Rollout, {"spec": given}))]


def strategy_fields(strategy: dict[str, Any]) -> list[str]:
    rollout = read(Rollout, {"spec": {"strategy": strategy}})
    return [error.field.removeprefix("spec.strategy.") for error in validate_strategy(rollout)]


def canary_fields(**canary: Any) -> list[str]:
    return strategy_fields({"canary": canary})


def test_a_good_spec_has_no_errors() -> None:
    assert errors_of() == []
    assert errors_of(template=None, selector=None, workloadRef=REF) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"replicas": -1}, "spec.replicas"),
        ({"selector": None}, "spec.selector"),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "?"}]}}, "spec.selector.matchExpressions[0].operator"),
        ({"selector": {}}, "spec.selector"),
        ({"workloadRef": REF}, "spec.template"),
        ({"minReadySeconds": -1}, "spec.minReadySeconds"),
        ({"minReadySeconds": 600}, "spec.progressDeadlineSeconds"),
        ({"revisionHistoryLimit": -1}, "spec.revisionHistoryLimit"),
        ({"progressDeadlineSeconds": 0}, "spec.progressDeadlineSeconds"),
        ({"selector": {"matchLabels": {"app": "db"}}}, "spec.template.metadata.labels"),
        ({"template": None}, "spec.template.metadata.labels"),
        ({"strategy": {}}, "spec.strategy.strategy"),
        ({"strategy": {"canary": {}, "blueGreen": {}}}, "spec.strategy.strategy"),
    ],
)  # fmt: skip
def test_the_field_is_named(spec: dict[str, Any], field: str) -> None:
    assert errors_of(**spec)[0][0] == field


def test_a_template_that_was_filled_in_is_validated_with_its_workload() -> None:
    rollout = read(Rollout, {"spec": {**GOOD, "workloadRef": REF}})
    assert validate(rollout, template_resolved=True) == []
    other = read(Rollout, {"spec": {**GOOD, "selector": {"matchLabels": {"app": "db"}}, "workloadRef": REF}})  # fmt: skip
    assert validate(other, template_resolved=True)[0].field == "spec.template.metadata.labels"


@pytest.mark.parametrize(
    ("canary", "fields"),
    [
        pytest.param({"maxSurge": 0, "maxUnavailable": "0"}, ["maxSurge"], id="nothing may move"),
        pytest.param({"maxSurge": "x", "maxUnavailable": 0}, ["maxSurge"], id="an unreadable limit is none"),
        pytest.param({"maxSurge": "10", "maxUnavailable": 0}, [], id="digits are a limit"),
        pytest.param({"canaryService": "a", "stableService": "a"}, ["stableService"], id="one service in two roles"),
        pytest.param({"trafficRouting": ISTIO}, ["stableService", "canaryService"], id="a router needs services"),
        pytest.param({"trafficRouting": ISTIO, "canaryService": "c"}, ["stableService"], id="both of them"),
        pytest.param({"trafficRouting": ISTIO, "pingPong": {"pingService": "a", "pongService": "b"}}, [], id="ping and pong are services"),
        pytest.param({"pingPong": {"pingService": "a", "pongService": "a"}}, ["pingPong.pingService"], id="ping is pong"),
        pytest.param({"trafficRouting": {"smi": {}}, "pingPong": {"pingService": "a", "pongService": "b"}, **SERVICES}, ["trafficRouting.alb"], id="a router without ping-pong"),
        pytest.param({"trafficRouting": {"plugins": {}}, "pingPong": {"pingService": "a", "pongService": "b"}}, ["trafficRouting.alb"], id="an empty map of plugins is no router"),
        pytest.param({"scaleDownDelaySeconds": 0}, ["scaleDownDelaySeconds"], id="a delay without a router"),
        pytest.param({"trafficRouting": {"maxTrafficWeight": 50}}, ["trafficRouting.maxTrafficWeight"], id="a full weight without nginx"),
        pytest.param({"antiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}, [], id="anti-affinity"),
        pytest.param({"antiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}, "preferredDuringSchedulingIgnoredDuringExecution": {"weight": 1}}}, ["antiAffinity"], id="two kinds of anti-affinity"),
        pytest.param({"antiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": {}}}, ["antiAffinity.weight"], id="anti-affinity without a weight"),
    ],
)  # fmt: skip
def test_canary(canary: dict[str, Any], fields: list[str]) -> None:
    assert canary_fields(**canary) == fields


@pytest.mark.parametrize(
    ("blue_green", "fields"),
    [
        ({"activeService": "a"}, []),
        ({}, ["activeService"]),
        ({"activeService": "a", "scaleDownDelayRevisionLimit": 10}, []),
        ({"activeService": "a", "scaleDownDelayRevisionLimit": 11}, ["scaleDownDelayRevisionLimit"]),
        ({"activeService": "a", "antiAffinity": {}}, ["antiAffinity"]),
    ],
)  # fmt: skip
def test_blue_green(blue_green: dict[str, Any], fields: list[str]) -> None:
    assert strategy_fields({"blueGreen": blue_green}) == fields


def argument(path: str) -> dict[str, Any]:
    return {"args": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}


@pytest.mark.parametrize(
    ("step", "field"),
    [
        pytest.param({"setWeight": -1}, "setWeight", id="a negative weight"),
        pytest.param({"setWeight": 0}, None, id="no weight"),
        pytest.param({"setWeight": 5, "setCanaryScale": {"weight": 5}}, None, id="a scale beside a weight is let through, as in Argo"),
        pytest.param({"setWeight": 5, "analysis": {}}, "", id="two members"),
        pytest.param({"pause": {"duration": "1d"}}, "pause.duration", id="no duration"),
        pytest.param({"pause": {"duration": "1m"}}, None, id="a duration"),
        pytest.param({"plugin": {"name": "p"}}, None, id="a plugin"),
        pytest.param({"setHeaderRoute": {"name": "h", "match": [{"headerName": "x", "headerValue": {}}]}}, "setHeaderRoute.match[0]", id="a match without a value"),
        pytest.param({"setHeaderRoute": {"name": "other"}}, "setHeaderRoute", id="a route that is not managed"),
        pytest.param({"setMirrorRoute": {"name": "h", "match": [{"method": {"exact": "GET", "regex": "P.*"}}]}}, "setMirrorRoute.match[0]", id="two values"),
        pytest.param({"setMirrorRoute": {"name": "h", "match": [{"headers": {"x": {}}}]}}, None, id="headers of mirrors are not looked at, as in Argo"),
        pytest.param({"experiment": {"templates": [{"name": "t", "weight": 5}]}}, None, id="an experiment's weight"),
        pytest.param({"analysis": argument("metadata.name")}, None, id="an argument from the name"),
        pytest.param({"analysis": argument("metadata.labels['a/B']")}, None, id="an argument from a label"),
        pytest.param({"analysis": argument("metadata.annotations['A/b']")}, None, id="an argument from an annotation"),
        pytest.param({"analysis": argument("metadata.uid['x']")}, "analyses", id="an argument from nowhere"),
        pytest.param({"analysis": argument("status.phase")}, None, id="an argument from elsewhere"),
        pytest.param({"experiment": {"templates": [], "analyses": [argument("metadata.x")]}}, "analyses", id="an experiment's argument"),
    ],
)  # fmt: skip
def test_steps_with_istio(step: dict[str, Any], field: str | None) -> None:
    routing = {**ISTIO, "managedRoutes": [{"name": "h"}]}
    found = canary_fields(trafficRouting=routing, steps=[{"pause": {}}, step], **SERVICES)
    expected = [] if field is None else [f"steps[1].{field}".rstrip(".")]
    assert found == expected


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({"setCanaryScale": {"replicas": 1}}, "trafficRouting"),
        ({"setHeaderRoute": {"name": "h"}}, "steps[0].setHeaderRoute"),
        ({"setMirrorRoute": {"name": "h"}}, "steps[0].setMirrorRoute"),
        ({"experiment": {"templates": [{"weight": 5}]}}, "steps[0].experiment.templates[0].weight"),
        ({"experiment": {"templates": [{"name": "t"}]}}, None),
        ({}, "steps[0]"),
    ],
)
def test_steps_without_a_router(step: dict[str, Any], field: str | None) -> None:
    assert canary_fields(steps=[step]) == ([] if field is None else [field])


def test_routes_need_a_list_of_managed_ones() -> None:
    step = {"setHeaderRoute": {"name": "h"}}
    fields = canary_fields(trafficRouting=ISTIO, steps=[step], **SERVICES)
    assert fields == ["trafficRouting.managedRoutes"]


def test_load_balancers_match_exact_headers_only() -> None:
    routing = {"alb": {"rootService": "r"}, "managedRoutes": [{"name": "h"}]}
    values = ({"exact": "1"}, {"prefix": "1"}, {"exact": "1", "regex": "2"}, None)
    match = [{"headerName": "x", "headerValue": value} for value in values]
    step = {"setHeaderRoute": {"name": "h", "match": match}}
    fields = canary_fields(trafficRouting=routing, steps=[step], **SERVICES)
    assert fields == [f"steps[0].setHeaderRoute.match[{index}]" for index in (1, 2, 3)]


def test_an_unreadable_experiment_does_not_break_validation() -> None:
    for experiment in ({"analyses": [{"args": "x"}, 5]}, {"templates": "x"}, {"analyses": None}):
        assert canary_fields(steps=[{"experiment": experiment}]) == []

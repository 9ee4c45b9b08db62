"""The plugin's configuration: every field is read, or refused by its name."""

from typing import Any

import pytest

from agent.api.meta import Ref
from agent.errors import Refused
from agent.traffic.gateway import Gateway
from agent.traffic.gateway_config import read_config
from tests.traffic.gateway_objects import pair, rollout, route, rule
from tests.traffic.objects import observed

FIELD = 'spec.strategy.canary.trafficRouting.plugins["argoproj-labs/gatewayAPI"]'


def test_one_route_of_each_protocol_in_the_plugin_s_order() -> None:
    config = {"tlsRoute": "d", "tcpRoute": "c", "grpcRoute": "b", "httpRoute": "a"}
    assert [(at.ref, at.managed) for at in read_config(rollout(config=config)).routes] == [
        (Ref("HTTPRoute", "default", "a"), True),
        (Ref("GRPCRoute", "default", "b"), True),
        (Ref("TCPRoute", "default", "c"), False),
        (Ref("TLSRoute", "default", "d"), False),
    ]


def test_listed_routes_take_header_rules_only_when_they_say_so() -> None:
    config = {
        "namespace": "edge",
        "httpRoutes": [{"name": "a"}, {"name": "b", "useHeaderRoutes": True}],
        "tcpRoutes": [{"name": "c", "useHeaderRoutes": True}],
        "httpRoute": "single",
    }
    assert [(*at.ref, at.managed) for at in read_config(rollout(config=config)).routes] == [
        ("HTTPRoute", "edge", "a", False),
        ("HTTPRoute", "edge", "b", True),
        ("HTTPRoute", "edge", "single", True),
        ("TCPRoute", "edge", "c", False),
    ]


@pytest.mark.parametrize(
    ("config", "label"),
    [
        ({}, ("rollouts.argoproj.io/gatewayapi-canary", "in-progress")),
        ({"inProgressLabelKey": "a/b", "inProgressLabelValue": "c"}, ("a/b", "c")),
        ({"disableInProgressLabel": True}, None),
        (
            {"configMap": "of an earlier plugin"},
            ("rollouts.argoproj.io/gatewayapi-canary", "in-progress"),
        ),
    ],
)
def test_the_label_of_a_canary_under_way(config: dict[str, Any], label: Any) -> None:
    assert read_config(rollout(config={"httpRoute": "web", **config})).label == label


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ({}, "", "names no route"),
        ({"httpRoutes": []}, "", "names no route"),
        (
            {"httpRouteSelector": {"matchLabels": {"a": "b"}}},
            ".httpRouteSelector",
            "by name in httpRoutes",
        ),
        ({"tlsRouteSelector": {}, "httpRoute": "a"}, ".tlsRouteSelector", "by name in tlsRoutes"),
        ({"httpRout": "a"}, ".httpRout", "is not known: known are httpRoute,"),
        ({"httpRoute": ["a"]}, ".httpRoute", "is not a text"),
        ({"httpRoutes": "a"}, ".httpRoutes", "is not a list"),
        (
            {"httpRoute": "a", "disableInProgressLabel": "no"},
            ".disableInProgressLabel",
            "is not a truth value",
        ),
        ({"httpRoutes": [{"useHeaderRoutes": True}]}, ".httpRoutes[0]", "has no name"),
        ({"httpRoutes": [{"name": "a", "rules": []}]}, ".httpRoutes[0].rules", "is not known"),
        (
            {"httpRoutes": [{"name": "a"}], "httpRoute": "a"},
            ".httpRoutes[0].name",
            "is named twice",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_field(
    config: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        read_config(rollout(config=config))
    assert refused.value.field == FIELD + field
    assert words in refused.value.detail
    ro = rollout(config=config)
    assert [error.field for error in Gateway().validate(ro, {})] == [FIELD + field]
    assert Gateway().references(ro) == ()


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"stableService": ""}, "spec.strategy.canary.stableService", "lead to Services"),
        ({"canaryService": ""}, "spec.strategy.canary.canaryService", "lead to Services"),
        (
            {"most": 0},
            "spec.strategy.canary.trafficRouting.maxTrafficWeight",
            "between 1 and 1000000",
        ),
        (
            {"most": 1_000_001},
            "spec.strategy.canary.trafficRouting.maxTrafficWeight",
            "between 1 and",
        ),
        (
            {"managed": ("Beta_1",)},
            "spec.strategy.canary.trafficRouting.managedRoutes",
            "'Beta_1' cannot be",
        ),
        (
            {"steps": [{"pause": {}}, {"experiment": {"templates": [{"name": "a", "weight": 5}]}}]},
            "spec.strategy.canary.steps[1].experiment",
            "experiments get no weight",
        ),
        (
            {
                "config": {"httpRoutes": [{"name": "web"}]},
                "managed": ("beta",),
                "steps": [{"setHeaderRoute": {"name": "beta", "match": [{"headerName": "a"}]}}],
            },
            FIELD,
            "useHeaderRoutes: true",
        ),
    ],
)
def test_what_the_manifest_lacks_is_refused_by_field(
    changes: dict[str, Any], field: str, words: str
) -> None:
    (error,) = Gateway().validate(rollout(**changes), observed(route(rule(*pair(100, 0)))))
    assert error.field == field
    assert words in error.detail


def test_a_manifest_in_order_is_not_refused() -> None:
    assert (
        Gateway().validate(rollout(managed=("beta",)), observed(route(rule(*pair(100, 0))))) == ()
    )

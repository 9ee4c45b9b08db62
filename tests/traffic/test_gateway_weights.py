"""Weights of backendRefs: which rules are ours, what their sum is, what is refused."""

from typing import Any

import pytest

from agent.api.meta import Object
from agent.api.rollout import WeightDestination
from agent.traffic.gateway import Gateway
from agent.traffic.types import Desired, RouteObjects, RoutePlan
from tests.traffic.gateway_objects import pair, ref, rollout, route, rule, weights
from tests.traffic.objects import observed

NO_LABEL = {"httpRoute": "web", "disableInProgressLabel": True}
ROUTER = Gateway()


def plan(weight: int, *rules: dict[str, Any], **given: Any) -> RoutePlan:
    ro = rollout(**{"config": NO_LABEL, **given})
    return ROUTER.plan(ro, observed(route(*rules)), Desired(canary_weight=weight))


def after(made: RoutePlan) -> Object:
    assert made.refusal is None
    (change,) = made.changes
    return change.after


def share(*rules: dict[str, Any], most: int | None = None) -> int | None:
    return ROUTER.canary_weight(rollout(most=most), observed(route(*rules)))


@pytest.mark.parametrize(
    ("stable", "canary", "read"),
    [
        (100, 0, 0), (0, 100, 100), (90, 10, 10), (None, None, 50), (None, 0, 0), (0, None, 100),
        (1, 1, 50), (2, 1, 34), (999, 1, 1), (1, 999, 99), (0, 0, 0), (9.0, 1.0, 10),
    ],
)  # fmt: skip
def test_the_share_is_one_of_the_sum_and_a_missing_weight_is_1(
    stable: Any, canary: Any, read: int
) -> None:
    assert share(rule(*pair(stable, canary))) == read


def test_the_highest_share_of_several_rules_counts() -> None:
    assert share(rule(*pair(90, 10)), rule(ref("old")), rule(*pair(70, 30))) == 30


@pytest.mark.parametrize("weight", [-1, 1.5, True, "10", None])
def test_a_weight_that_is_no_number_cannot_be_told_and_is_lowered(weight: Any) -> None:
    rules = rule(*pair(50, 50))
    rules["backendRefs"][1]["weight"] = weight
    assert share(rules) is None
    (change,) = plan(10, rules).changes
    assert change.direction == "lower"
    assert weights(change.after) == {"stable": 90, "canary": 10}


def test_a_raise_is_guarded_by_all_that_it_relies_upon() -> None:
    (change,) = plan(20, rule(*pair(100, 0))).changes
    base = "/spec/rules/0/backendRefs"
    assert change.direction == "raise"
    assert change.reason == "canary weight 20 on HTTPRoute default/web"
    assert change.patch == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "test", "path": f"{base}/0/name", "value": "stable"},
        {"op": "test", "path": f"{base}/0/weight", "value": 100},
        {"op": "test", "path": f"{base}/1/name", "value": "canary"},
        {"op": "test", "path": f"{base}/1/weight", "value": 0},
        {"op": "replace", "path": f"{base}/0/weight", "value": 80},
        {"op": "replace", "path": f"{base}/1/weight", "value": 20},
    )


def test_a_lower_does_not_fail_over_trifles() -> None:
    (change,) = plan(0, rule(*pair(80, 20), name="main", matches=[{}])).changes
    assert change.direction == "lower"
    tested = [item["path"] for item in change.patch if item["op"] == "test"]
    assert all(path.startswith("/spec/rules/0/backendRefs/") for path in tested)


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        pytest.param([rule(ref("stable"), matches=["a"])], [], id="stable alone"),
        pytest.param([rule(ref("canary"))], [], id="canary alone"),
        pytest.param([rule(ref("old"), ref("older"))], [], id="two others"),
        pytest.param([rule(filters=[{"type": "RequestRedirect"}])], [], id="no backends"),
        pytest.param(
            [rule(ref("stable"), ref("canary", kind="Other", group="x"))], [], id="another kind"
        ),
        pytest.param(
            [rule(ref("stable"), ref("canary", namespace="other"))], [], id="another namespace"
        ),
        pytest.param([rule(*pair(3, 1, namespace="default"))], [1], id="our namespace by name"),
        pytest.param(
            [rule(*pair(3, 1, group="", kind="Service"))], [1], id="as the server writes it"
        ),
    ],
)
def test_only_rules_with_both_services_are_ours(
    rules: list[dict[str, Any]], names: list[int]
) -> None:
    made = after(plan(25, rule(*pair(100, 0)), *rules))
    changed = [index for index, item in enumerate(rules, 1) if made["spec"]["rules"][index] != item]
    assert changed == names
    assert weights(made) == {"stable": 75, "canary": 25}


def test_other_backends_keep_their_share() -> None:
    """A third of the rule goes elsewhere, before and after; the canary has a share of the rest."""
    made = after(plan(30, rule(*pair(200, 0), ref("legacy", 100))))
    assert weights(made) == {"stable": 140, "canary": 60, "legacy": 100}
    assert share(*made["spec"]["rules"]) == 30
    again = after(plan(0, *made["spec"]["rules"]))
    assert weights(again) == {"stable": 200, "canary": 0, "legacy": 100}


def test_other_backends_without_weight_do_not_bind_the_pair() -> None:
    made = after(plan(30, rule(*pair(1, 0), ref("legacy", 0))))
    assert weights(made) == {"stable": 70, "canary": 30, "legacy": 0}


@pytest.mark.parametrize(("stable", "canary"), [(3, 0), (0, 0)])
def test_a_pair_that_cannot_say_every_weight_beside_others_is_refused(
    stable: int, canary: int
) -> None:
    rules = rule(*pair(stable, canary), ref("legacy", 2))
    made = plan(10, rules)
    assert made.changes == ()
    assert made.refusal is not None
    assert "sum to a multiple of 100" in made.refusal.detail
    (error,) = ROUTER.validate(rollout(), observed(route(rules)))
    assert error.detail == made.refusal.detail


def test_lowering_goes_forward_all_the_same_and_takes_off_rather_more() -> None:
    half = plan(50, rule(*pair(1, 2), ref("legacy", 2)))
    assert half.refusal is not None
    (change,) = half.changes
    assert weights(change.after) == {"stable": 2, "canary": 1, "legacy": 2}
    made = after(plan(0, *change.after["spec"]["rules"]))
    assert weights(made) == {"stable": 3, "canary": 0, "legacy": 2}


def test_max_traffic_weight_is_the_unit() -> None:
    made = after(plan(5, rule(*pair(100, 0)), most=1000))
    assert weights(made) == {"stable": 995, "canary": 5}
    assert share(*made["spec"]["rules"], most=1000) == 5
    assert share(rule(*pair(0, 1)), most=1000) == 1000


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        pytest.param([rule(ref("stable"))], "no rule has backendRefs to both the canary Service 'canary'", id="one"),
        pytest.param([rule(ref("stable")), rule(ref("canary"))], "put both into one rule", id="apart"),
        pytest.param(
            [rule(ref("stable"), ref("canary"), ref("canary", port=81))], "has 2 backendRefs to the canary", id="twice"
        ),
        pytest.param(
            [rule(ref("stable", namespace="x"), ref("canary", namespace="x"))],
            "each with namespace: default (the Rollout's), and allow that by a ReferenceGrant",
            id="elsewhere",
        ),
        pytest.param([{"backendRefs": "x"}], "not a list of backendRefs", id="malformed"),
    ],
)  # fmt: skip
def test_what_cannot_be_driven_is_refused_with_the_fix(rules: list[Any], words: str) -> None:
    made = plan(10, *rules)
    assert made.changes == ()
    assert made.refusal is not None
    assert words in made.refusal.detail
    assert made.refusal.field.endswith(".httpRoute")
    assert words in ROUTER.validate(rollout(), observed(route(*rules)))[0].detail
    assert share(*rules) is None


def test_a_route_in_another_namespace_leads_home_by_namespace() -> None:
    config = {**NO_LABEL, "namespace": "edge"}
    there = route(rule(*pair(100, 0, namespace="default")), namespace="edge")
    made = ROUTER.plan(rollout(config=config), observed(there), Desired(canary_weight=40))
    assert weights(after(made)) == {"stable": 60, "canary": 40}
    lost = route(rule(*pair(100, 0)), namespace="edge")
    (error,) = ROUTER.validate(rollout(config=config), observed(lost))
    assert "for routes of 'edge'" in error.detail


def test_a_route_that_is_missing_is_refused_in_the_api_server_s_words() -> None:
    made = ROUTER.plan(rollout(), {}, Desired(canary_weight=10))
    assert made.refusal is not None
    assert made.refusal.detail == 'httproutes.gateway.networking.k8s.io "web" not found'


# Several routes.


def several() -> tuple[dict[str, Any], RouteObjects]:
    config = {
        **NO_LABEL, "grpcRoutes": [{"name": "api"}], "tcpRoute": "raw", "tlsRoutes": [{"name": "sni"}],
    }  # fmt: skip
    objects = observed(
        route(rule(*pair(60, 40))),
        route(rule(*pair(95, 5)), kind="GRPCRoute", name="api"),
        route(rule(*pair(100, 0)), kind="TCPRoute", name="raw"),
        route(rule(*pair(None, None)), kind="TLSRoute", name="sni"),
    )
    return config, objects


def test_all_routes_move_together_lowers_first() -> None:
    config, objects = several()
    made = ROUTER.plan(rollout(config=config), objects, Desired(canary_weight=20))
    assert [(change.ref.kind, change.direction) for change in made.changes] == [
        ("HTTPRoute", "lower"), ("TLSRoute", "lower"), ("GRPCRoute", "raise"), ("TCPRoute", "raise"),
    ]  # fmt: skip
    assert all(weights(change.after) == {"stable": 80, "canary": 20} for change in made.changes)
    objects = {**objects, **{change.ref: change.after for change in made.changes}}
    assert ROUTER.plan(rollout(config=config), objects, Desired(canary_weight=20)) == RoutePlan()


def test_trouble_with_one_route_lowers_the_others_and_raises_none() -> None:
    config, objects = several()
    objects = {key: obj for key, obj in objects.items() if key.kind != "TLSRoute"}
    made = ROUTER.plan(rollout(config=config), objects, Desired(canary_weight=20))
    assert [change.ref.kind for change in made.changes] == ["HTTPRoute"]
    assert made.refusal is not None
    assert made.refusal.field.endswith(".tlsRoutes[0].name")


def test_two_rules_of_one_route_fall_and_rise_one_after_the_other() -> None:
    made = plan(20, rule(*pair(100, 0)), rule(*pair(50, 50)))
    lowered, raised = made.changes
    assert (lowered.direction, raised.direction) == ("lower", "raise")
    assert [weights(lowered.after, index)["canary"] for index in (0, 1)] == [0, 20]
    assert [weights(raised.after, index)["canary"] for index in (0, 1)] == [20, 20]
    assert raised.before == lowered.after


def test_weights_of_experiments_are_refused_and_the_canary_falls() -> None:
    desired = Desired(canary_weight=0, additional=(WeightDestination(weight=5, service_name="e"),))
    made = ROUTER.plan(rollout(config=NO_LABEL), observed(route(rule(*pair(90, 10)))), desired)
    assert [change.direction for change in made.changes] == ["lower"]
    assert made.refusal is not None
    assert "experiments" in made.refusal.detail


def test_claims_are_the_rules_that_carry_the_weights_and_the_rules_of_our_own() -> None:
    objects = observed(
        route(rule(ref("old")), rule(*pair(100, 0)), rule(*pair(100, 0), name="api"))
    )
    claims = ROUTER.claims(rollout(managed=("beta",)), objects)
    assert [claim.part for claim in claims] == ["rule 1", "rule 'api'", "managed route 'beta'"]


# The label that says that a canary is under way.

LABEL = "rollouts.argoproj.io/gatewayapi-canary"


def labelled(weight: int, stable: int, canary: int, **labels: str) -> RoutePlan:
    objects = observed(route(rule(*pair(stable, canary)), labels=labels or None))
    return ROUTER.plan(rollout(), objects, Desired(canary_weight=weight))


def test_the_label_comes_with_the_first_weight() -> None:
    for labels in ({}, {"team": "a"}):
        (change,) = labelled(20, 100, 0, **labels).changes
        assert change.after["metadata"]["labels"] == {**labels, LABEL: "in-progress"}


def test_the_label_never_keeps_a_weight_from_falling() -> None:
    (change,) = labelled(0, 80, 20, **{LABEL: "in-progress"}).changes
    assert not [item for item in change.patch if "labels" in item["path"]]


def test_the_label_goes_when_the_weights_are_back() -> None:
    (change,) = labelled(0, 100, 0, **{LABEL: "in-progress", "team": "a"}).changes
    assert change.direction == "repoint"
    assert change.after["metadata"]["labels"] == {"team": "a"}
    assert labelled(0, 100, 0, team="a").changes == ()


@pytest.mark.parametrize("labels", [{}, {LABEL: "something else"}])
def test_the_label_is_put_back_while_a_weight_stands(labels: dict[str, str]) -> None:
    (change,) = labelled(20, 80, 20, **labels).changes
    assert change.direction == "repoint"
    assert change.after["metadata"]["labels"] == {LABEL: "in-progress"}


def test_a_label_that_is_not_wanted_is_nobody_s_business() -> None:
    objects = observed(route(rule(*pair(100, 0)), labels={LABEL: "mine"}))
    assert ROUTER.plan(rollout(config=NO_LABEL), objects, Desired(canary_weight=0)) == RoutePlan()

"""Header and mirror routes: they come and go without touching the user's routes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.rollout import (
    HeaderRoutingMatch,
    Rollout,
    RouteMatch,
    SetHeaderRoute,
    SetMirrorRoute,
    StringMatch,
)
from agent.rollout.managed_routes import gone
from agent.traffic.istio import Istio
from agent.traffic.types import Desired, ManagedRoute, RouteObjects, RoutePlan
from tests.traffic.objects import observed, pair, rollout, subset_pair, to, virtual_service, weights

HEADER = SetHeaderRoute(
    name="hdr",
    match=[HeaderRoutingMatch(header_name="x-canary", header_value=StringMatch(exact="1"))],
)
MIRROR = SetMirrorRoute(name="mir", match=[RouteMatch(path=StringMatch(prefix="/"))], percentage=35)


def plan(ro: Rollout, objects: RouteObjects, *managed: ManagedRoute) -> RoutePlan:
    return Istio().plan(ro, objects, Desired(managed=managed))


def plan_all_gone(ro: Rollout, objects: RouteObjects) -> RoutePlan:
    return plan(ro, objects, *gone(ro))


def test_unnamed_routes_are_not_multiplied_when_a_managed_route_is_put_in_front() -> None:
    primary = {"name": "primary", "route": pair(100, 0)}
    unnamed = [{"route": [to("old", 100)]}, {"route": [to("older", 100)]}]
    service = virtual_service(primary, *unnamed)
    ro = rollout(routes=["primary"], managed=["hdr"])
    (change,) = plan(ro, observed(service), HEADER).changes
    assert change.after["spec"]["http"][1:] == [primary, *unnamed]
    assert change.direction == "raise"
    assert [operation["op"] for operation in change.patch] == ["test", "test", "add"]


def test_the_canary_is_reached_by_the_port_of_the_weighted_route() -> None:
    ports = [to("stable", 100, port={"number": 8443}), to("canary", 0, port={"number": 8443})]
    ro = rollout(managed=["hdr"])
    (change,) = plan(ro, observed(virtual_service({"route": ports})), HEADER).changes
    assert change.after["spec"]["http"][0]["route"] == [to("canary", 100, port={"number": 8443})]


def test_what_is_there_already_is_not_written_again() -> None:
    ro = rollout(managed=["hdr"])
    objects = observed(virtual_service({"route": pair(60, 40)}))
    (change,) = plan(ro, objects, HEADER).changes
    assert plan(ro, {change.ref: change.after}, HEADER).changes == ()


def test_a_mirror_copies_the_weights_and_the_share() -> None:
    ro = rollout(managed=["mir"])
    objects = observed(virtual_service({"route": pair(60, 40)}))
    (change,) = plan(ro, objects, MIRROR).changes
    assert weights(change.after) == {"stable": 60, "canary": 40}
    mirror = change.after["spec"]["http"][0]
    assert (mirror["mirror"], mirror["mirrorPercentage"]) == ({"host": "canary"}, {"value": 35})


@pytest.mark.parametrize(
    ("managed", "routes", "sentence"),
    [
        pytest.param([], ["primary"], "list it in trafficRouting.managedRoutes", id="not allowed"),
        pytest.param(
            ["hdr", "primary"], ["primary"], "give the managed route another name", id="the user's"
        ),
        pytest.param(["hdr"], ["nope"], "'nope' is not found", id="no weighted route"),
    ],
)
def test_what_would_harm_a_users_route_is_refused(
    managed: list[str], routes: list[str], sentence: str
) -> None:
    service = virtual_service({"name": "primary", "route": pair(100, 0)})
    made = plan(rollout(routes=routes, managed=managed), observed(service), HEADER)
    assert made.refusal is not None
    assert sentence in made.refusal.detail


def test_removal_never_takes_a_route_that_carries_the_weights() -> None:
    service = virtual_service({"name": "primary", "route": pair(100, 0)})
    made = plan_all_gone(rollout(routes=["primary"], managed=["primary"]), observed(service))
    assert made.refusal is not None
    assert made.changes == ()


def test_removal_goes_on_after_a_virtual_service_that_is_missing_or_empty() -> None:
    istio = {"virtualServices": [{"name": "gone"}, {"name": "tls"}, {"name": "vs"}]}
    header: dict[str, Any] = {"name": "hdr", "match": [{}], "route": [to("canary", 100)]}
    service = virtual_service(header, {"name": "a", "route": pair(100, 0)})
    objects = observed(virtual_service(name="tls", spec={"tls": [{}]}), service)
    (change,) = plan_all_gone(rollout(istio=istio, managed=["hdr"]), objects).changes
    assert change.direction == "lower"
    assert change.patch == (
        {"op": "test", "path": "/spec/http/0/name", "value": "hdr"},
        {"op": "remove", "path": "/spec/http/0"},
    )


@given(
    before=st.lists(st.sampled_from(["a", "b", ""]), max_size=4),
    after=st.lists(st.sampled_from(["c", "d", ""]), max_size=4),
    order=st.permutations(["hdr", "mir"]),
)
def test_setting_and_removing_leaves_the_users_routes_as_they_were(
    before: list[str], after: list[str], order: list[str]
) -> None:
    def foreign(names: list[str]) -> list[dict[str, Any]]:
        return [{**({"name": name} if name else {}), "route": [to("old", 100)]} for name in names]

    start = virtual_service(*foreign(before), {"name": "p", "route": pair(90, 10)}, *foreign(after))
    ro = rollout(routes=["p"], managed=order)
    objects = dict(observed(start))
    for change in plan(ro, objects, HEADER).changes:
        objects[change.ref] = change.after
    for change in plan(ro, objects, MIRROR).changes:
        objects[change.ref] = change.after
    (service,) = objects.values()
    assert [route.get("name") for route in service["spec"]["http"][:2]] == order
    for change in plan_all_gone(ro, objects).changes:
        objects[change.ref] = change.after
    assert objects == observed(start)


def test_weights_and_managed_routes_of_one_object_are_one_lower_and_one_raise() -> None:
    old: dict[str, Any] = {"name": "old", "match": [{}], "route": [to("canary", 100)]}
    objects = observed(virtual_service(old, {"name": "p", "route": pair(60, 40)}))
    ro = rollout(routes=["p"], managed=["hdr", "mir", "old"])
    wanted = Desired(canary_weight=10, managed=(SetHeaderRoute(name="old"), HEADER, MIRROR))
    lowered, raised = Istio().plan(ro, objects, wanted).changes
    assert [lowered.direction, raised.direction] == ["lower", "raise"]
    assert [route["name"] for route in lowered.after["spec"]["http"]] == ["p"]
    assert [route["name"] for route in raised.after["spec"]["http"]] == ["hdr", "mir", "p"]
    assert weights(raised.after, 1) == weights(raised.after, 2) == {"stable": 90, "canary": 10}
    assert Istio().plan(ro, {raised.ref: raised.after}, wanted).changes == ()


def test_the_managed_routes_that_stand_are_told_by_name() -> None:
    foreign: dict[str, Any] = {"name": "theirs", "route": [to("old", 100)]}
    hdr: dict[str, Any] = {"name": "hdr", "match": [{}], "route": [to("canary", 100)]}
    objects = observed(virtual_service(foreign, hdr, {"name": "p", "route": pair(60, 40)}))
    assert Istio().managed_routes(rollout(routes=["p"], managed=["hdr", "mir"]), objects) == (
        "hdr",
    )


def test_a_claim_is_a_route_or_a_subset() -> None:
    ro = rollout(routes=["p"], by_subset=True)
    service = virtual_service({"name": "p", "route": subset_pair(60, 40)})
    assert [(claim.ref.kind, claim.part) for claim in Istio().claims(ro, observed(service))] == [
        ("VirtualService", "route 'p'"),
        ("DestinationRule", "subset 'canary'"),
        ("DestinationRule", "subset 'stable'"),
    ]

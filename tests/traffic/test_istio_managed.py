"""Header and mirror routes: they come and go without touching the user's routes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.rollout import (
    HeaderRoutingMatch,
    RouteMatch,
    SetHeaderRoute,
    SetMirrorRoute,
    StringMatch,
)
from agent.traffic.istio_managed import plan_header_route, plan_mirror_route, plan_removal
from tests.traffic.objects import observed, pair, rollout, to, virtual_service, weights

HEADER = SetHeaderRoute(
    name="hdr",
    match=[HeaderRoutingMatch(header_name="x-canary", header_value=StringMatch(exact="1"))],
)
MIRROR = SetMirrorRoute(name="mir", match=[RouteMatch(path=StringMatch(prefix="/"))], percentage=35)


def test_unnamed_routes_are_not_multiplied_when_a_managed_route_is_put_in_front() -> None:
    primary = {"name": "primary", "route": pair(100, 0)}
    unnamed = [{"route": [to("old", 100)]}, {"route": [to("older", 100)]}]
    service = virtual_service(primary, *unnamed)
    ro = rollout(routes=["primary"], managed=["hdr"])
    (change,) = plan_header_route(ro, observed(service), HEADER).changes
    assert change.after["spec"]["http"][1:] == [primary, *unnamed]
    assert change.direction == "raise"
    assert [operation["op"] for operation in change.patch] == ["test", "add"]


def test_the_canary_is_reached_by_the_port_of_the_weighted_route() -> None:
    ports = [to("stable", 100, port={"number": 8443}), to("canary", 0, port={"number": 8443})]
    ro = rollout(managed=["hdr"])
    (change,) = plan_header_route(ro, observed(virtual_service({"route": ports})), HEADER).changes
    assert change.after["spec"]["http"][0]["route"] == [to("canary", 100, port={"number": 8443})]


def test_what_is_there_already_is_not_written_again() -> None:
    ro = rollout(managed=["hdr"])
    objects = observed(virtual_service({"route": pair(60, 40)}))
    (change,) = plan_header_route(ro, objects, HEADER).changes
    assert plan_header_route(ro, {change.ref: change.after}, HEADER).changes == ()


def test_a_mirror_copies_the_weights_and_the_share() -> None:
    ro = rollout(managed=["mir"])
    objects = observed(virtual_service({"route": pair(60, 40)}))
    (change,) = plan_mirror_route(ro, objects, MIRROR).changes
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
    plan = plan_header_route(rollout(routes=routes, managed=managed), observed(service), HEADER)
    assert plan.refusal is not None
    assert sentence in plan.refusal.detail


def test_removal_never_takes_a_route_that_carries_the_weights() -> None:
    service = virtual_service({"name": "primary", "route": pair(100, 0)})
    plan = plan_removal(rollout(routes=["primary"], managed=["primary"]), observed(service))
    assert plan.refusal is not None
    assert plan.changes == ()


def test_removal_goes_on_after_a_virtual_service_that_is_missing_or_empty() -> None:
    istio = {"virtualServices": [{"name": "gone"}, {"name": "tls"}, {"name": "vs"}]}
    header: dict[str, Any] = {"name": "hdr", "match": [{}], "route": [to("canary", 100)]}
    service = virtual_service(header, {"name": "a", "route": pair(100, 0)})
    objects = observed(virtual_service(name="tls", spec={"tls": [{}]}), service)
    (change,) = plan_removal(rollout(istio=istio, managed=["hdr"]), objects).changes
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
    for change in plan_header_route(ro, objects, HEADER).changes:
        objects[change.ref] = change.after
    for change in plan_mirror_route(ro, objects, MIRROR).changes:
        objects[change.ref] = change.after
    (service,) = objects.values()
    assert [route.get("name") for route in service["spec"]["http"][:2]] == order
    for change in plan_removal(ro, objects).changes:
        objects[change.ref] = change.after
    assert objects == observed(start)

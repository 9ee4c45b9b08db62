"""Properties of the router over random routes: I7, I8, idempotence, totality."""

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.api.meta import Object
from agent.traffic.istio import Istio
from agent.traffic.json_patch import apply
from agent.traffic.types import Desired
from tests.traffic.objects import (
    destination_rule,
    observed,
    rollout,
    to,
    virtual_service,
)

ROUTER = Istio()
WEIGHT = st.integers(0, 100)
UNKNOWN = st.dictionaries(
    st.sampled_from(["timeout", "retries", "x-future", "headers", "fault"]),
    st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists, max_leaves=3),
    max_size=3,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["http", "route", "destination", "host", "subset", "weight", "name"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@st.composite
def routes(draw: st.DrawFn, *, foreign: bool = False) -> dict[str, Any]:
    """An http route with both destinations in any order, unknown fields everywhere."""
    by_subset = draw(st.booleans())
    items = [
        to("app", draw(st.none() | WEIGHT), subset=role)
        if by_subset
        else to(role, draw(st.none() | WEIGHT))
        for role in ("stable", "canary")
    ]
    if foreign:
        items.append(to("legacy", draw(st.integers(0, 60))))
    items = [{**item, **draw(UNKNOWN)} for item in draw(st.permutations(items))]
    return {**draw(UNKNOWN), "name": "primary", "route": items}


def is_by_subset(route: dict[str, Any]) -> bool:
    return any("subset" in item["destination"] for item in route["route"])


def without_weights(service: Object, index: int) -> Object:
    copied = deepcopy(service)
    for item in copied["spec"]["http"][index]["route"]:
        item.pop("weight", None)
    return copied


@given(route=routes(foreign=True), others=st.lists(routes(), max_size=2), weight=WEIGHT)
def test_i7_only_weights_of_the_addressed_route_change(
    route: dict[str, Any], others: list[dict[str, Any]], weight: int
) -> None:
    rest = [{**other, "name": f"other-{index}"} for index, other in enumerate(others)]
    service = virtual_service(*rest, route, spec={"x-unknown": {"kept": True}})
    before = deepcopy(service)
    ro = rollout(routes=["primary"], by_subset=is_by_subset(route))
    plan = ROUTER.plan(ro, observed(service), Desired(canary_weight=weight))
    assert service == before
    for change in plan.changes:
        assert without_weights(change.after, len(rest)) == without_weights(service, len(rest))
        assert change.after == apply(change.before, change.patch)


@given(route=routes(), weight=WEIGHT)
def test_i8_the_weights_sum_to_100_and_read_back_as_desired(
    route: dict[str, Any], weight: int
) -> None:
    service = virtual_service(route)
    ro = rollout(routes=["primary"], by_subset=is_by_subset(route))
    plan = ROUTER.plan(ro, observed(service), Desired(canary_weight=weight))
    assert plan.refusal is None
    objects = {**observed(service), **{change.ref: change.after for change in plan.changes}}
    (after,) = objects.values()
    assert sum(item.get("weight", 0) for item in after["spec"]["http"][0]["route"]) == 100
    assert ROUTER.canary_weight(ro, objects) == weight


@given(route=routes(foreign=True), first=WEIGHT, second=WEIGHT)
def test_a_plan_that_was_applied_leaves_nothing_to_do_and_lowers_always_go_forward(
    route: dict[str, Any], first: int, second: int
) -> None:
    ro = rollout(routes=["primary"], by_subset=is_by_subset(route))
    objects = dict(observed(virtual_service(route)))
    for weight in (first, second, 0):
        for change in ROUTER.plan(ro, objects, Desired(canary_weight=weight)).changes:
            objects[change.ref] = change.after
        assert ROUTER.plan(ro, objects, Desired(canary_weight=weight)).changes == ()
    assert ROUTER.canary_weight(ro, objects) == 0


@given(before=WEIGHT, after=WEIGHT)
def test_the_direction_says_what_happens_to_the_canary(before: int, after: int) -> None:
    service = virtual_service({"route": [to("stable", 100 - before), to("canary", before)]})
    plan = ROUTER.plan(rollout(), observed(service), Desired(canary_weight=after))
    directions = [change.direction for change in plan.changes]
    assert directions == ([] if before == after else ["lower" if after < before else "raise"])


@given(spec=ANYTHING, rule=ANYTHING, weight=st.integers(0, 100))
def test_whatever_the_objects_hold_the_router_answers(spec: Any, rule: Any, weight: int) -> None:
    service, broken = virtual_service(), destination_rule()
    objects = observed({**service, "spec": spec}, {**broken, "spec": rule})
    for ro in (rollout(), rollout(by_subset=True), rollout(routes=["a"], managed=["b"])):
        ROUTER.validate(ro, objects)
        ROUTER.canary_weight(ro, objects)
        ROUTER.plan(ro, objects, Desired(canary_weight=weight, canary_hash="a", stable_hash="b"))
        ROUTER.plan_shelter(ro, objects, "b")

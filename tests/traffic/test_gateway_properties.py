"""Properties of the router over random routes: I7, I8, idempotence, totality."""

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.api.rollout import HeaderRoutingMatch, SetHeaderRoute, StringMatch
from agent.traffic.gateway import Gateway
from agent.traffic.json_patch import apply
from agent.traffic.types import Desired
from tests.traffic.gateway_objects import ref, rollout, route, rule
from tests.traffic.objects import observed

ROUTER = Gateway()
MOST = 100
WEIGHT = st.integers(0, MOST)
HEADER = SetHeaderRoute(
    name="beta", match=[HeaderRoutingMatch(header_name="x", header_value=StringMatch(exact="1"))]
)
UNKNOWN = st.dictionaries(
    st.sampled_from(["timeouts", "retry", "x-future", "sessionPersistence"]),
    st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists, max_leaves=3),
    max_size=3,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "rules",
                    "backendRefs",
                    "name",
                    "weight",
                    "matches",
                    "filters",
                    "parentRefs",
                    "headers",
                    "path",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@st.composite
def rules(draw: st.DrawFn, *, foreign: bool = False) -> dict[str, Any]:
    """A rule with both backends in any order, unknown fields everywhere."""
    items = [ref(role, draw(st.none() | st.integers(0, 300))) for role in ("stable", "canary")]
    if foreign:
        items.append(ref("legacy", draw(st.none() | st.integers(0, 60))))
    items = [{**item, **draw(UNKNOWN)} for item in draw(st.permutations(items))]
    return rule(*items, **draw(UNKNOWN))


def without_weights(made: Any) -> Any:
    copied = deepcopy(made)
    for item in copied["spec"]["rules"]:
        for backend in item["backendRefs"]:
            if backend["name"] != "legacy":
                backend.pop("weight", None)
    copied["metadata"].pop("labels", None)
    return copied


@given(found=st.lists(rules(foreign=True), min_size=1, max_size=3), weight=WEIGHT)
def test_i7_only_weights_of_the_pair_change(found: list[dict[str, Any]], weight: int) -> None:
    start = route(*found)
    before = deepcopy(start)
    plan = ROUTER.plan(rollout(), observed(start), Desired(canary_weight=weight))
    assert start == before
    for change in plan.changes:
        assert without_weights(change.after) == without_weights(start)
        assert change.after == apply(change.before, change.patch)


@given(found=st.lists(rules(), min_size=1, max_size=3), weight=WEIGHT)
def test_i8_the_weights_sum_to_100_and_read_back_as_desired(
    found: list[dict[str, Any]], weight: int
) -> None:
    objects = dict(observed(route(*found)))
    plan = ROUTER.plan(rollout(), objects, Desired(canary_weight=weight))
    assert plan.refusal is None
    objects |= {change.ref: change.after for change in plan.changes}
    (after,) = objects.values()
    for item in after["spec"]["rules"]:
        assert sum(backend.get("weight", 1) for backend in item["backendRefs"]) == MOST
    assert ROUTER.canary_weight(rollout(), objects) == weight


@given(found=rules(foreign=True), weight=WEIGHT)
def test_the_share_of_others_is_what_it_was(found: dict[str, Any], weight: int) -> None:
    """Cross-multiplied, so that nothing is rounded."""

    def parts(made: Any) -> tuple[int, int]:
        backends = {item["name"]: item.get("weight", 1) for item in made["backendRefs"]}
        return backends["legacy"], sum(backends.values())

    for change in ROUTER.plan(
        rollout(), observed(route(found)), Desired(canary_weight=weight)
    ).changes:
        mine, total = parts(found)
        now, after = parts(change.after["spec"]["rules"][0])
        assert mine * after == now * total or mine == 0


@given(found=rules(foreign=True), first=WEIGHT, second=WEIGHT)
def test_a_plan_that_was_applied_leaves_nothing_to_do_and_lowers_always_go_forward(
    found: dict[str, Any], first: int, second: int
) -> None:
    objects = dict(observed(route(found)))
    for weight in (first, second, 0):
        for _ in range(2):
            for change in ROUTER.plan(rollout(), objects, Desired(canary_weight=weight)).changes:
                objects[change.ref] = change.after
        assert ROUTER.plan(rollout(), objects, Desired(canary_weight=weight)).changes == ()
    assert ROUTER.canary_weight(rollout(), objects) == 0


@given(before=WEIGHT, after=WEIGHT)
def test_the_direction_says_what_happens_to_the_canary(before: int, after: int) -> None:
    config = {"httpRoute": "web", "disableInProgressLabel": True}
    start = route(rule(ref("stable", MOST - before), ref("canary", before)))
    plan = ROUTER.plan(rollout(config=config), observed(start), Desired(canary_weight=after))
    directions = [change.direction for change in plan.changes]
    assert directions == ([] if before == after else ["lower" if after < before else "raise"])


@given(spec=ANYTHING, status=ANYTHING, config=ANYTHING, weight=WEIGHT)
def test_whatever_the_objects_hold_the_router_answers(
    spec: Any, status: Any, config: Any, weight: int
) -> None:
    objects = observed({**route(), "spec": spec, "status": status})
    given_config = config if isinstance(config, dict) else {"httpRoute": config}
    for ro in (rollout(managed=("beta",)), rollout(config=given_config, managed=("a+b",))):
        ROUTER.validate(ro, objects)
        ROUTER.canary_weight(ro, objects)
        ROUTER.managed_routes(ro, objects)
        ROUTER.claims(ro, objects)
        ROUTER.confirmation(ro, objects)
        ROUTER.plan(ro, objects, Desired(canary_weight=weight, managed=(HEADER,)))
        ROUTER.plan(ro, objects, Desired(canary_weight=0, managed=(SetHeaderRoute(name="beta"),)))
        ROUTER.plan_shelter(ro, objects, "b")

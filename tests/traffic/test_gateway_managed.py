"""Header and mirror rules: everything of the user's rule is inherited, conditions are added, limits are kept."""

from copy import deepcopy
from typing import Any

import pytest

from agent.api.decode import read
from agent.api.meta import Object
from agent.api.rollout import Rollout, SetHeaderRoute, SetMirrorRoute
from agent.rollout.managed_routes import gone
from agent.traffic.gateway import Gateway
from agent.traffic.types import Desired, ManagedRoute, RouteObjects, RoutePlan
from tests.traffic.gateway_objects import pair, ref, rollout, route, rule, weights
from tests.traffic.gateway_rules import broken_rules
from tests.traffic.objects import observed

ROUTER = Gateway()
EXACT: dict[str, Any] = {"headerName": "x-beta", "headerValue": {"exact": "1"}}
CONDITION = {"type": "Exact", "name": "x-beta", "value": "1"}
ROOT = {"type": "PathPrefix", "value": "/"}
CANARY = {"group": "", "kind": "Service", "name": "canary", "port": 80, "weight": 1}


def header(*conditions: dict[str, Any], name: str = "beta") -> SetHeaderRoute:
    return read(SetHeaderRoute, {"name": name, "match": list(conditions or (EXACT,))})


def mirror(*matches: dict[str, Any], name: str = "shadow", **more: Any) -> SetMirrorRoute:
    return read(SetMirrorRoute, {"name": name, "match": list(matches or ({},)), **more})


def driven(*managed: str, **given: Any) -> Rollout:
    return rollout(managed=managed or ("shadow", "beta"), **given)


def plan(objects: RouteObjects, *wanted: ManagedRoute, ro: Rollout | None = None) -> RoutePlan:
    return ROUTER.plan(ro or driven(), objects, Desired(managed=wanted))


def put(start: Object, *wanted: ManagedRoute, ro: Rollout | None = None) -> Object:
    """The route with these on it: one raise, valid, and nothing left to do."""
    (change,) = (made := plan(observed(start), *wanted, ro=ro)).changes
    assert (made.refusal, change.direction) == (None, "raise")
    assert broken_rules(change.after) == []
    assert plan({change.ref: change.after}, *wanted, ro=ro) == RoutePlan()
    return change.after


def refusal(start: Object, *wanted: ManagedRoute, ro: Rollout | None = None) -> str:
    made = plan(observed(start), *wanted, ro=ro)
    assert made.changes == ()
    assert made.refusal is not None
    return made.refusal.detail


def test_a_header_rule_has_everything_of_the_user_s_but_the_backends() -> None:
    inherited: dict[str, Any] = {
        "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "a"}}],
        "timeouts": {"request": "5s"},
        "retry": {"attempts": 3},
        "sessionPersistence": {"sessionName": "s"},
        "fromTheFuture": {"deep": [1, None]},
    }
    match = {
        "path": {"type": "Exact", "value": "/pay"},
        "headers": [{"name": "x-a", "value": "b"}],
        "queryParams": [{"name": "q", "value": "1"}],
        "method": "GET",
    }
    backends = pair(100, 0, filters=[{"type": "RequestHeaderModifier"}])
    base = rule(*backends, ref("legacy", 100), name="main", matches=[match], **inherited)
    made = put(route(base), header())["spec"]["rules"]
    assert made[1] == base
    assert made[0] == {
        "name": "beta",
        "matches": [{**match, "headers": [*match["headers"], CONDITION]}],
        "backendRefs": [{**CANARY, "filters": [{"type": "RequestHeaderModifier"}]}],
        **inherited,
    }


def test_a_rule_without_a_match_matches_every_path() -> None:
    made = put(route(rule(*pair(100, 0))), header())
    assert made["spec"]["rules"][0]["matches"] == [{"path": ROOT, "headers": [CONDITION]}]


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        ({"exact": "1"}, ("Exact", "1")),
        ({"prefix": "v1.2+"}, ("RegularExpression", r"v1\.2\+.*")),
        ({"regex": "^a|b$"}, ("RegularExpression", "^a|b$")),
    ],
)
def test_a_header_value_is_exact_or_a_regular_expression(
    value: dict[str, str], condition: tuple[str, str]
) -> None:
    made = put(route(rule(*pair(100, 0))), header({"headerName": "h", "headerValue": value}))
    (one,) = made["spec"]["rules"][0]["matches"][0]["headers"]
    assert (one["type"], one["value"]) == condition


def test_several_headers_are_all_required_as_in_the_plugin() -> None:
    other = {"headerName": "x-team", "headerValue": {"exact": "pay"}}
    matches = [{"path": {"type": "PathPrefix", "value": path}} for path in ("/a", "/b")]
    made = put(route(rule(*pair(100, 0), matches=matches)), header(EXACT, other))
    found = made["spec"]["rules"][0]["matches"]
    assert [[one["name"] for one in match["headers"]] for match in found] == [
        ["x-beta", "x-team"],
        ["x-beta", "x-team"],
    ]


def test_each_rule_that_carries_weights_gets_one_of_its_own() -> None:
    start = route(rule(*pair(90, 10)), rule(ref("old")), rule(*pair(90, 10), name="api"))
    made = put(start, header())
    names = [one.get("name") for one in made["spec"]["rules"]]
    assert names == ["beta", "beta-1", None, None, "api"]
    assert ROUTER.managed_routes(driven(), observed(made)) == ("beta",)


def test_they_stand_in_the_order_of_managed_routes_and_in_front() -> None:
    made = put(route(rule(*pair(90, 10))), header(), mirror())
    assert [one.get("name") for one in made["spec"]["rules"]] == ["shadow", "beta", None]


def test_what_the_plugin_left_at_the_end_is_ours() -> None:
    theirs = rule(CANARY, name="beta", matches=[{"headers": [CONDITION]}])
    start = route(rule(*pair(90, 10)), theirs)
    assert ROUTER.managed_routes(driven(), observed(start)) == ("beta",)
    (change,) = plan(observed(start), *gone(driven())).changes
    assert change.direction == "lower"
    assert change.after["spec"]["rules"] == [rule(*pair(90, 10))]


def test_a_grpc_rule_keeps_its_method() -> None:
    match = {"method": {"type": "Exact", "service": "a.B", "method": "C"}}
    ro = driven(config={"grpcRoute": "api"})
    start = route(rule(*pair(100, 0), matches=[match]), kind="GRPCRoute", name="api")
    made = put(start, header(), mirror({"headers": {"x": {"exact": "1"}}}), ro=ro)
    shadow, beta = made["spec"]["rules"][:2]
    assert beta["matches"] == [{**match, "headers": [CONDITION]}]
    assert shadow["matches"][0]["method"] == match["method"]


def test_a_mirror_copies_backends_and_follows_their_weights() -> None:
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": []}}]
    made = put(route(rule(*pair(60, 40), filters=filters)), mirror(percentage=35))
    shadow = made["spec"]["rules"][0]
    place = {"group": "", "kind": "Service", "name": "canary", "port": 80}
    assert shadow["backendRefs"] == pair(60, 40)
    assert shadow["filters"] == [
        *filters,
        {"type": "RequestMirror", "requestMirror": {"backendRef": place, "percent": 35}},
    ]
    desired = Desired(canary_weight=10, managed=(mirror(percentage=35),))
    (change,) = ROUTER.plan(driven(), observed(made), desired).changes
    assert [weights(change.after, index)["canary"] for index in (0, 1)] == [10, 10]


@pytest.mark.parametrize("percentage", [None, 100])
def test_a_mirror_of_everything_names_no_percentage(percentage: int | None) -> None:
    made = put(route(rule(*pair(60, 40))), mirror(percentage=percentage))
    (one,) = made["spec"]["rules"][0]["filters"]
    assert "percent" not in one["requestMirror"]


@pytest.mark.parametrize(
    ("base", "condition", "path"),
    [
        (None, {"prefix": "/a"}, ("PathPrefix", "/a")),
        (None, {"regex": "/a.*"}, ("RegularExpression", "/a.*")),
        (("PathPrefix", "/a"), {"prefix": "/"}, ("PathPrefix", "/a")),
        (("PathPrefix", "/a"), {"prefix": "/a/b"}, ("PathPrefix", "/a/b")),
        (("PathPrefix", "/a"), {"exact": "/a/b"}, ("Exact", "/a/b")),
        (("Exact", "/a/b"), {"prefix": "/a"}, ("Exact", "/a/b")),
        (("RegularExpression", "/x"), {"regex": "/x"}, ("RegularExpression", "/x")),
        (("PathPrefix", "/a"), {"prefix": "/ab"}, None),
        (("PathPrefix", "/a"), {"regex": "/a/.*"}, None),
        (("Exact", "/a"), {"exact": "/b"}, None),
    ],
)
def test_a_mirror_s_path_narrows_the_rule_s(base: Any, condition: Any, path: Any) -> None:
    matches = (
        {"matches": [{"path": dict(zip(("type", "value"), base, strict=True))}]} if base else {}
    )
    start = route(rule(*pair(100, 0), **matches))
    if path is None:
        assert "no match says both" in refusal(start, mirror({"path": condition}))
        return
    found = put(start, mirror({"path": condition}))["spec"]["rules"][0]["matches"][0]["path"]
    assert (found["type"], found["value"]) == path


def test_a_mirror_s_alternatives_meet_each_match_of_the_rule() -> None:
    matches = [{"method": "GET"}, {"path": {"type": "PathPrefix", "value": "/a"}, "method": "GET"}]
    start = route(rule(*pair(100, 0), matches=matches))
    wanted = mirror({"method": {"exact": "GET"}}, {"headers": {"x": {"prefix": "v"}}})
    assert len(put(start, wanted)["spec"]["rules"][0]["matches"]) == 4


MANY = [{"headers": [{"name": f"h{n}", "value": "1"}]} for n in range(64)]
FULL_RULES = [rule(ref("old"), name=f"r{n}") for n in range(15)]


@pytest.mark.parametrize(
    ("start", "wanted", "words"),
    [
        pytest.param(
            route(rule(*pair(100, 0)), *FULL_RULES), header(), "17 rules, and may have 16", id="rules"
        ),
        pytest.param(
            route(rule(*pair(100, 0), matches=MANY), rule(ref("old"), matches=MANY)),
            header(), "192 matches in all rules, and may have 128", id="matches",
        ),
        pytest.param(
            route(rule(*pair(100, 0), matches=MANY[:33])),
            mirror({"headers": {"a": {"exact": "1"}}}, {"headers": {"b": {"exact": "1"}}}),
            "66 matches in one rule, and may have 64", id="matches of one rule",
        ),
        pytest.param(
            route(rule(*pair(100, 0), matches=[{"headers": [{"name": f"h{n}", "value": "1"} for n in range(16)]}])),
            header(), "17 headers in one match, and may have 16", id="headers",
        ),
        pytest.param(
            route(rule(*pair(100, 0), filters=[{"type": "RequestMirror", "requestMirror": {}}] * 16)),
            mirror(), "17 filters in one rule", id="filters",
        ),
        pytest.param(
            route(rule(*pair(100, 0), matches=[{"headers": [{"name": "X-Beta", "value": "2"}]}])),
            header(), "required with two values", id="one header with two values",
        ),
        pytest.param(
            route(rule(*pair(100, 0))),
            header(EXACT, {**EXACT, "headerValue": {"exact": "2"}}), "required with two values", id="alternatives",
        ),
        pytest.param(
            route(rule(*pair(100, 0))), header({"headerName": "x"}), "set one of exact, prefix, regex", id="no value"
        ),
        pytest.param(
            route(rule(*pair(100, 0), matches=[{"method": "POST"}])),
            mirror({"method": {"exact": "GET"}}), "one method exactly, and this rule POST", id="another method",
        ),
        pytest.param(
            route(rule(*pair(100, 0))), mirror({"method": {"regex": "G.*"}}), "one method exactly", id="any method"
        ),
        pytest.param(
            route(rule(*pair(100, 0)), rule(ref("old"), name="beta")), header(), "the name of a rule that is not",
            id="a name that is taken",
        ),
        pytest.param(route(rule(*pair(100, 0))), header(name="other"), "list it in", id="not allowed"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_with_the_fix(
    start: Object, wanted: ManagedRoute, words: str
) -> None:
    assert words in refusal(start, wanted)


def test_the_same_header_with_the_same_value_is_required_once() -> None:
    start = route(rule(*pair(100, 0), matches=[{"headers": [CONDITION]}]))
    assert put(start, header())["spec"]["rules"][0]["matches"][0]["headers"] == [CONDITION]


def test_a_mirror_of_paths_is_refused_for_grpc() -> None:
    ro = driven(config={"grpcRoute": "api"})
    start = route(rule(*pair(100, 0)), kind="GRPCRoute", name="api")
    assert "matches services and methods" in refusal(
        start, mirror({"path": {"prefix": "/"}}), ro=ro
    )


def test_a_rule_with_the_weights_and_the_name_of_a_managed_route_is_refused_and_stays() -> None:
    start = route(rule(*pair(90, 10), name="beta"))
    (error,) = ROUTER.validate(driven(), observed(start))
    assert "give the managed route another name" in error.detail
    made = ROUTER.plan(driven(), observed(start), Desired(canary_weight=0, managed=gone(driven())))
    assert [weights(change.after) for change in made.changes] == [{"stable": 100, "canary": 0}]


def test_routes_that_take_no_header_rules_are_left_alone() -> None:
    ro = driven(
        config={"httpRoutes": [{"name": "web", "useHeaderRoutes": True}, {"name": "plain"}]}
    )
    objects = observed(route(rule(*pair(100, 0))), route(rule(*pair(100, 0)), name="plain"))
    assert [change.ref.name for change in plan(objects, header(), ro=ro).changes] == ["web"]


def test_a_change_of_the_user_s_rule_is_followed() -> None:
    made = put(route(rule(*pair(90, 10))), header())
    made["spec"]["rules"][1]["timeouts"] = {"request": "9s"}
    again = put(made, header())
    assert again["spec"]["rules"][0]["timeouts"] == {"request": "9s"}
    assert len(again["spec"]["rules"]) == 2


# API servers before Gateway API 1.4 drop the names of rules.


def nameless(obj: Object) -> Object:
    plain = deepcopy(obj)
    for one in plain["spec"]["rules"]:
        one.pop("name", None)
    return plain


STEPS = [
    {"setHeaderRoute": {"name": "beta", "match": [EXACT]}},
    {"setMirrorRoute": {"name": "shadow", "match": [{}]}},
]


def test_rules_whose_names_the_server_dropped_are_known_by_what_they_say() -> None:
    ro = driven(steps=STEPS)
    start = route(rule(*pair(90, 10)), rule(*pair(90, 10), matches=[{"method": "GET"}]))
    stored = nameless(put(start, header(), mirror(), ro=ro))
    assert ROUTER.managed_routes(ro, observed(stored)) == ("shadow", "beta")
    assert plan(observed(stored), header(), mirror(), ro=ro) == RoutePlan()
    (change,) = plan(observed(stored), *gone(ro), ro=ro).changes
    assert change.after["spec"]["rules"] == start["spec"]["rules"]


def test_a_user_s_rule_to_the_canary_alone_is_not_ours() -> None:
    preview = rule(ref("canary"), matches=[{"headers": [{"name": "x-preview", "value": "1"}]}])
    start = route(rule(*pair(90, 10)), preview)
    assert ROUTER.managed_routes(driven(steps=STEPS), observed(start)) == ()
    assert plan(observed(start), *gone(driven()), ro=driven(steps=STEPS)) == RoutePlan()


def test_weights_and_rules_of_one_route_are_one_lower_and_one_raise() -> None:
    ro = driven("shadow", "beta", "old")
    start = put(route(rule(*pair(60, 40))), header(name="old"), ro=ro)
    wanted = Desired(canary_weight=10, managed=(SetHeaderRoute(name="old"), header(), mirror()))
    lowered, raised = ROUTER.plan(ro, observed(start), wanted).changes
    assert [one.get("name") for one in lowered.after["spec"]["rules"]] == [None]
    assert lowered.reason == "canary weight 10 and managed routes 'old' on HTTPRoute default/web"
    assert [one.get("name") for one in raised.after["spec"]["rules"]] == ["shadow", "beta", None]
    assert weights(raised.after) == weights(raised.after, 2) == {"stable": 90, "canary": 10}
    assert raised.after["metadata"]["labels"], "somebody is led to the canary"

"""Weights of VirtualServices: what is written, what is refused, and that lowering always goes forward."""

from typing import Any

import pytest

from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout, WeightDestination
from agent.errors import Conflict
from agent.traffic.istio import Istio
from agent.traffic.json_patch import apply
from agent.traffic.types import Desired, RouteObjects, RoutePlan
from tests.traffic.objects import (
    destination_rule,
    observed,
    pair,
    rollout,
    subset_pair,
    to,
    virtual_service,
    weights,
)

ROUTER = Istio()


def plan(ro: Rollout, objects: RouteObjects, weight: int, **more: Any) -> RoutePlan:
    return ROUTER.plan(ro, objects, Desired(canary_weight=weight, **more))


def refusal(ro: Rollout, objects: RouteObjects, weight: int = 10) -> str:
    refused = plan(ro, objects, weight).refusal
    assert refused is not None
    return refused.detail


def test_a_raise_is_one_patch_that_tests_what_was_read_before_it_writes() -> None:
    service = virtual_service({"name": "primary", "route": pair(100, 0)})
    (change,) = plan(rollout(routes=["primary"]), observed(service), 10).changes
    assert change.direction == "raise"
    assert change.patch == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "test", "path": "/spec/http/0/name", "value": "primary"},
        {"op": "test", "path": "/spec/http/0/route/0/destination", "value": {"host": "stable"}},
        {"op": "test", "path": "/spec/http/0/route/0/weight", "value": 100},
        {"op": "test", "path": "/spec/http/0/route/1/destination", "value": {"host": "canary"}},
        {"op": "test", "path": "/spec/http/0/route/1/weight", "value": 0},
        {"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 90},
        {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 10},
    )


def test_a_lower_does_not_fail_because_something_else_of_the_object_changed() -> None:
    service = virtual_service({"name": "primary", "route": pair(60, 40)})
    (change,) = plan(rollout(routes=["primary"]), observed(service), 0).changes
    assert change.direction == "lower"
    edited = {**service, "metadata": {**service["metadata"], "resourceVersion": "8"}}
    assert weights(apply(edited, change.patch)) == {"stable": 100, "canary": 0}


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param({"name": "primary", "route": pair(50, 50)}, id="a weight"),
        pytest.param({"name": "other", "route": pair(60, 40)}, id="the route's name"),
        pytest.param(
            {"name": "primary", "route": [*pair(60, 40)][::-1]}, id="the order of destinations"
        ),
        pytest.param(
            {"name": "primary", "route": [to("stable", 60, subset="v1"), to("canary", 40)]},
            id="a subset",
        ),
    ],
)
def test_a_patch_conflicts_when_somebody_changed(edited: dict[str, Any]) -> None:
    service = virtual_service({"name": "primary", "route": pair(60, 40)})
    (change,) = plan(rollout(routes=["primary"]), observed(service), 0).changes
    with pytest.raises(Conflict):
        apply(virtual_service(edited), change.patch)


@pytest.mark.parametrize(
    ("ro", "service", "expected"),
    [
        pytest.param(
            rollout(),
            virtual_service({"route": pair(100, 0)}),
            "has exactly one",
            id="one unnamed route is found without being listed",
        ),
        pytest.param(
            rollout(managed=["beta"]),
            virtual_service(
                {"name": "beta", "match": [{"headers": {}}], "route": [to("canary", 100)]},
                {"name": "only", "route": pair(100, 0)},
            ),
            "the named route",
            id="a managed header route does not hide the primary one",
        ),
        pytest.param(
            rollout(managed=["copy"]),
            virtual_service(
                {"name": "copy", "mirror": {"host": "canary"}, "route": pair(100, 0)},
                {"name": "only", "route": pair(100, 0)},
            ),
            "both",
            id="a managed mirror route does not stop the primary one",
        ),
    ],
)
def test_the_primary_route_moves(ro: Rollout, service: Object, expected: str) -> None:
    (change,) = plan(ro, observed(service), 30).changes
    last = len(service["spec"]["http"]) - 1
    assert weights(change.after, last) == {"stable": 70, "canary": 30}, expected


def test_a_managed_mirror_follows_the_weights() -> None:
    service = virtual_service(
        {"name": "copy", "mirror": {"host": "canary"}, "route": pair(100, 0)},
        {"name": "only", "route": pair(100, 0)},
    )
    (change,) = plan(rollout(managed=["copy"]), observed(service), 30).changes
    assert weights(change.after, 0) == weights(change.after, 1)


@pytest.mark.parametrize(
    ("ro", "service", "sentence"),
    [
        pytest.param(
            rollout(routes=["a"]),
            virtual_service({"name": "a", "route": pair(100, 0)}, {"name": "a", "route": []}),
            "occurs 2 times",
            id="two routes share the name",
        ),
        pytest.param(
            rollout(),
            virtual_service(
                {"name": "a", "route": pair(100, 0)}, {"name": "b", "route": pair(100, 0)}
            ),
            "exactly one route when omitting",
            id="two routes and none is listed",
        ),
        pytest.param(
            rollout(routes=["a"]),
            virtual_service({"name": "a", "route": [to("canary", 10)]}),
            "Stable Service 'stable' not found in route",
            id="a lone canary would take everything",
        ),
        pytest.param(
            rollout(routes=["a"]),
            virtual_service({"name": "a", "route": [*pair(100, 0), to("canary.default", 0)]}),
            "2 destinations for the canary",
            id="the canary occurs twice",
        ),
        pytest.param(
            rollout(routes=["a"]),
            virtual_service({"name": "a", "route": [*pair(80, 0), to("legacy", 20)]}),
            "take it out of the route",
            id="somebody else's destination has weight",
        ),
        pytest.param(
            rollout(routes=["a"]),
            virtual_service({"name": "a", "delegate": {"name": "other"}}),
            "name that one",
            id="the route delegates",
        ),
        pytest.param(
            rollout(istio={"virtualServices": [{"name": "vs"}, {"name": "vs.default"}]}),
            virtual_service({"route": pair(100, 0)}),
            "named twice",
            id="one VirtualService is listed twice",
        ),
        pytest.param(
            rollout(),
            virtual_service(spec={"tls": [], "tcp": []}),
            "has no routes",
            id="there are no routes at all",
        ),
        pytest.param(
            rollout(istio={"virtualService": {"name": "vs"}, "virtualServices": [{"name": "b"}]}),
            virtual_service({"route": pair(100, 0)}),
            "either VirtualService or VirtualServices",
            id="both forms are used",
        ),
    ],
)
def test_ambiguous_input_is_refused_with_the_fix(
    ro: Rollout, service: Object, sentence: str
) -> None:
    assert sentence in refusal(ro, observed(service))
    assert plan(ro, observed(service), 10).changes == ()


def test_subset_level_compares_host_and_subset() -> None:
    service = virtual_service(
        {"route": [*subset_pair(100, 0), to("unrelated", 0, subset="canary")]}
    )
    rule = destination_rule({"name": "stable"}, {"name": "canary"})
    (change,) = plan(rollout(by_subset=True), observed(service, rule), 10).changes
    assert [item["weight"] for item in change.after["spec"]["http"][0]["route"]] == [90, 10, 0]


def test_one_missing_virtual_service_does_not_keep_the_others_from_being_lowered() -> None:
    ro = rollout(istio={"virtualServices": [{"name": "gone"}, {"name": "vs"}]})
    done = plan(ro, observed(virtual_service({"route": pair(60, 40)})), 0)
    assert done.refusal is not None
    assert done.refusal.detail == 'virtualservices.networking.istio.io "gone" not found'
    assert [change.direction for change in done.changes] == ["lower"]
    assert weights(done.changes[0].after) == {"stable": 100, "canary": 0}


def test_one_missing_virtual_service_keeps_the_others_from_being_raised() -> None:
    ro = rollout(istio={"virtualServices": [{"name": "gone"}, {"name": "vs"}]})
    assert plan(ro, observed(virtual_service({"route": pair(60, 40)})), 50).changes == ()


def test_routes_that_drifted_apart_are_lowered_first_and_raised_after() -> None:
    service = virtual_service(
        {"name": "a", "route": pair(50, 50)}, {"name": "b", "route": pair(90, 10)}
    )
    ro = rollout(routes=["a", "b"])
    lower, up = plan(ro, observed(service), 20).changes
    assert (lower.direction, up.direction) == ("lower", "raise")
    assert weights(lower.after, 0) == {"stable": 80, "canary": 20}
    assert weights(lower.after, 1) == {"stable": 90, "canary": 10}
    assert weights(apply(lower.after, up.patch), 1) == {"stable": 80, "canary": 20}


def test_additional_subsets_keep_their_share_and_a_full_canary_takes_the_rest() -> None:
    istio = {
        "virtualService": {"name": "vs"},
        "destinationRule": {
            "name": "dr",
            "canarySubsetName": "canary",
            "stableSubsetName": "stable",
            "additionalSubsetNames": ["beta"],
        },
    }
    ro = rollout(istio=istio)
    route = {"route": [*subset_pair(70, 0), to("app", 30, subset="beta")]}
    (change,) = plan(ro, observed(virtual_service(route)), 100).changes
    assert weights(change.after) == {"stable": 0, "canary": 70, "beta": 30}
    assert ROUTER.canary_weight(ro, {change.ref: change.after}) == 100


def test_an_experiment_is_added_and_taken_off_again_by_the_record_in_the_status() -> None:
    extra = (WeightDestination(service_name="exp", weight=20), WeightDestination(weight=5))
    start = virtual_service({"route": pair(90, 10)})
    (added,) = plan(rollout(), observed(start), 10, additional=extra).changes
    assert added.direction == "raise"
    assert weights(added.after) == {"stable": 70, "canary": 10, "exp": 20}
    record = {"canary": {"weights": {"additional": [{"serviceName": "exp", "weight": 20}]}}}
    (removed,) = plan(rollout(status=record), {added.ref: added.after}, 10).changes
    assert removed.direction == "lower"
    assert removed.after == start


@pytest.mark.parametrize(
    ("route", "weight"),
    [
        pytest.param(pair(90, 10), 10, id="weights that sum to 100 are percent"),
        pytest.param(pair(1, 1), 50, id="other sums are shares"),
        pytest.param(pair(9999, 1), 1, id="a little traffic is never read as none"),
        pytest.param(pair(1, 9999), 99, id="almost all traffic is never read as all"),
        pytest.param(pair(0, 1), 100, id="a stable of weight zero is left out by Istio"),
        pytest.param([to("canary", 10)], 100, id="a lone canary takes all whatever its weight"),
        pytest.param([to("stable", 10)], 0, id="a lone stable leaves the canary nothing"),
        pytest.param(pair(None, None), 0, id="without weights nothing is given to the canary"),
        pytest.param([to("stable", 100), to("canary", -1)], None, id="a negative weight"),
    ],
)
def test_the_weight_is_read_as_istio_reads_it(
    route: list[dict[str, Any]], weight: int | None
) -> None:
    objects = observed(virtual_service({"route": route}))
    assert ROUTER.canary_weight(rollout(), objects) == weight


def test_the_highest_weight_of_several_routes_is_read() -> None:
    service = virtual_service(
        {"name": "a", "route": pair(50, 50)}, {"name": "b", "route": pair(90, 10)}
    )
    assert ROUTER.canary_weight(rollout(routes=["a", "b"]), observed(service)) == 50


def test_the_weight_of_a_missing_virtual_service_cannot_be_told() -> None:
    assert ROUTER.canary_weight(rollout(), {}) is None


def test_references_name_every_object_once() -> None:
    ro = rollout(by_subset=True, istio={"virtualServices": [{"name": "a.web"}, {"name": "b"}]})
    assert ROUTER.references(ro) == (
        Ref("VirtualService", "web", "a"),
        Ref("VirtualService", "default", "b"),
        Ref("DestinationRule", "default", "dr"),
    )


@pytest.mark.parametrize(
    ("objects", "field", "detail"),
    [
        pytest.param(
            observed(virtual_service({"route": subset_pair(100, 0)})),
            "spec.strategy.canary.trafficRouting.istio.destinationRule.name",
            'destinationrules.networking.istio.io "dr" not found',
            id="no DestinationRule",
        ),
        pytest.param(
            observed(
                virtual_service({"route": subset_pair(100, 0)}),
                destination_rule({"name": "stable"}),
            ),
            "spec.strategy.canary.trafficRouting.istio.destinationRule.name",
            "DestinationRule 'dr' has no subset 'canary': define it once in spec.subsets",
            id="no such subset",
        ),
        pytest.param(
            observed(destination_rule({"name": "stable"}, {"name": "canary"})),
            "spec.strategy.canary.trafficRouting.istio.virtualService.name",
            'virtualservices.networking.istio.io "vs" not found',
            id="no VirtualService",
        ),
    ],
)
def test_validation_names_the_object_that_is_wrong(
    objects: RouteObjects, field: str, detail: str
) -> None:
    (error,) = ROUTER.validate(rollout(by_subset=True), objects)
    assert (error.field, error.detail) == (field, detail)

"""Defects of Argo's Istio rewriting (A to J), each with the better outcome."""

from typing import Any

import pytest

from agent.api.decode import write
from agent.api.rollout import HeaderRoutingMatch, SetHeaderRoute, StringMatch, WeightDestination
from agent.rollout.sharing import sharing_errors
from agent.traffic.istio import Istio
from agent.traffic.types import Desired, RouteObjects, RoutePlan
from tests.traffic.istio_rules import broken_rules
from tests.traffic.objects import observed, pair, rollout, to, virtual_service, weights

ROUTER = Istio()
HEADER = SetHeaderRoute(
    name="beta",
    match=[HeaderRoutingMatch(header_name="x", header_value=StringMatch(exact="1"))],
)


def plan(ro: Any, objects: RouteObjects, weight: int, **more: Any) -> RoutePlan:
    return ROUTER.plan(ro, objects, Desired(canary_weight=weight, **more))


def test_defect_a_unnamed_routes_are_not_multiplied_by_a_managed_one() -> None:
    service = virtual_service(
        {"name": "main", "route": pair(100, 0)}, {"route": [to("x")]}, {"route": [to("y")]}
    )
    ro = rollout(routes=["main"], managed=["beta"])
    (change,) = plan(ro, observed(service), 0, managed=(HEADER,)).changes
    assert [item.get("name") for item in change.after["spec"]["http"]] == [
        "beta",
        "main",
        None,
        None,
    ]
    assert change.after["spec"]["http"][1:] == service["spec"]["http"]


def test_defect_b_a_managed_mirror_does_not_keep_the_only_route_from_moving() -> None:
    copy = {"name": "copy", "mirror": {"host": "canary"}, "route": pair(100, 0)}
    service = virtual_service(copy, {"route": pair(100, 0)})
    (change,) = plan(rollout(managed=["copy"]), observed(service), 30).changes
    assert weights(change.after, 1) == weights(change.after, 0) == {"stable": 70, "canary": 30}


def test_defect_c_a_managed_header_route_does_not_hide_the_only_named_route() -> None:
    header = {"name": "beta", "match": [{"headers": {}}], "route": [to("canary", 100)]}
    service = virtual_service(header, {"name": "only", "route": pair(100, 0)})
    (change,) = plan(rollout(managed=["beta"]), observed(service), 30).changes
    assert weights(change.after, 1) == {"stable": 70, "canary": 30}


def test_defect_d_a_foreign_destination_keeps_its_weight_while_the_canary_is_lowered() -> None:
    service = virtual_service({"route": [*pair(60, 20), to("legacy", 20)]})
    done = plan(rollout(), observed(service), 0)
    assert done.refusal is None
    assert weights(done.changes[0].after) == {"stable": 80, "canary": 0, "legacy": 20}


@pytest.mark.parametrize("weight", [0, 20])
def test_defect_d_a_third_destination_is_never_deleted(weight: int) -> None:
    service = virtual_service({"route": [*pair(80 - weight, 20), to("legacy", weight)]})
    for wanted in (0, 10, 20, 50):
        done = plan(rollout(), observed(service), wanted)
        if weight:
            assert all(change.direction == "lower" for change in done.changes), (
                "none rises beside it"
            )
        for change in done.changes:
            assert weights(change.after)["legacy"] == weight
            assert len(change.after["spec"]["http"][0]["route"]) == 3


def test_defect_e_an_experiment_without_a_service_adds_no_destination() -> None:
    extra = (WeightDestination(weight=5, pod_template_hash="h"),)
    start = virtual_service({"route": pair(100, 0)})
    (change,) = plan(rollout(), observed(start), 10, additional=extra).changes
    assert weights(change.after) == {"stable": 90, "canary": 10}
    assert plan(rollout(), {change.ref: change.after}, 10, additional=extra).changes == ()


def test_defect_f_the_same_short_host_in_another_namespace_is_not_ours() -> None:
    service = virtual_service({"route": [*pair(100, 0), to("canary.other.svc.cluster.local", 0)]})
    (change,) = plan(rollout(), observed(service), 10).changes
    assert weights(change.after) == {
        "stable": 90,
        "canary": 10,
        "canary.other.svc.cluster.local": 0,
    }


def test_defect_g_a_virtual_service_that_is_named_twice_is_refused() -> None:
    ro = rollout(istio={"virtualServices": [{"name": "vs"}, {"name": "vs.default"}]})
    done = plan(ro, observed(virtual_service({"route": pair(100, 0)})), 10)
    assert done.changes == ()
    assert done.refusal is not None
    assert "named twice" in done.refusal.detail


def test_defect_g_two_rollouts_on_one_route_are_both_refused() -> None:
    objects = observed(virtual_service({"route": pair(100, 0)}))
    mine = rollout()
    rival: dict[str, Any] = write(mine)
    rival["metadata"]["name"] = "other"
    errors = sharing_errors(mine, ROUTER, objects, [rival], {"istio": ROUTER})
    assert (
        "http route 0 of VirtualService default/vs is also driven by Rollout default/other"
        in " ".join(error.detail for error in errors)
    )


@pytest.mark.parametrize("block", ["tls", "tcp"])
def test_defect_h_an_unrelated_block_beside_http_is_left_alone(block: str) -> None:
    other = [{"match": [{"port": 1}], "route": [to("database", 100)]}]
    service = virtual_service({"route": pair(100, 0)}, spec={block: other})
    done = plan(rollout(), observed(service), 10)
    assert done.refusal is None
    assert done.changes[0].after["spec"][block] == other


def test_defect_h_naming_an_http_route_leaves_a_tcp_block_with_the_same_hosts_alone() -> None:
    tcp = [{"match": [{"port": 1}], "route": pair(100, 0)}]
    service = virtual_service({"name": "a", "route": pair(100, 0)}, spec={"tcp": tcp})
    (change,) = plan(rollout(routes=["a"]), observed(service), 10).changes
    assert change.after["spec"]["tcp"] == tcp


@pytest.mark.parametrize("name", ["vs.default.svc.cluster.local", "vs.default.svc"])
def test_defect_i_a_name_like_that_of_a_service_is_refused_with_what_it_means(name: str) -> None:
    ro = rollout(istio={"virtualService": {"name": name}})
    objects = observed(virtual_service({"route": pair(100, 0)}))
    refusal = plan(ro, objects, 10).refusal
    (error,) = ROUTER.validate(ro, objects)
    assert refusal is not None
    assert refusal.detail == error.detail
    assert (
        "means VirtualService svc/vs.default; write <name>.<namespace>, without svc" in error.detail
    )


def test_defect_j_an_experiment_that_does_not_fit_is_refused() -> None:
    service = virtual_service({"route": pair(100, 0)})
    extra = (WeightDestination(service_name="exp", weight=60),)
    done = plan(rollout(), observed(service), 50, additional=extra)
    assert done.refusal is not None
    assert "does not fit" in done.refusal.detail


def test_defect_j_the_sum_is_never_above_100_whatever_experiments_take() -> None:
    service = virtual_service({"route": [*pair(20, 20), to("exp", 60)]})
    record = {"canary": {"weights": {"additional": [{"serviceName": "exp", "weight": 60}]}}}
    extra = (WeightDestination(service_name="exp", weight=60),)
    for wanted in range(0, 101, 10):
        for change in plan(
            rollout(status=record), observed(service), wanted, additional=extra
        ).changes:
            assert sum(weights(change.after).values()) == 100
            assert broken_rules(change.after) == []

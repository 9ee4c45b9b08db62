"""DestinationRule subsets: hashes, experiments, and the shelter when a weight cannot be written."""

from typing import Any

import pytest

from agent.api.names import MANAGED_BY, POD_TEMPLATE_HASH
from agent.api.rollout import WeightDestination
from agent.traffic.istio import Istio
from agent.traffic.istio_subsets import switch_delay
from agent.traffic.types import Desired
from tests.traffic.objects import destination_rule, observed, rollout, subset_pair, virtual_service

ROUTER = Istio()
BY_SUBSET = rollout(by_subset=True)
SERVICE = virtual_service({"route": subset_pair(100, 0)})
HASHES = Desired(canary_hash="new", stable_hash="old")


def labels(obj: dict[str, Any], name: str) -> dict[str, str]:
    (subset,) = [item for item in obj["spec"]["subsets"] if item["name"] == name]
    found: dict[str, str] = subset.get("labels", {})
    return found


def test_subsets_select_the_hashes_and_keep_what_users_wrote() -> None:
    rule = destination_rule(
        {"name": "stable", "labels": {"app": "x"}, "trafficPolicy": {"tls": {}}},
        {"name": "canary"},
        {"name": "theirs", "labels": {"team": "b"}},
    )
    (change,) = ROUTER.plan(BY_SUBSET, observed(SERVICE, rule), HASHES).changes
    assert change.direction == "repoint"
    assert labels(change.after, "stable") == {"app": "x", POD_TEMPLATE_HASH: "old"}
    assert labels(change.after, "canary") == {POD_TEMPLATE_HASH: "new"}
    assert change.after["spec"]["subsets"][2] == rule["spec"]["subsets"][2]
    assert change.after["metadata"]["annotations"] == {MANAGED_BY: "shop"}
    assert ROUTER.plan(BY_SUBSET, {change.ref: change.after}, HASHES).changes == ()


def test_subsets_of_experiments_come_and_go_by_the_record() -> None:
    rule = destination_rule({"name": "stable"}, {"name": "canary"})
    extra = (WeightDestination(service_name="exp", pod_template_hash="e1", weight=5),)
    wanted = Desired(canary_hash="new", stable_hash="old", additional=extra)
    (added,) = ROUTER.plan(BY_SUBSET, observed(SERVICE, rule), wanted).changes
    assert labels(added.after, "exp") == {POD_TEMPLATE_HASH: "e1"}
    record = {"canary": {"weights": {"additional": [{"serviceName": "exp"}]}}}
    after = rollout(by_subset=True, status=record)
    (removed,) = ROUTER.plan(after, {added.ref: added.after}, HASHES).changes
    assert [item["name"] for item in removed.after["spec"]["subsets"]] == ["stable", "canary"]


def test_hashes_move_between_lowers_and_raises() -> None:
    rule = destination_rule({"name": "stable"}, {"name": "canary"})
    service = virtual_service(
        {"name": "a", "route": subset_pair(50, 50)}, {"name": "b", "route": subset_pair(100, 0)}
    )
    ro = rollout(by_subset=True, routes=["a", "b"])
    desired = Desired(canary_weight=20, canary_hash="new", stable_hash="old")
    directions = [c.direction for c in ROUTER.plan(ro, observed(service, rule), desired).changes]
    assert directions == ["lower", "repoint", "raise"]


def test_the_shelter_points_the_canary_at_stable_pods_and_changes_nothing_else() -> None:
    rule = destination_rule(
        {"name": "stable", "labels": {POD_TEMPLATE_HASH: "old"}},
        {"name": "canary", "labels": {POD_TEMPLATE_HASH: "new", "app": "x"}},
    )
    (change,) = ROUTER.plan_shelter(BY_SUBSET, observed(rule), "old").changes
    path = f"/spec/subsets/1/labels/{POD_TEMPLATE_HASH}"
    assert change.patch == (
        {"op": "test", "path": "/spec/subsets/1/name", "value": "canary"},
        {"op": "test", "path": path, "value": "new"},
        {"op": "replace", "path": path, "value": "old"},
    )
    assert labels(change.after, "canary") == {POD_TEMPLATE_HASH: "old", "app": "x"}


def test_there_is_no_shelter_at_host_level() -> None:
    assert ROUTER.plan_shelter(rollout(), observed(SERVICE), "old").changes == ()


def test_the_shelter_says_when_the_rule_is_gone() -> None:
    refusal = ROUTER.plan_shelter(BY_SUBSET, {}, "old").refusal
    assert refusal is not None
    assert "not found" in refusal.detail


@pytest.mark.parametrize(
    ("canary", "status", "sets", "name"),
    [
        pytest.param({}, {}, {"new": ("rs-new", 2, 1)}, "rs-new", id="the canary is not available"),
        pytest.param({}, {}, {"old": ("rs-old", 3, 2)}, "rs-old", id="stable is not available"),
        pytest.param({}, {}, {"new": ("rs-new", 0, 0)}, "", id="an empty canary does not count"),
        pytest.param({}, {"abort": True}, {"new": ("rs-new", 2, 0)}, "", id="nor an aborted one"),
        pytest.param(
            {"canaryService": "c"}, {}, {"new": ("rs-new", 2, 0)}, "", id="nor beside a Service"
        ),
    ],
)
def test_a_switch_waits_for_pods_that_only_subsets_lead_to(
    canary: dict[str, Any],
    status: dict[str, Any],
    sets: dict[str, tuple[str, int, int]],
    name: str,
) -> None:
    ro = rollout(by_subset=True, status=status, **canary)
    delay = switch_delay(ro, sets, canary="new", stable="old")
    assert delay == (
        f"delaying destination rule switch: ReplicaSet {name} not fully available" if name else ""
    )

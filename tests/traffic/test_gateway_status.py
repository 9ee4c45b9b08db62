"""A route's own status: which answers confirm what was written, and what is said when they do not."""

from typing import Any

import pytest

from agent.traffic.gateway import Gateway
from agent.traffic.types import Confirmation
from tests.traffic.gateway_objects import PARENT, answer, condition, pair, rollout, route, rule
from tests.traffic.objects import observed


def confirmation(
    *answers: dict[str, Any], parents: list[dict[str, Any]] | None = None
) -> Confirmation:
    made = route(rule(*pair(90, 10)), parents=parents)
    if answers:
        made["status"] = {"parents": list(answers)}
    return Gateway().confirmation(rollout(), observed(made))


ACCEPTED, RESOLVED = condition("Accepted"), condition("ResolvedRefs")


def test_every_parent_has_taken_up_this_generation() -> None:
    assert confirmation(answer()) == Confirmation(verified=True)
    assert confirmation(answer(condition("Accepted", generation=4), RESOLVED)).verified is True


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "Gateway 'edge' has not answered; is its controller running?"),
        ([answer(parent={"name": "other"})], "has not answered"),
        ([answer(parent={**PARENT, "sectionName": "tls"})], "has not answered"),
        ([answer(condition("Accepted", generation=2), RESOLVED)], "has not said Accepted of generation 3 yet"),
        ([answer(ACCEPTED)], "has not said ResolvedRefs of generation 3 yet"),
        ([answer({"type": "Accepted", "status": "True"}, RESOLVED)], "has not said Accepted"),
        (
            [answer(condition("Accepted", "False", reason="NotAllowedByListeners", message="no"), RESOLVED)],
            "does not accept it: NotAllowedByListeners: no",
        ),
        (
            [answer(ACCEPTED, condition("ResolvedRefs", "False", reason="BackendNotFound"))],
            "cannot resolve a backend: BackendNotFound",
        ),
        (
            [answer(ACCEPTED, RESOLVED, condition("PartiallyInvalid", reason="UnsupportedValue"))],
            "has dropped a part of it: UnsupportedValue",
        ),
        ([answer(condition("Accepted", "False", reason="X", message="m" * 1000), RESOLVED)], "X: mmm"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(answers: list[dict[str, Any]], words: str) -> None:
    found = confirmation(*answers)
    assert found.verified is False
    assert found.reason.startswith("HTTPRoute default/web: Gateway 'edge' ")
    assert words in found.reason
    assert len(found.reason) < 300


def test_defaults_of_a_parent_need_not_be_written_out() -> None:
    in_full = {
        "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default", "name": "edge",
    }  # fmt: skip
    assert confirmation(answer(parent=in_full)).verified is True
    assert confirmation(answer(), parents=[in_full]).verified is True


def test_all_parents_must_answer_and_one_controller_of_each_is_enough() -> None:
    two = [PARENT, {"name": "internal"}]
    assert "'internal' has not answered" in confirmation(answer(), parents=two).reason
    former = answer(condition("Accepted", "False", generation=1))
    assert confirmation(former, answer(), answer(parent=two[1]), parents=two).verified is True


def test_a_route_without_parents_is_followed_by_nobody() -> None:
    assert "has no spec.parentRefs" in confirmation(parents=[]).reason


def test_of_several_routes_all_must_be_confirmed() -> None:
    config = {"httpRoute": "web", "grpcRoute": "api"}
    mine = {**route(rule(*pair(90, 10))), "status": {"parents": [answer()]}}
    other = route(rule(*pair(90, 10)), kind="GRPCRoute", name="api")
    found = Gateway().confirmation(rollout(config=config), observed(mine, other))
    assert found.reason.startswith("GRPCRoute default/api: ")


def test_a_route_for_clients_in_the_mesh_sits_in_listeners() -> None:
    service = {"group": "", "kind": "Service", "name": "shop", "port": 80}
    found = confirmation(answer(parent=service), parents=[service])
    assert found == Confirmation(verified=True, in_listener=True)
    assert confirmation(answer()).in_listener is False


@pytest.mark.parametrize("status", [None, "x", {"parents": 1}, {"parents": [1, {"parentRef": 2}]}])
def test_whatever_the_status_holds_there_is_an_answer(status: Any) -> None:
    made = {**route(rule(*pair(90, 10))), "status": status}
    assert Gateway().confirmation(rollout(), observed(made)).verified is False


def test_a_route_that_is_missing_tells_nothing() -> None:
    assert Gateway().confirmation(rollout(), {}) == Confirmation()

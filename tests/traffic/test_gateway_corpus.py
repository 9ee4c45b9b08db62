"""The property a rewriter must hold, over a corpus of Gateway API routes (tests/traffic/gateway_corpus.py)."""

from copy import deepcopy
from typing import Any

import pytest

from agent.api.meta import Object, Ref
from agent.api.rollout import (
    HeaderRoutingMatch,
    RouteMatch,
    SetHeaderRoute,
    SetMirrorRoute,
    StringMatch,
)
from agent.traffic.gateway import Gateway
from agent.traffic.types import Desired, RoutePlan
from tests.traffic.gateway_corpus import Case, cases
from tests.traffic.gateway_objects import weights
from tests.traffic.gateway_rules import broken_rules
from tests.traffic.objects import observed

CORPUS = cases()
ROUTER = Gateway()
WEIGHTS = (0, 1, 33, 50, 100, 99, 0)
MIRROR = SetMirrorRoute(
    name="mir",
    match=[RouteMatch(headers={"x-shadow": StringMatch(exact="1")})],
    percentage=20,
)
HEADER = SetHeaderRoute(
    name="hdr",
    match=[HeaderRoutingMatch(header_name="x-canary", header_value=StringMatch(regex="^1$"))],
)
GONE = (SetHeaderRoute(name="hdr"), SetHeaderRoute(name="mir"))
LABEL = "rollouts.argoproj.io/gatewayapi-canary"
over_the_corpus = pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)


def objects_of(case: Case) -> dict[Ref, Object]:
    return dict(observed(deepcopy(case.route)))


def apply(case: Case, objects: dict[Ref, Object], desired: Desired) -> None:
    """Write the plan until it is empty; weights and rules at once, at most the label after them."""
    for _ in range(2):
        plan = ROUTER.plan(case.rollout, objects, desired)
        assert plan.refusal is None
        for change in plan.changes:
            objects[change.ref] = change.after
    assert ROUTER.plan(case.rollout, objects, desired) == RoutePlan()


def the(objects: dict[Ref, Object]) -> Object:
    (found,) = objects.values()
    return found


def without_weights(case: Case, made: Object, *, ahead: int = 0) -> Object:
    """Everything but the weights of the addressed rules, and the label."""
    plain = deepcopy(made)
    del plain["spec"]["rules"][:ahead]
    for index in case.addressed:
        for item in plain["spec"]["rules"][index]["backendRefs"]:
            if item["name"] in ("canary", "stable") and item.get("namespace") != "other":
                item.pop("weight", None)
    labels = plain["metadata"].get("labels")
    if labels is not None:
        labels.pop(LABEL, None)
    if not labels:
        plain["metadata"].pop("labels", None)
    return plain


def share(case: Case, made: Object, index: int) -> tuple[int, int]:
    found: dict[str, Any] = {
        item["name"]: item["weight"]
        for item in made["spec"]["rules"][index]["backendRefs"]
        if item.get("namespace") != "other" and item.get("kind", "Service") == "Service"
    }
    return found["stable"], found["canary"]


def test_the_corpus_is_large_and_valid() -> None:
    assert len(CORPUS) >= 60
    assert [case.name for case in CORPUS if broken_rules(case.route)] == []
    assert [case.name for case in CORPUS if ROUTER.validate(case.rollout, objects_of(case))] == []


@over_the_corpus
def test_only_the_weights_of_the_addressed_rules_change(case: Case) -> None:
    objects = objects_of(case)
    rest = without_weights(case, case.route)
    for weight in WEIGHTS:
        apply(case, objects, Desired(canary_weight=weight))
        canary = case.total * weight // 100
        for index in case.addressed:
            assert share(case, the(objects), index) == (case.total - canary, canary)
        assert without_weights(case, the(objects)) == rest
        assert broken_rules(the(objects)) == []
        assert ROUTER.canary_weight(case.rollout, objects) == weight
    labels = case.route["metadata"].get("labels")
    assert (the(objects)["metadata"].get("labels") or None) == labels, "back at 0 nothing is left"


@over_the_corpus
def test_managed_rules_come_and_go_and_leave_nothing_behind(case: Case) -> None:
    objects = objects_of(case)
    if case.route["kind"] not in ("HTTPRoute", "GRPCRoute"):
        assert ROUTER.plan(case.rollout, objects, Desired(managed=(HEADER,))).changes == ()
        return
    rest = without_weights(case, case.route)
    count = len(case.addressed)
    for weight in (0, 20, 60):
        apply(case, objects, Desired(canary_weight=weight, managed=(MIRROR, HEADER)))
        made = the(objects)
        names = [item.get("name", "") for item in made["spec"]["rules"][: 2 * count]]
        assert [name.partition("-")[0] for name in names] == ["hdr"] * count + ["mir"] * count
        for index in range(count, 2 * count):
            canary = case.total * weight // 100
            assert share(case, made, index) == (case.total - canary, canary)
        assert without_weights(case, made, ahead=2 * count) == rest
        assert broken_rules(made) == []
        assert ROUTER.canary_weight(case.rollout, objects) == weight
    apply(case, objects, Desired(canary_weight=0, managed=GONE))
    assert without_weights(case, the(objects)) == rest


@over_the_corpus
def test_every_patch_is_minimal_and_tested(case: Case) -> None:
    """Only weights, rules of our own and the label are written, and nothing that was not tested first."""
    objects = objects_of(case)
    with_rules = case.route["kind"] in ("HTTPRoute", "GRPCRoute")
    for desired in (
        Desired(canary_weight=40, managed=(HEADER,) if with_rules else ()),
        Desired(canary_weight=0, managed=GONE),
    ):
        for change in ROUTER.plan(case.rollout, objects, desired).changes:
            tested = [item["path"] for item in change.patch if item["op"] == "test"]
            assert tested
            for operation in (item for item in change.patch if item["op"] != "test"):
                path = operation["path"]
                ours = path.count("/") == 3 and path.startswith("/spec/rules/")
                label = path.startswith("/metadata/labels")
                assert ours or label or path.endswith("/weight"), operation
            objects[change.ref] = change.after


def test_a_broken_rewriter_would_be_seen() -> None:
    """The rules of the API and the comparison find what they are there for."""
    (case,) = (case for case in CORPUS if case.name == "http: a third backend with a share")
    objects = objects_of(case)
    apply(case, objects, Desired(canary_weight=50))
    assert weights(the(objects)) == {"stable": 100, "canary": 100, "legacy": 50}
    made = the(objects)
    made["spec"]["rules"][0]["backendRefs"][2]["weight"] = 51
    assert without_weights(case, made) != without_weights(case, case.route)
    made["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1_000_001
    made["spec"]["rules"][0]["name"] = "A"
    assert len(broken_rules(made)) == 2

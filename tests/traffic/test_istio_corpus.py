"""The property a rewriter must hold, over a corpus of VirtualServices (tests/traffic/corpus.py)."""

from copy import deepcopy
from typing import Any

import pytest

from agent.api.meta import Object
from agent.api.rollout import (
    HeaderRoutingMatch,
    RouteMatch,
    SetHeaderRoute,
    SetMirrorRoute,
    StringMatch,
)
from agent.traffic.istio import Istio
from agent.traffic.types import Desired, RouteObjects
from tests.traffic.corpus import Case, cases
from tests.traffic.istio_rules import broken_rules
from tests.traffic.objects import destination_rule, observed, to, virtual_service

CORPUS = cases()
WEIGHTS = (0, 1, 33, 50, 100, 99, 0)
MIRROR = SetMirrorRoute(name="mir", match=[RouteMatch(path=StringMatch(prefix="/"))], percentage=20)
HEADER = SetHeaderRoute(
    name="hdr",
    match=[HeaderRoutingMatch(header_name="x-canary", header_value=StringMatch(regex="^1$"))],
)
GONE = (SetHeaderRoute(name="hdr"), SetHeaderRoute(name="mir"))
over_the_corpus = pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)


def objects_of(case: Case) -> dict[Any, Object]:
    rule = destination_rule({"name": "stable"}, {"name": "canary"})
    return dict(observed(deepcopy(case.service), rule))


def apply(case: Case, objects: dict[Any, Object], desired: Desired) -> None:
    """Write the plan, and expect that there is nothing left to write then."""
    plan = Istio().plan(case.rollout, objects, desired)
    assert plan.refusal is None
    for change in plan.changes:
        objects[change.ref] = change.after
    again = Istio().plan(case.rollout, objects, desired)
    assert (again.changes, again.refusal) == ((), None)


def service_in(objects: RouteObjects) -> Object:
    return next(obj for ref, obj in objects.items() if ref.kind == "VirtualService")


def without_weights(case: Case, service: Object) -> Object:
    """Everything but the weights of the addressed rules."""
    plain = deepcopy(service)
    for block, index in case.addressed:
        for item in plain["spec"][block][index]["route"]:
            item.pop("weight", None)
    return plain


def weights(service: Object, block: str, index: int) -> list[int]:
    return [item.get("weight", 0) for item in service["spec"][block][index]["route"]]


def test_the_corpus_is_large_and_valid() -> None:
    assert len(CORPUS) >= 150
    assert [case.name for case in CORPUS if broken_rules(case.service)] == []
    assert [case.name for case in CORPUS if Istio().validate(case.rollout, objects_of(case))] == []


ROUTE = {"route": [to("a", 50), to("b", 50)]}


@pytest.mark.parametrize(
    ("spec", "broken"),
    [
        pytest.param({"http": []}, "none of http", id="nothing"),
        pytest.param({"hosts": ["a", "a"]}, "a host twice", id="a host twice"),
        pytest.param({"hosts": ["*"]}, "all hosts", id="all hosts in the mesh"),
        pytest.param({"exportTo": ["*", "x"]}, "exportTo", id="everywhere and here"),
        pytest.param({"http": [ROUTE | {"redirect": {"uri": "/"}}]}, "not exactly one", id="two actions"),
        pytest.param({"http": [{"match": []}]}, "not exactly one", id="no action"),
        pytest.param({"http": [ROUTE | {"mirror": {"host": "x"}, "mirrors": [{}]}]}, "mirrors", id="both mirrors"),
        pytest.param({"http": [ROUTE | {"mirrorPercentage": {"value": 101}}]}, "101 %", id="more than all"),
        pytest.param({"http": [{"route": [to("a", 0), to("b", 0)]}]}, "sum to 0", id="no weight at all"),
        pytest.param({"http": [{"route": [to("a", 101), to("b", -1)]}]}, "weights [101, -1]", id="a negative weight"),
        pytest.param({"http": [{"route": [to("", 100)]}]}, "without a host", id="no host"),
        pytest.param({"http": [{"route": [to("a", 1, subset="V_1")]}]}, "the subset V_1", id="no label"),
        pytest.param({"tls": [{"match": [{"sniHosts": ["y"]}], "route": [to("a")]}]}, "SNI hosts", id="hosts of others"),
    ],
)  # fmt: skip
def test_the_rules_are_istio_s(spec: dict[str, Any], broken: str) -> None:
    assert broken_rules(virtual_service(ROUTE)) == []
    assert broken in " ".join(broken_rules(virtual_service(ROUTE, spec=spec)))


@over_the_corpus
def test_only_the_weights_of_the_addressed_rules_change(case: Case) -> None:
    objects = objects_of(case)
    rest = without_weights(case, case.service)
    for weight in WEIGHTS:
        apply(case, objects, Desired(canary_weight=weight))
        service = service_in(objects)
        for block, index in case.addressed:
            assert weights(service, block, index) == [100 - weight, weight]
        assert without_weights(case, service) == rest
        assert broken_rules(service) == []
        assert Istio().canary_weight(case.rollout, objects) == weight


@over_the_corpus
def test_managed_routes_come_and_go_and_leave_nothing_behind(case: Case) -> None:
    objects = objects_of(case)
    if case.addressed[0][0] != "http":
        plan = Istio().plan(case.rollout, objects, Desired(managed=(HEADER,)))
        assert plan.refusal is not None, "only http routes have headers"
        assert plan.changes == ()
        return
    rest = without_weights(case, case.service)
    for weight in (0, 20, 60):
        apply(case, objects, Desired(canary_weight=weight, managed=(MIRROR, HEADER)))
        service = service_in(objects)
        names = [route.get("name") for route in service["spec"]["http"][:2]]
        assert names == ["hdr", "mir"], "in the order of managedRoutes"
        assert weights(service, "http", 1) == [100 - weight, weight]
        assert broken_rules(service) == []
        assert Istio().canary_weight(case.rollout, objects) == weight
    apply(case, objects, Desired(canary_weight=0, managed=GONE))
    assert without_weights(case, service_in(objects)) == rest


@over_the_corpus
def test_every_patch_is_minimal_and_tested(case: Case) -> None:
    """Only weights and managed routes are written, and nothing that was not tested first."""
    objects = objects_of(case)
    for desired in (
        Desired(canary_weight=40, managed=(HEADER,) if case.addressed[0][0] == "http" else ()),
        Desired(canary_weight=0, managed=GONE),
    ):
        for change in Istio().plan(case.rollout, objects, desired).changes:
            tested = [item["path"] for item in change.patch if item["op"] == "test"]
            written = [item for item in change.patch if item["op"] != "test"]
            assert tested
            for operation in written:
                path = operation["path"]
                managed = path.count("/") == 3 and path.startswith("/spec/http/")
                assert managed or path.endswith("/weight"), operation
            objects[change.ref] = change.after

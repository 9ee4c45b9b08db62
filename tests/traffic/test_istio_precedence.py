"""Which VirtualService Istio listens to, and delegates: what has no effect is refused with the fix."""

from typing import Any

import pytest

from agent.api.meta import Object, Ref
from agent.traffic.hosts import full_host, hosts_of
from agent.traffic.istio import Istio
from agent.traffic.types import Desired
from tests.traffic.objects import observed, pair, rollout, to, virtual_service, weights

OLD, NEW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def service(name: str, created: str, *routes: dict[str, Any], **spec: Any) -> Object:
    made = virtual_service(*(routes or ({"route": pair(100, 0)},)), name=name)
    made["metadata"]["creationTimestamp"] = created
    made["metadata"]["namespace"] = spec.pop("namespace", "default")
    return {**made, "spec": {**made["spec"], **spec}}


def trouble(*objects: Object) -> str:
    errors = Istio().validate(rollout(), observed(*objects))
    return "; ".join(error.detail for error in errors)


ANY = {"route": [to("old", 100)]}
SOME = {"match": [{"uri": {"prefix": "/old"}}], **ANY}


@pytest.mark.parametrize(
    ("mine", "other", "refused"),
    [
        pytest.param({}, {"created": OLD}, True, id="an older one has the host in the mesh"),
        pytest.param({}, {"created": NEW}, False, id="a younger one comes after ours"),
        pytest.param({}, {"created": OLD, "hosts": ["b.com"]}, False, id="another host"),
        pytest.param(
            {"hosts": ["shop"]}, {"created": OLD, "hosts": ["shop.default.svc.cluster.local"]}, True,
            id="a short name means the Service of the namespace",
        ),
        pytest.param(
            {"hosts": ["shop"]}, {"created": OLD, "hosts": ["shop"], "namespace": "b"}, False,
            id="a short name in another namespace is another Service",
        ),
        pytest.param(
            {}, {"created": OLD, "gateways": ["edge"]}, False, id="one for a gateway, one for the mesh"
        ),
        pytest.param(
            {"gateways": ["edge"]}, {"created": OLD, "gateways": ["default/edge"], "http": [ANY]}, True,
            id="an older one answers every call at the gateway",
        ),
        pytest.param(
            {"gateways": ["edge"]}, {"created": OLD, "gateways": ["edge"], "http": [SOME]}, False,
            id="a gateway puts the rules one after the other",
        ),
        pytest.param(
            {"exportTo": ["."]}, {"created": OLD}, False, id="a private one comes before a public one"
        ),
        pytest.param(
            {}, {"created": NEW, "exportTo": ["."], "namespace": "b"}, False,
            id="a private one of another namespace has it for its neighbours alone",
        ),
        pytest.param(
            {"exportTo": ["."]}, {"created": OLD, "exportTo": ["default"]}, True,
            id="an older private one of the same namespace",
        ),
    ],
)  # fmt: skip
def test_a_virtual_service_that_another_one_overrules_is_refused(
    mine: dict[str, Any], other: dict[str, Any], refused: bool
) -> None:
    settings = {"created": OLD, **other}
    said = trouble(service("vs", "2026-01-01T12:00:00Z", **mine), service("other", **settings))
    assert ("has no effect: put all routes of the host into one" in said) is refused, said
    assert ("VirtualService" in said and "/other is older" in said) is refused


def test_what_wins_among_the_rollout_s_own_has_its_weights() -> None:
    both = {"virtualServices": [{"name": "vs"}, {"name": "other"}]}
    objects = observed(service("vs", NEW), service("other", OLD))
    assert Istio().validate(rollout(istio=both), objects) == ()


def test_an_overruled_one_is_lowered_all_the_same() -> None:
    objects = observed(service("vs", NEW, {"route": pair(60, 40)}), service("other", OLD))
    (change,) = Istio().plan(rollout(), objects, Desired(canary_weight=0)).changes
    assert change.ref == Ref("VirtualService", "default", "vs")


def test_a_root_is_refused_with_the_name_of_its_delegate() -> None:
    root = service("vs", OLD, {"match": [{}], "delegate": {"name": "shop", "namespace": "team"}})
    assert trouble(root) == (
        "Istio VirtualService has invalid HTTP routes. Error: http route 0 delegates to the VirtualService "
        "'shop.team', which has the weights: name that one in "
        "spec.strategy.canary.trafficRouting.istio.virtualService.name"
    )


def test_a_delegate_that_the_rollout_names_is_edited_and_the_root_left_alone() -> None:
    root = virtual_service({"match": [{}], "delegate": {"name": "shop", "namespace": "team"}})
    delegate = virtual_service({"route": pair(100, 0)}, name="shop", namespace="team")
    del delegate["spec"]["hosts"]
    ro = rollout(istio={"virtualService": {"name": "shop.team"}})
    for item in delegate["spec"]["http"][0]["route"]:
        item["destination"]["host"] += ".default.svc.cluster.local"
    objects = observed(root, delegate)
    assert Istio().validate(ro, objects) == ()
    (change,) = Istio().plan(ro, objects, Desired(canary_weight=30)).changes
    assert change.ref == Ref("VirtualService", "team", "shop")
    assert list(weights(change.after).values()) == [70, 30]


def test_hosts_in_full() -> None:
    assert full_host("Shop", "a") == "shop.a.svc.cluster.local"
    assert full_host("*", "a") == "*"
    made = virtual_service(spec={"hosts": ["shop", "shop.example.com", "shop"]})
    assert hosts_of("VirtualService", made) == (
        "shop.default.svc.cluster.local", "shop.example.com",
    )  # fmt: skip
    assert hosts_of("Service", made) == ()
    assert hosts_of("VirtualService", {"metadata": {"name": "x"}, "spec": {"hosts": 3}}) == ()

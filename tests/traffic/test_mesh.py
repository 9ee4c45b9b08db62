"""A VirtualService and a Gateway API route for one Service in the mesh: both are refused, in words that name both."""

from typing import Any

import pytest

from agent.api.meta import Object
from agent.traffic.gateway import Gateway
from agent.traffic.hosts import hosts_of
from agent.traffic.istio import Istio
from tests.traffic import gateway_objects as gateway
from tests.traffic import objects as istio

SERVICE = {"group": "", "kind": "Service", "name": "shop"}
HOST = "shop.default.svc.cluster.local"


def for_the_mesh(*parents: dict[str, Any], **given: Any) -> Object:
    rules = gateway.rule(*gateway.pair(100, 0))
    return gateway.route(rules, parents=list(parents or (SERVICE,)), **given)


def virtual_service(*hosts: str, **spec: Any) -> Object:
    return istio.virtual_service({"route": istio.pair(100, 0)}, spec={"hosts": list(hosts), **spec})


def words(*objects: Object) -> tuple[str, str]:
    """What either router says about them, "" for nothing."""
    observed = istio.observed(*objects)
    gateway_errors = Gateway().validate(gateway.rollout(), observed)
    istio_errors = Istio().validate(istio.rollout(), observed)
    return (
        "".join(error.detail for error in gateway_errors),
        "".join(error.detail for error in istio_errors),
    )


@pytest.mark.parametrize("host", ["shop", HOST, HOST.upper()])
@pytest.mark.parametrize("gateways", [{}, {"gateways": ["mesh", "edge"]}])
def test_both_on_one_service_are_refused_from_either_side(host: str, gateways: Any) -> None:
    by_gateway, by_istio = words(for_the_mesh(), virtual_service(host, **gateways))
    for said in (by_gateway, by_istio):
        assert f"also speaks for '{HOST}' in the mesh" in said
    assert by_gateway.startswith("VirtualService default/vs")
    assert by_istio.startswith("HTTPRoute default/web")


@pytest.mark.parametrize(
    ("route", "service"),
    [
        pytest.param(
            for_the_mesh({"name": "edge"}), virtual_service("shop"), id="a gateway's route"
        ),
        pytest.param(for_the_mesh(), virtual_service("other"), id="another Service"),
        pytest.param(
            for_the_mesh({**SERVICE, "namespace": "x"}),
            virtual_service("shop"),
            id="of another namespace",
        ),
        pytest.param(
            for_the_mesh(),
            virtual_service("shop", gateways=["edge"]),
            id="not for clients in the mesh",
        ),
        pytest.param(
            for_the_mesh({"name": "edge"}, hostnames=["shop.example.com"]),
            virtual_service("shop.example.com"),
            id="a hostname at a gateway",
        ),
    ],
)
def test_what_does_not_meet_is_not_refused(route: Object, service: Object) -> None:
    assert words(route, service) == ("", "")


def test_two_gateway_api_routes_of_one_service_are_merged_by_the_mesh() -> None:
    observed = istio.observed(for_the_mesh(), for_the_mesh(name="other"))
    assert Gateway().validate(gateway.rollout(), observed) == ()


def test_the_hosts_of_a_route_are_the_services_that_are_its_parents() -> None:
    made = for_the_mesh(SERVICE, {"name": "edge"}, {**SERVICE, "name": "pay", "namespace": "x"})
    assert hosts_of("HTTPRoute", made) == (HOST, "pay.x.svc.cluster.local")
    assert hosts_of("Service", made) == ()

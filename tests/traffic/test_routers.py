"""The table of routers, and who is refused with which advice."""

import msgspec
import pytest

from agent.api.rollout import IstioTrafficRouting, TrafficRouting
from agent.traffic.routers import ROUTERS, refused_routers, router_of
from agent.traffic.routing import configured

FIELD = "spec.strategy.canary.trafficRouting"
ISTIO = IstioTrafficRouting()


def test_the_configured_router_is_found() -> None:
    assert router_of(TrafficRouting(istio=ISTIO)) is ROUTERS["istio"]
    assert router_of(TrafficRouting(nginx={})) is None
    assert router_of(TrafficRouting(plugins={})) is None
    assert router_of(None) is None


def test_members_come_before_plugins() -> None:
    routing = TrafficRouting(istio=ISTIO, app_mesh={}, plugins={"x/y": {}, "istio-like": None})
    assert configured(routing) == ("istio", "appMesh", "x/y", "istio-like")
    assert configured(None) == ()


def test_nobody_is_refused_without_a_reason() -> None:
    assert refused_routers(TrafficRouting(istio=ISTIO)) == ()
    assert refused_routers(TrafficRouting()) == ()
    assert refused_routers(None) == ()


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("nginx", "NGINX Gateway Fabric"),
        ("alb", "AWS Load Balancer Controller"),
        ("smi", "Linkerd"),
        ("ambassador", "Envoy Gateway"),
        ("app_mesh", "VPC Lattice"),
        ("traefik", "Traefik"),
        ("apisix", "APISIX"),
    ],
)
def test_another_router_is_refused_by_name_with_the_gateway_api_route_to_use(
    member: str, words: str
) -> None:
    (error,) = refused_routers(msgspec.structs.replace(TrafficRouting(), **{member: {}}))
    assert error.field == f"{FIELD}.{'appMesh' if member == 'app_mesh' else member}"
    assert words in error.detail
    assert 'plugins["argoproj-labs/gatewayAPI"].httpRoute' in error.detail


def test_an_unknown_plugin_is_refused_by_name_with_the_entry_point() -> None:
    (error,) = refused_routers(TrafficRouting(plugins={"acme/edge": {}}))
    assert error.field == f'{FIELD}.plugins["acme/edge"]'
    assert "'acme/edge' is not installed" in error.detail
    assert "serinus.traffic_routers" in error.detail


def test_a_second_router_is_refused() -> None:
    routers = {**ROUTERS, "acme/edge": ROUTERS["istio"]}
    routing = TrafficRouting(istio=ISTIO, nginx={}, plugins={"acme/edge": {}})
    assert [error.field for error in refused_routers(routing, routers)] == [
        f"{FIELD}.nginx",
        f'{FIELD}.plugins["acme/edge"]',
    ]
    assert "beside 'istio'" in refused_routers(routing, routers)[1].detail

"""The table of routers."""

from agent.api.rollout import IstioTrafficRouting, TrafficRouting
from agent.traffic.routers import ROUTERS, refused_routers, router_of


def test_the_configured_router_is_found() -> None:
    assert router_of(TrafficRouting(istio=IstioTrafficRouting())) is ROUTERS["istio"]
    assert router_of(TrafficRouting(nginx={})) is None
    assert router_of(None) is None


def test_routers_that_are_not_driven_are_refused_by_name() -> None:
    routing = TrafficRouting(istio=IstioTrafficRouting(), app_mesh={}, plugins={"x/y": {}})
    fields = [error.field for error in refused_routers(routing)]
    assert fields == [
        "spec.strategy.canary.trafficRouting.appMesh",
        "spec.strategy.canary.trafficRouting.plugins",
    ]
    assert refused_routers(TrafficRouting(istio=IstioTrafficRouting())) == ()
    assert refused_routers(None) == ()

"""Who else refers to what: the index alone, and two rollouts that the engine finds on one route."""

from copy import deepcopy

from agent.api.meta import Key, Object, Ref
from agent.cluster.port import KINDS
from agent.engine.neighbours import Neighbours
from tests.engine.shop import shop, why
from tests.simulation.manifests import namespace, rollout, service, virtual_service
from tests.simulation.scenario import is_promoted, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World

WEB, API = Key("shop", "web"), Key("shop", "api")
ROUTE, OTHER = Ref("VirtualService", "shop", "web"), Ref("VirtualService", "shop", "other")


def named(obj: Object) -> tuple[Ref, ...]:
    return tuple(Ref("VirtualService", "shop", name) for name in obj["names"])


def changed(index: Neighbours, key: Key, *names: str) -> tuple[Key, ...]:
    return index.changed(Ref("Rollout", *key), {"names": names})


def route(*hosts: str) -> Object:
    return {"metadata": {"name": "x", "namespace": "shop"}, "spec": {"hosts": list(hosts)}}


def test_rollouts_that_name_one_object_are_rivals_until_one_lets_go() -> None:
    index = Neighbours(named)
    assert changed(index, WEB, "web") == ()
    assert changed(index, API, "web", "other") == (WEB,)
    assert (index.rivals(WEB), index.rivals(API)) == ((API,), (WEB,))
    assert changed(index, API, "web", "other") == (), "nothing is new"
    assert index.changed(Ref("Rollout", *API), None) == (WEB,)
    assert index.rivals(WEB) == ()


def test_a_gateway_api_route_stands_beside_a_virtual_service_for_its_service() -> None:
    """Also of another kind: which of them counts is not defined."""
    index = Neighbours(named)
    mesh = Ref("HTTPRoute", "shop", "web")
    index.changed(ROUTE, route("web"))
    assert changed(index, WEB, "web") == ()
    parents = [{"group": "", "kind": "Service", "name": "web"}]
    there = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"parentRefs": parents}}
    assert index.changed(mesh, there) == (WEB,)
    assert index.beside([ROUTE]) == (mesh,)
    assert index.beside([mesh]) == (ROUTE,)
    there["spec"] = {"parentRefs": [{"name": "edge"}]}
    assert index.changed(mesh, there) == (WEB,)
    assert index.beside([ROUTE]) == ()


def test_route_objects_with_one_host_stand_beside_each_other() -> None:
    index = Neighbours(named)
    changed(index, WEB, "web")
    assert index.changed(ROUTE, route("a.com", "b.com")) == ()
    assert index.changed(OTHER, route("b.com")) == (WEB,)
    assert index.beside([ROUTE]) == (OTHER,)
    assert index.changed(OTHER, route("c.com")) == (WEB,), "it let go of the host"
    assert index.beside([ROUTE]) == ()
    assert index.changed(OTHER, None) == ()
    assert index.changed(Ref("Service", "shop", "web"), route("a.com")) == ()


def test_a_second_rollout_on_the_route_stops_both_until_it_is_gone() -> None:
    async def main() -> None:
        async with shop(at_weight=20) as world:
            second = deepcopy(rollout([{"setWeight": 50}]))
            second["metadata"]["name"] = "twin"
            second["spec"]["strategy"]["canary"] |= {
                "canaryService": "twin-canary",
                "stableService": "twin-stable",
            }
            await world.store.create(KINDS["Rollout"], second)
            await world.clock.sleep(1)
            assert "is also driven by Rollout shop/twin" in why(world)
            twin = world.engine.wait_of(Key("shop", "twin"))
            assert twin is not None
            assert "is also driven by Rollout shop/web" in twin.why or "not found" in twin.why
            await set_image(world, "web:3")
            await world.clock.sleep(20)
            assert world.weight() <= 20
            await world.store.delete(KINDS["Rollout"], "shop", "twin")
            await world.until(lambda: "driven by" not in why(world), within=5, what="it goes on")
            await world.until(lambda: world.weight() == 20, within=30, what="the new revision")

    run(main())


def test_an_older_route_for_the_host_is_found_although_nobody_names_it() -> None:
    async def main() -> str:
        world = World(5)
        older = virtual_service()
        older["metadata"] = {"name": "older", "namespace": "shop"}
        await world.apply(namespace(), service("web-stable"), service("web-canary"), older)
        await world.clock.sleep(5)
        await world.apply(virtual_service(), rollout([{"setWeight": 20}]))
        async with world.alive():
            await world.clock.sleep(2)
            said = why(world)
            await world.store.delete(KINDS["VirtualService"], "shop", "older")
            await world.until(lambda: is_promoted(world), within=30, what="it goes on at once")
        return said

    assert "VirtualService shop/older is older and answers every call to the host" in run(main())

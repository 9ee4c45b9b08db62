"""Routers of third parties: the one of docs/routers.md drives a rollout; broken ones keep the agent from starting."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agent import router_plugins
from agent.api.meta import Ref
from agent.cluster.discovery import VERSIONS
from agent.cluster.port import KINDS, Kind
from agent.errors import Refused
from agent.router_plugins import added_kinds, installed_routers
from agent.traffic.routers import ROUTERS
from agent.traffic.types import RouteKind, Router
from tests.rollout import given
from tests.rollout.world import World

PAGE = Path(__file__).parents[1] / "docs" / "routers.md"
NAME = "example.com/edge"
ROUTE = Ref("EdgeRoute", "default", "checkout")


@pytest.fixture(autouse=True)
def _kinds() -> Iterator[None]:
    """What a test makes known is forgotten afterwards."""
    kinds, versions = dict(KINDS), dict(VERSIONS)
    yield
    for name in set(KINDS) - set(kinds):
        del KINDS[name]
    for group in set(VERSIONS) - set(versions):
        del VERSIONS[group]


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> EntryPoint:
    """The page's router, installed."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (line,) = re.findall(r'^edge = "(.*)"$', PAGE.read_text(), re.MULTILINE)
    module = ModuleType("edge_router")
    exec(compile(code, str(PAGE), "exec"), module.__dict__)  # noqa: S102 - our own page
    monkeypatch.setitem(sys.modules, "edge_router", module)
    return EntryPoint("edge", line, router_plugins.GROUP)


def point(value: str) -> list[EntryPoint]:
    return [EntryPoint("theirs", value, router_plugins.GROUP)]


def on_the_page(routers: Any) -> World:
    """A rollout of two versions on the page's EdgeRoute."""
    canary: dict[str, Any] = {"trafficRouting": {"plugins": {NAME: {"route": "checkout"}}}}
    world = World(
        given.rollout([{"setWeight": 25}, {"pause": {}}], canary=canary),
        start=given.START,
        services=("canary", "stable"),
    )
    world.routers, world.route_kinds = routers, ("EdgeRoute",)
    world.objects[ROUTE] = {
        "metadata": {"name": "checkout"},
        "spec": {"split": {"stable": 100, "canary": 0}, "keep": "me"},
    }
    world.settle()
    return world


def test_nothing_installed_is_our_own() -> None:
    assert installed_routers(list) == ROUTERS
    assert added_kinds(ROUTERS) == ()


def test_the_page_s_router_drives_a_rollout(edge: EntryPoint) -> None:
    routers = installed_routers(lambda: [edge])
    assert list(routers) == [*ROUTERS, NAME]
    world = on_the_page(routers)
    world.set_image("v2")
    world.settle()
    assert world.objects[ROUTE]["spec"] == {"split": {"stable": 75, "canary": 25}, "keep": "me"}
    given.abort(world)
    world.settle()
    assert world.objects[ROUTE]["spec"]["split"] == {"stable": 100, "canary": 0}


def test_the_page_s_router_refuses_with_the_fix(edge: EntryPoint) -> None:
    world = on_the_page(installed_routers(lambda: [edge]))
    world.objects[ROUTE]["spec"]["split"] = {}
    world.set_image("v2")
    world.settle()
    assert "has no spec.split with numbers" in world.rollout["status"]["message"]


def test_kinds_that_come_along_are_known_to_the_cluster(edge: EntryPoint) -> None:
    assert added_kinds(installed_routers(lambda: [edge])) == ("EdgeRoute",)
    assert KINDS["EdgeRoute"] == Kind("EdgeRoute", "edgeroutes", "example.com", "v1")
    assert VERSIONS["example.com"] == ("v1",)


class Taken(Router):
    name = "istio"


class Clashing(Router):
    name = "acme/edge"
    kinds = (RouteKind("Rollout", "rollouts", "acme.example", ("v1",)),)


class Versionless(Router):
    name = "acme/edge"
    kinds = (RouteKind("AcmeRoute", "acmeroutes", "acme.example", ()),)


class Nameless(Router):
    pass


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:Edge", "cannot be loaded: ModuleNotFoundError"),
        ("json:no_such_name", "cannot be loaded: AttributeError"),
        ("json:JSONDecoder", "is no router: it has no references"),
        (f"{__name__}:Nameless", "is no router: it has no name"),
        (f"{__name__}:Taken", "there is already a router with the name 'istio'"),
        (f"{__name__}:Clashing", "its kind 'Rollout' is known as one of argoproj.io"),
        (f"{__name__}:Versionless", "its kind 'AcmeRoute' names no version"),
    ],
)
def test_a_router_that_cannot_be_used_is_named(value: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        installed_routers(lambda: point(value))
    assert words in str(refused.value)
    assert "'theirs'" in str(refused.value)

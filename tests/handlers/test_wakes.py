"""Events that only wake: changes of objects, and ticks."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest

from agent.api.meta import Key
from agent.engine.port import Engine
from agent.errors import Refused
from agent.events.event import Event
from handlers.kubernetes import TYPES, KubernetesHandler
from handlers.timer import PING, TimerHandler
from tests.engine.shop import shop
from tests.simulation.manifests import KEY
from tests.simulation.virtual import run
from tests.simulation.world import World

OWNED = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}


class Listening:
    """The engine, and whom it was told to wake."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.woken: list[Key] = []
        self.swept = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def wake(self, key: Key, cause: str) -> None:
        self.woken.append(key)
        self._engine.wake(key, cause)

    def wake_due(self) -> None:
        self.swept += 1
        self._engine.wake_due()


def in_shop(test: Callable[[World, Listening], Awaitable[None]]) -> None:
    async def main() -> None:
        async with shop() as world:
            await test(world, Listening(world.engine))

    run(main())


def an_event(type_: str, data: Any, world: World) -> Event:
    body = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return Event(id="1", source="/k8s", type=type_, time=world.clock.now(), data=body)


def an_object(kind: str, name: str, *owners: dict[str, Any], namespace: str = "shop") -> Any:
    meta: dict[str, Any] = {"name": name, "namespace": namespace}
    return {"kind": kind, "metadata": meta | ({"ownerReferences": owners} if owners else {})}


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(
    ("data", "woken"),
    [
        (an_object("Rollout", "web"), [KEY]),
        ({"kind": "Rollout", "name": "web", "namespace": "shop"}, [KEY]),
        (an_object("ReplicaSet", "web-1", {"kind": "Node"}, OWNED), [KEY]),
        (an_object("ReplicaSet", "x", {"kind": "Rollout", "apiVersion": "other/v1"}), [KEY]),
        (an_object("Service", "web-canary"), [KEY]),
        (an_object("Service", "web", namespace="elsewhere"), []),
        (an_object("Node", "n", namespace=""), [KEY]),
        (an_object("Rollout", "nobody"), [Key("shop", "nobody")]),
    ],
    ids=[
        "a rollout", "a reference to a rollout", "what a rollout controls",
        "what another Rollout kind controls", "anything else of the namespace", "another namespace",
        "what has no namespace", "a rollout that is gone",
    ],
)  # fmt: skip
def test_a_change_wakes_whom_it_concerns(type_: str, data: Any, woken: list[Key]) -> None:
    async def test(world: World, engine: Listening) -> None:
        handler = KubernetesHandler(cast("Engine", engine))
        await handler.changed(an_event(type_, data, world))
        await world.clock.sleep(1)
        assert engine.woken == woken

    in_shop(test)


@pytest.mark.parametrize(
    "data", [b"", b"<", [], {}, {"kind": 7}, {"metadata": {"name": "web"}}], ids=repr
)
def test_what_is_no_object_is_refused(data: Any) -> None:
    async def test(world: World, engine: Listening) -> None:
        with pytest.raises(Refused):
            await KubernetesHandler(cast("Engine", engine)).changed(an_event(TYPES[0], data, world))
        assert engine.woken == []

    in_shop(test)


def test_a_tick_sweeps_whatever_it_says() -> None:
    async def test(world: World, engine: Listening) -> None:
        handler = TimerHandler(cast("Engine", engine))
        for data in (b"", b"not JSON", {"a": 1}):
            await handler.tick(an_event(PING, data, world))
        await world.clock.sleep(1)
        assert engine.swept == 3

    in_shop(test)

"""An alert that names its rollout is matched by the name: what it costs does not grow with the rollouts."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from agent.api.meta import Key, Object
from agent.events.catalogue import ALERT_FIRING, Alert
from agent.events.event import Event
from handlers.alert import AlertHandler, ConfigMapLedger
from tests.engine.shop import shop
from tests.simulation.virtual import run
from tests.simulation.world import World


class Watched:
    """An engine that counts how often all rollouts of a namespace are looked at."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def rollouts(self, namespace: str | None = None) -> Iterable[Object]:
        self.looks += 1
        found: Iterable[Object] = self._engine.rollouts(namespace)
        return found


def firing(world: World, **labels: str) -> Event:
    alert = Alert(
        fingerprint="f",
        starts_at="2026-05-01T10:30:00Z",
        labels={"alertname": "Errors", "severity": "critical", **labels},
    )
    return Event(
        id="e1", source="/alertmanager", type=ALERT_FIRING, time=world.clock.now(),
        datacontenttype="application/json", data=msgspec.json.encode(alert),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "aborts", "looks"),
    [
        pytest.param({"rollout": "shop/web"}, True, 0, id="with its namespace"),
        pytest.param({"rollout": "web", "namespace": "shop"}, True, 0, id="by its name"),
        pytest.param({"rollout": "shop/gone"}, False, 0, id="one that does not exist"),
        pytest.param(
            {"rollout": "gone", "namespace": "shop", "service": "web-canary"}, True, 1,
            id="a name that is none here, and a Service's",
        ),
        pytest.param({"service": "web-canary", "namespace": "shop"}, True, 1, id="by a Service"),
        pytest.param({"rollout": "web"}, False, 0, id="in no namespace"),
    ],
)  # fmt: skip
def test_which_rollouts_are_looked_at(labels: dict[str, str], aborts: bool, looks: int) -> None:
    async def main() -> tuple[bool, int]:
        async with shop() as world:
            engine = Watched(world.engine)
            ledger = ConfigMapLedger(world.store, namespace="default")
            handler = AlertHandler(engine, ledger, world.clock)
            assert engine.view(Key("shop", "web")) is not None
            await handler.firing(firing(world, **labels))
            return bool(world.status().get("abort")), engine.looks

    assert run(main()) == (aborts, looks)

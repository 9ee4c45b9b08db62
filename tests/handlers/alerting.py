"""Alerts about shop/web, whose second version stands at 20 %, and what they did."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from agent.api.holds import decode_holds
from agent.api.names import HOLDS
from agent.api.times import format_time, format_time_ms
from agent.events.catalogue import ALERT_FIRING, ALERT_RESOLVED, Alert
from agent.events.event import Event
from agent.events.recorded import RECORDED
from handlers.alert.handler import AlertHandler
from handlers.alert.ledger import ConfigMapLedger
from tests.engine.shop import shop
from tests.simulation.virtual import run
from tests.simulation.world import World


def an_event(world: World, *, ago: float = 0.0, **labels: str) -> Event:
    """An alert that started some seconds ago."""
    data = Alert(
        fingerprint="-".join(labels.values()) or "f",
        starts_at=format_time(world.clock.now() - timedelta(seconds=ago)),
        labels={"alertname": "Errors", "namespace": "shop", **labels},
        annotations={"summary": "5xx above 5 %"},
    )
    return Event(
        id="e1",
        source="/alertmanager",
        type=ALERT_FIRING,
        time=world.clock.now(),
        datacontenttype="application/json",
        data=msgspec.json.encode(data),
    )


def resolved(event: Event) -> Event:
    return msgspec.structs.replace(event, type=ALERT_RESOLVED)


def told(world: World, event: Event) -> Event:
    """The event as it comes in now; whenever it is delivered again, it still says so."""
    extensions = {RECORDED: format_time_ms(world.clock.now())}
    return msgspec.structs.replace(event, extensions=extensions)


def handler_of(world: World) -> AlertHandler:
    ledger = ConfigMapLedger(world.store, namespace="default")
    return AlertHandler(world.engine, ledger, world.clock)


def holds(world: World, name: str = "web") -> list[str]:
    found = world.store.peek("Rollout", "shop", name)
    assert found is not None
    kept = decode_holds((found["metadata"].get("annotations") or {}).get(HOLDS, ""))
    return [hold.fingerprint for hold in kept]


def in_shop(test: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with shop() as world:
            await test(world)

    run(main())

"""Words about alerts that come again, late, or in another order: the one that came in last counts."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, cast

import pytest

from agent.api.holds import Hold
from agent.api.meta import Key
from agent.engine.port import Engine, Outcome
from agent.errors import Unavailable
from agent.events.catalogue import Alert, Cause
from agent.events.registry import read_data
from handlers.alert.handler import POLL_SECONDS, AlertHandler
from handlers.alert.ledger import ConfigMapLedger
from tests.handlers.alerting import an_event, handler_of, holds, in_shop, resolved, told
from tests.simulation.scenario import is_rolled_back, set_image
from tests.simulation.world import World


async def _next_version(world: World) -> None:
    before = world.status()["currentPodHash"]
    await set_image(world, "web:3")
    await world.until(
        lambda: world.status()["currentPodHash"] != before and world.weight() == 20,
        within=60,
        what="the next version's traffic",
    )
    await world.clock.sleep(5)


def _untouched(world: World) -> bool:
    return not world.status().get("abort") and holds(world) == [] and world.weight() == 20


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "another process"])
@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_a_firing_that_comes_again_after_its_end_does_nothing_to_the_next_version(
    severity: str, restarted: bool
) -> None:
    """I4. It was not committed when the process died, and is delivered to the next one."""

    async def test(world: World) -> None:
        handler = handler_of(world)
        firing = told(world, an_event(world, service="web-canary", severity=severity))
        await handler.firing(firing)
        await world.until(
            lambda: is_rolled_back(world) if severity == "critical" else bool(holds(world)),
            within=5,
            what="it was carried out",
        )
        await world.clock.sleep(1)
        await handler.resolved(told(world, resolved(firing)))
        ledger = ConfigMapLedger(world.store, namespace="default")
        again, outcomes = handler, list[str]()
        if restarted:
            again = AlertHandler(world.engine, ledger, world.clock, counted=outcomes.append)
        world.engine.use_level_check(again.level_check)
        await _next_version(world)
        await again.firing(firing)
        assert outcomes == (["over"] if restarted else [])
        await world.clock.sleep(10)
        assert _untouched(world)
        assert await ledger.active() == ()

    in_shop(test)


def test_an_alert_that_fires_on_although_it_was_resolved_counts_again() -> None:
    """Alertmanager resolves what it hears nothing of; when it does, startsAt is what it was."""

    async def test(world: World) -> None:
        await world.clock.sleep(30)
        handler = handler_of(world)
        event = an_event(world, service="web-canary", severity="warning")
        await handler.firing(told(world, event))
        await world.clock.sleep(5)
        end = told(world, resolved(event))
        await handler.resolved(end)
        assert holds(world) == []
        await world.clock.sleep(5)
        await handler.firing(told(world, event))
        assert holds(world) == ["web-canary-warning"]
        await handler.resolved(end)
        assert holds(world) == ["web-canary-warning"], "the end of before is not this one's"
        await handler.resolved(told(world, resolved(event)))
        assert holds(world) == []

    in_shop(test)


class Meanwhile:
    """The engine; before a hold is stored, something happens."""

    def __init__(self, engine: Engine, happening: Callable[[], Awaitable[None]]) -> None:
        self._engine = engine
        self._happening = happening

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def hold(self, key: Key, hold: Hold, cause: Cause) -> Outcome:
        await self._happening()
        return await self._engine.hold(key, hold, cause)


def test_an_alert_that_ends_while_it_is_applied_leaves_no_hold_behind() -> None:
    """Another replica is told of the end, and finds no hold to end yet."""

    async def test(world: World) -> None:
        await world.clock.sleep(30)
        firing = told(world, an_event(world, service="web-canary", severity="warning"))

        async def ends() -> None:
            await world.clock.sleep(0.2)
            await handler_of(world).resolved(told(world, resolved(firing)))

        engine = cast("Engine", Meanwhile(world.engine, ends))
        ledger = ConfigMapLedger(world.store, namespace="default")
        await AlertHandler(engine, ledger, world.clock).firing(firing)
        await world.until(lambda: holds(world) == [], within=1, what="no hold")
        assert await ledger.active() == ()

    in_shop(test)


def test_a_hold_whose_end_reached_nobody_ends_all_the_same() -> None:
    """The end was noted; who noted it died before it had ended the hold."""

    async def test(world: World) -> None:
        await world.clock.sleep(30)
        handler = handler_of(world)
        await handler.release_ended()
        firing = told(world, an_event(world, service="web-canary", severity="warning"))
        await handler.firing(firing)
        await handler.release_ended()
        assert holds(world) == ["web-canary-warning"], "it fires"
        ledger = ConfigMapLedger(world.store, namespace="default")
        alert = read_data(Alert, firing)
        assert await ledger.resolved(alert, world.clock.now(), matched=True)
        task = asyncio.create_task(handler.run())
        await world.until(lambda: holds(world) == [], within=POLL_SECONDS + 1, what="no hold")
        task.cancel()

    in_shop(test)


@pytest.mark.parametrize("hangs", [False, True], ids=["unavailable", "hangs"])
def test_an_alert_of_which_nobody_says_whether_it_is_over_fires(hangs: bool) -> None:
    async def test(world: World) -> None:
        firing = told(world, an_event(world, service="web-canary", severity="critical"))
        await world.clock.sleep(30)

        class Silent(ConfigMapLedger):
            async def is_over(self, alert: Alert, told: datetime) -> bool:
                if hangs:
                    await asyncio.Event().wait()
                raise Unavailable("no answer")

        source = Silent(world.store, namespace="default")
        await AlertHandler(world.engine, source, world.clock).firing(firing)
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")

    in_shop(test)


def test_what_was_told_just_now_waits_for_no_answer() -> None:
    async def test(world: World) -> None:
        await world.clock.sleep(30)

        class Unasked(ConfigMapLedger):
            async def is_over(self, alert: Alert, told: datetime) -> bool:
                raise AssertionError("asked")

        source = Unasked(world.store, namespace="default")
        firing = told(world, an_event(world, service="web-canary", severity="critical"))
        await AlertHandler(world.engine, source, world.clock).firing(firing)
        assert world.status()["abort"] is True

    in_shop(test)

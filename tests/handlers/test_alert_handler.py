"""Alerts over the real engine: aborts, holds, their end, the ledger and the level check."""

import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec
import pytest

from agent.api.holds import Hold
from agent.api.meta import Key, Object
from agent.api.names import ABORT_ON, HOLDS, ON_ALERT
from agent.cluster.port import KINDS
from agent.engine.port import Engine, Outcome, View
from agent.errors import Refused, SerinusError, Unavailable
from agent.events.catalogue import Alert, Cause
from handlers.alert.handler import AlertHandler
from handlers.alert.ledger import ConfigMapLedger
from tests.engine.shop import STEPS, annotations, shop
from tests.handlers.alerting import an_event, handler_of, holds, in_shop, resolved
from tests.simulation.manifests import KEY, rollout, service, virtual_service
from tests.simulation.scenario import is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World


def view_of(world: World) -> View:
    view = world.engine.view(KEY)
    assert view is not None
    return view


async def annotate(world: World, key: str, value: str) -> None:
    patch = {"metadata": {"annotations": {key: value}}}
    await world.store.merge_patch(KINDS["Rollout"], "shop", "web", patch)
    world.checker.remember()
    await world.until(
        lambda: view_of(world).rollout["metadata"]["annotations"].get(key) == value,
        within=5,
        what="the annotation in the cache",
    )


def test_a_critical_alert_takes_the_new_version_off_with_its_evidence() -> None:
    async def test(world: World) -> None:
        await world.clock.sleep(30)
        event = an_event(world, service="web-canary", severity="critical")
        await handler_of(world).firing(event)
        await handler_of(world).firing(event)
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
        await world.clock.sleep(3)
        (aborted,) = [e for e in world.bus.events() if ".aborted." in e["type"]]
        cause = aborted["data"]["cause"]
        assert cause["summary"] == "alert Errors (critical): 5xx above 5 %"
        assert cause["evidence"]["labels"]["service"] == "web-canary"
        assert aborted["causationid"] == "e1"

    in_shop(test)


def test_two_alerts_hold_until_both_have_ended() -> None:
    async def test(world: World) -> None:
        await world.clock.sleep(30)
        handler = handler_of(world)
        first = an_event(world, service="web-canary", severity="warning")
        second = an_event(world, service="web-stable", severity="warning")
        await handler.firing(first)
        await handler.firing(second)
        assert len(holds(world)) == 2
        await handler.resolved(resolved(first))
        assert holds(world) == ["web-stable-warning"]
        await handler.resolved(resolved(second))
        assert HOLDS not in annotations(world)

    in_shop(test)


def test_a_resolved_alert_ends_no_abort() -> None:
    async def test(world: World) -> None:
        await world.clock.sleep(30)
        handler = handler_of(world)
        event = an_event(world, service="web-canary", severity="critical")
        await handler.firing(event)
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
        await handler.resolved(resolved(event))
        await world.clock.sleep(30)
        assert is_rolled_back(world)

    in_shop(test)


def test_an_alert_from_before_the_new_version_only_holds() -> None:
    async def test(world: World) -> None:
        await world.clock.sleep(30)
        event = an_event(world, ago=600, service="web-canary", severity="critical")
        await handler_of(world).firing(event)
        assert len(holds(world)) == 1
        assert not world.status().get("abort")

    in_shop(test)


@pytest.mark.parametrize(
    ("key", "value", "labels", "aborts"),
    [
        (ON_ALERT, "ignore", {"service": "web-canary", "severity": "critical"}, False),
        (ON_ALERT, "abort", {"service": "web-canary", "severity": "warning"}, True),
        (ABORT_ON, 'team="shop"', {"team": "shop"}, True),
        (ABORT_ON, 'team="shop"', {"team": "pay"}, False),
    ],
)
def test_the_rollout_s_own_annotations_decide(
    key: str, value: str, labels: dict[str, str], aborts: bool
) -> None:
    async def test(world: World) -> None:
        await world.clock.sleep(30)
        await annotate(world, key, value)
        await handler_of(world).firing(an_event(world, ago=0, **labels))
        await world.clock.sleep(3)
        assert is_rolled_back(world) == aborts
        assert holds(world) == []

    in_shop(test)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"fingerprint": "f"}'])
def test_an_alert_that_cannot_be_read_is_refused(data: bytes) -> None:
    async def test(world: World) -> None:
        event = msgspec.structs.replace(an_event(world), data=data)
        with pytest.raises(Refused):
            await handler_of(world).firing(event)

    in_shop(test)


# Several rollouts.


def _second() -> Sequence[Object]:
    """Another rollout, whose route serves the same host at another gateway."""
    obj, route = copy.deepcopy(rollout(STEPS, replicas=2)), copy.deepcopy(virtual_service())
    for item in (obj, route):
        item["metadata"]["name"] = "api"
    route["spec"]["gateways"] = ["internal"]
    canary = obj["spec"]["strategy"]["canary"]
    canary |= {"canaryService": "api-canary", "stableService": "api-stable"}
    canary["trafficRouting"]["istio"]["virtualService"]["name"] = "api"
    obj["spec"]["selector"] = {"matchLabels": {"app": "api"}}
    obj["spec"]["template"]["metadata"]["labels"] = {"app": "api"}
    for destination, name in zip(
        route["spec"]["http"][1]["route"], ("api-stable", "api-canary"), strict=True
    ):
        destination["destination"]["host"] = name
    services = service("api-stable"), service("api-canary")
    for item in services:
        item["spec"]["selector"] = {"app": "api"}
    return *services, route, obj


def with_two(test: Callable[[World], Awaitable[None]]) -> None:
    """Two rollouts, both at their first pause."""

    async def main() -> None:
        async with shop(at_weight=None) as world:
            await world.apply(*_second())
            await world.until(
                lambda: bool(_status(world, "api").get("stableRS")), within=60, what="api"
            )
            await set_image(world, "web:2")
            path = "/spec/template/spec/containers/0/image"
            change = [{"op": "replace", "path": path, "value": "api:2"}]
            await world.store.json_patch(KINDS["Rollout"], "shop", "api", change)
            world.checker.remember()
            await world.until(
                lambda: all(_status(world, name).get("pauseConditions") for name in ("web", "api")),
                within=60,
                what="both pauses",
            )
            await world.clock.sleep(30)
            await test(world)

    run(main())


def _status(world: World, name: str) -> Object:
    found = world.store.peek("Rollout", "shop", name)
    return (found or {}).get("status") or {}


def test_a_loose_match_on_two_rollouts_holds_both_and_aborts_none() -> None:
    async def test(world: World) -> None:
        event = an_event(world, host="web.example.com", severity="critical")
        await handler_of(world).firing(event)
        await world.clock.sleep(3)
        assert (len(holds(world)), len(holds(world, "api"))) == (1, 1)
        assert not _status(world, "web").get("abort")
        assert not _status(world, "api").get("abort")

    with_two(test)


class Troubled:
    """The engine, but for holds on one rollout: a fault of its API server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def hold(self, key: Key, hold: Hold, cause: Cause) -> Outcome:
        if key.name == "api":
            raise Unavailable("no answer")
        return await self._engine.hold(key, hold, cause)


def test_what_one_rollout_cannot_do_keeps_no_other_from_it() -> None:
    async def test(world: World) -> None:
        event = an_event(world, host="web.example.com", severity="critical")
        ledger = ConfigMapLedger(world.store, namespace="default")
        troubled = cast("Engine", Troubled(world.engine))
        with pytest.raises(Unavailable):
            await AlertHandler(troubled, ledger, world.clock).firing(event)
        assert (len(holds(world)), len(holds(world, "api"))) == (1, 0)
        await handler_of(world).firing(event)
        assert (len(holds(world)), len(holds(world, "api"))) == (1, 1)

    with_two(test)


# The ledger and the level check.


def test_an_alert_that_fires_on_stops_the_next_run_after_a_restart() -> None:
    async def test(world: World) -> None:
        await world.clock.sleep(30)
        event = an_event(world, service="web-canary", severity="critical")
        await handler_of(world).firing(event)
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
        again = handler_of(world)
        world.engine.use_level_check(again.level_check)
        await set_image(world, "web:3")
        await world.clock.sleep(60)
        assert world.weight() == 0
        assert len(holds(world)) == 1
        await again.resolved(resolved(event))
        await world.until(lambda: world.weight() == 20, within=60, what="the first weight")

    in_shop(test)


def test_a_level_check_is_clear_without_alerts() -> None:
    async def test(world: World) -> None:
        assert await handler_of(world).level_check(view_of(world))

    in_shop(test)


def test_an_unreadable_ledger_is_started_over() -> None:
    async def test(world: World) -> None:
        meta = {"name": "serinus-alerts", "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        await world.store.create(KINDS["ConfigMap"], {**body, "data": {"alerts.json": "?"}})
        ledger = ConfigMapLedger(world.store, namespace="default")
        assert await ledger.active() == ()
        alert = msgspec.json.decode(an_event(world, a="b").data, type=Alert)
        now = world.clock.now()
        await ledger.fired(alert, now)
        assert [item.fingerprint for item in await ledger.active()] == ["b"]
        await ledger.resolved(alert, now, matched=True)
        assert await ledger.active() == ()

    in_shop(test)


def test_without_the_ledger_nothing_is_raised() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world:

            class Away(ConfigMapLedger):
                async def active(self) -> tuple[Alert, ...]:
                    raise Unavailable("no answer")

            source = Away(world.store, namespace="default")
            handler = AlertHandler(world.engine, source, world.clock)
            world.engine.use_level_check(handler.level_check)
            await set_image(world, "web:2")
            await world.clock.sleep(30)
            assert (world.weight(), is_promoted(world)) == (0, False)
            with pytest.raises(SerinusError):
                await handler.level_check(view_of(world))

    run(main())

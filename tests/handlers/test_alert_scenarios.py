"""Which alert stops which rollout: design cases as scenarios, each played on the real engine and store.

In every scenario version 2 of shop/web stands at 20 % of the traffic and has been exposed for 30 seconds.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from agent.api.holds import decode_holds
from agent.api.names import ABORT_ON, HOLDS, ON_ALERT, POD_TEMPLATE_HASH
from agent.api.times import format_time
from agent.cluster.port import KINDS
from agent.events.catalogue import ALERT_FIRING, ALERT_RESOLVED, Alert
from agent.events.event import Event
from handlers.alert.handler import AlertHandler
from handlers.alert.ledger import ConfigMapLedger
from handlers.alert.matching import Rules
from tests.engine.shop import annotations, shop
from tests.simulation.manifests import KEY
from tests.simulation.scenario import is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World

Labels = dict[str, str]
CRITICAL = {"service": "web-canary", "severity": "critical"}
WARNING = {"service": "web-canary", "severity": "warning"}


class Alerts:
    """Alertmanager, and the handler that it tells."""

    def __init__(self, world: World, rules: Rules | None = None) -> None:
        self.world = world
        self.seen: list[str] = []
        self._rules = rules or Rules()
        self.handler = self._made()

    def _made(self) -> AlertHandler:
        ledger = ConfigMapLedger(self.world.store, namespace="default")
        return AlertHandler(
            self.world.engine,
            ledger,
            self.world.clock,
            rules=self._rules,
            counted=self.seen.append,
        )

    def restart(self) -> None:
        """Another process: nothing is known but what is stored."""
        self.handler = self._made()
        self.world.engine.use_level_check(self.handler.level_check)

    def alert(self, labels: Labels, *, ago: float = 0.0) -> Event:
        starts_at = format_time(self.world.clock.now() - timedelta(seconds=ago))
        data = Alert(
            fingerprint="-".join(labels.values()),
            starts_at=starts_at,
            labels={"alertname": "Errors", "namespace": "shop", **labels},
        )
        return Event(
            id=f"{data.fingerprint}@{starts_at}",
            source="/alertmanager",
            type=ALERT_FIRING,
            time=self.world.clock.now(),
            data=msgspec.json.encode(data),
        )

    async def fires(self, event: Event) -> None:
        await self.handler.firing(event)

    async def resolves(self, event: Event) -> None:
        await self.handler.resolved(msgspec.structs.replace(event, type=ALERT_RESOLVED))


def fate(world: World) -> str:
    """What has become of version 2."""
    if world.status().get("abort"):
        return "aborted" if is_rolled_back(world) else "half aborted"
    return "held" if decode_holds(annotations(world).get(HOLDS, "")) else "untouched"


async def annotated(world: World, meta: dict[str, str]) -> None:
    patch = {"metadata": {"annotations": meta}}
    await world.store.merge_patch(KINDS["Rollout"], *KEY, patch)
    world.checker.remember()
    await world.clock.sleep(1)


def hash_of(world: World, which: str) -> Labels:
    value = {"new": "currentPodHash", "stable": "stableRS"}.get(which)
    return {POD_TEMPLATE_HASH: world.status()[value] if value else "0000000000"}


FATES: dict[str, tuple[Labels, str, dict[str, str], float, str]] = {
    # name: labels, revision it is pinned to, annotations, seconds since it started, fate
    "critical, names the canary's Service": (CRITICAL, "", {}, 0, "aborted"),
    "critical, names the stable Service": (
        {"service": "web-stable", "severity": "critical"}, "", {}, 0, "aborted"),
    "critical, names the host of the mesh": (
        {"destination_service_name": "web-canary.shop.svc.cluster.local", "severity": "critical"},
        "", {}, 0, "aborted"),
    "warning by a label": (WARNING, "", {}, 0, "held"),
    "warning that names the rollout": (
        {"rollout": "web", "severity": "warning"}, "", {}, 0, "aborted"),
    "names namespace and rollout": ({"rollout": "shop/web", "namespace": ""}, "", {}, 0, "aborted"),
    "names another namespace's rollout": ({"rollout": "pay/web"}, "", {}, 0, "untouched"),
    "no namespace": ({**CRITICAL, "namespace": ""}, "", {}, 0, "untouched"),
    "another namespace": ({**CRITICAL, "namespace": "pay"}, "", {}, 0, "untouched"),
    "something else of the namespace": (
        {"service": "db", "severity": "critical"}, "", {}, 0, "untouched"),
    "app and job do not name a rollout": (
        {"app": "web", "job": "web", "severity": "critical"}, "", {}, 0, "untouched"),
    "pinned to the new revision": (CRITICAL, "new", {}, 0, "aborted"),
    "pinned to the stable revision": (CRITICAL, "stable", {}, 0, "untouched"),
    "pinned to a revision of the past": (CRITICAL, "old", {}, 0, "untouched"),
    "started 10 s before first exposure": (CRITICAL, "", {}, 45, "held"),
    "started long before first exposure": (CRITICAL, "", {}, 86_400, "held"),
    "started with first exposure": (CRITICAL, "", {}, 31, "aborted"),
    "annotation says ignore": (CRITICAL, "", {ON_ALERT: "ignore"}, 0, "untouched"),
    "annotation says hold": (CRITICAL, "", {ON_ALERT: "hold"}, 0, "held"),
    "annotation says abort": (WARNING, "", {ON_ALERT: "abort"}, 0, "aborted"),
    "annotation says abort, fired before": (WARNING, "", {ON_ALERT: "abort"}, 600, "held"),
    "annotation says nothing known": (WARNING, "", {ON_ALERT: "panic"}, 0, "held"),
    "own matchers accept": (
        {"team": "pay-eu", "severity": "info"}, "", {ABORT_ON: 'team=~"pay.*"'}, 0, "aborted"),
    "own matchers do not accept": (
        {"team": "web", "severity": "info"}, "", {ABORT_ON: 'team=~"pay.*"'}, 0, "untouched"),
    "own matchers accept, ignored all the same": (
        {"team": "pay"}, "", {ABORT_ON: 'team="pay"', ON_ALERT: "ignore"}, 0, "untouched"),
    "own matchers that are none do not hide a label": (
        WARNING, "", {ABORT_ON: "team=~("}, 0, "held"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "pinned", "meta", "ago", "expected"), FATES.values(), ids=FATES.keys()
)
def test_an_alert_decides_the_fate_of_the_new_version(
    labels: Labels, pinned: str, meta: dict[str, str], ago: float, expected: str
) -> None:
    async def test(world: World) -> None:
        alerts = Alerts(world)
        if meta:
            await annotated(world, meta)
        full = {**labels, **(hash_of(world, pinned) if pinned else {})}
        event = alerts.alert(full, ago=ago)
        for _ in range(3):  # Alertmanager repeats, and the bus does
            await alerts.fires(event)
        await world.clock.sleep(5)
        assert fate(world) == expected, alerts.seen

    in_shop(test)


def in_shop(test: Callable[[World], Any], *, at_weight: int | None = 20) -> None:
    async def main() -> None:
        async with shop(at_weight=at_weight) as world:
            await world.clock.sleep(30)
            await test(world)

    run(main())


def test_a_label_that_is_opted_in_names_the_rollout() -> None:
    async def test(world: World) -> None:
        alerts = Alerts(world, Rules(extra_labels=("app",)))
        await alerts.fires(alerts.alert({"app": "web", "severity": "critical"}))
        await world.clock.sleep(5)
        assert fate(world) == "aborted"

    in_shop(test)


def test_a_rollout_that_is_not_in_progress_is_left_alone() -> None:
    async def test(world: World) -> None:
        alerts = Alerts(world)
        await alerts.fires(alerts.alert(CRITICAL))
        await world.clock.sleep(5)
        assert (fate(world), is_promoted(world)) == ("untouched", True)

    in_shop(test, at_weight=None)


def test_the_same_alert_aborts_once_and_says_so_once() -> None:
    async def test(world: World) -> None:
        alerts = Alerts(world)
        event = alerts.alert(CRITICAL)
        await alerts.fires(event)
        await alerts.fires(event)
        await world.clock.sleep(30)
        alerts.restart()
        await alerts.fires(event)
        await world.clock.sleep(30)
        said = [item["type"].split(".")[-2] for item in world.bus.events()]
        assert (said.count("aborted"), said.count("rolledback")) == (1, 1)

    in_shop(test)


def test_a_hold_stops_promotion_by_time_until_its_last_alert_has_ended() -> None:
    async def test(world: World) -> None:
        alerts = Alerts(world)
        world.engine.use_level_check(alerts.handler.level_check)
        first, second = alerts.alert(WARNING), alerts.alert({**WARNING, "zone": "b"})
        await alerts.fires(first)
        await alerts.fires(second)
        await alerts.resolves(first)
        await alerts.resolves(first)
        assert fate(world) == "held"
        # The same series fires again, as another alert: the end of the old one is not its end.
        await world.clock.sleep(10)
        again = alerts.alert(WARNING)
        await alerts.fires(again)
        await alerts.resolves(first)
        await alerts.resolves(second)
        assert fate(world) == "held"
        await alerts.resolves(again)
        assert fate(world) == "untouched"
        await world.clock.sleep(3)
        said = [item["type"].split(".")[-2] for item in world.bus.events()]
        assert (said.count("held"), said.count("released")) == (1, 1)

    in_shop(test)


def test_a_hold_and_its_alert_survive_a_restart() -> None:
    async def test(world: World) -> None:
        alerts = Alerts(world)
        event = alerts.alert(WARNING)
        await alerts.fires(event)
        world.crash()
        await world.clock.sleep(10)
        alerts.restart()
        assert fate(world) == "held"
        await alerts.resolves(event)
        assert fate(world) == "untouched"

    in_shop(test)


def test_an_alert_that_outlives_its_rollback_holds_the_next_version_before_any_traffic() -> None:
    async def test(world: World) -> None:
        alerts = Alerts(world)
        event = alerts.alert(CRITICAL)
        await alerts.fires(event)
        await world.clock.sleep(10)
        world.crash()
        await world.clock.sleep(10)
        alerts.restart()
        await set_image(world, "web:3")
        await world.clock.sleep(60)
        assert (world.weight(), fate(world)) == (0, "held")
        await alerts.resolves(event)
        await world.until(lambda: world.weight() == 20, within=60, what="the first weight")

    in_shop(test)


def test_a_critical_alert_on_top_of_a_hold_aborts() -> None:
    async def test(world: World) -> None:
        alerts = Alerts(world)
        await alerts.fires(alerts.alert(WARNING))
        assert fate(world) == "held"
        await alerts.fires(alerts.alert(CRITICAL))
        await world.clock.sleep(10)
        assert fate(world) == "aborted"

    in_shop(test)

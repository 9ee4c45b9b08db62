"""Aborts, holds and the level check over the real engine and the local store."""

import asyncio
from contextlib import suppress

import pytest

from agent.api.holds import Hold, decode_holds
from agent.api.names import FIRST_EXPOSED, HOLDS, OUTBOX_CONDITION, OVERRULED
from agent.cluster.port import KINDS
from agent.engine.port import Outcome, View
from agent.errors import Unavailable
from tests.engine.shop import annotations, command, is_paused, new_set, shop, why
from tests.simulation.faults import Weather
from tests.simulation.manifests import (
    KEY,
    virtual_service,
)
from tests.simulation.scenario import alert, is_rolled_back, set_image
from tests.simulation.virtual import run

HOLD = Hold(
    fingerprint="f1",
    starts_at="2026-05-01T09:00:00Z",
    since="2026-05-01T10:00:05Z",
    alert="Noisy",
    reason="it was firing before",
)


# Aborts.


def test_abort_without_an_update_in_progress_is_refused() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world:
            outcome = await world.engine.abort(KEY, alert("Down"))
            assert outcome == Outcome(result="refused", message="no update is in progress")
            assert not world.status().get("abort")

    run(main())


@pytest.mark.parametrize("point", ["abort-after-intent", "abort-after-route"])
def test_who_ends_a_rollback_tells_why_it_was_begun(point: str) -> None:
    """The one who began it has died, and what it announced is off the object."""

    async def main() -> None:
        async with shop() as world:
            world.when(point, 1, world.crash)
            with suppress(asyncio.CancelledError, Unavailable):
                await world.engine.abort(KEY, alert("Down"))
            await world.until(lambda: is_rolled_back(world), within=60, what="the rollback")
            await world.clock.sleep(5)
            events = {event["type"].split(".")[-2]: event for event in world.bus.events()}
            data = events["rolledback"]["data"]
            assert data["cause"] == events["aborted"]["data"]["cause"]
            assert data["cause"]["evidence"] == {"labels": {"alertname": "Down"}}
            assert data["timings"]["causeStartedAt"] == data["cause"]["startedAt"]
            assert not any(
                condition["type"] == OUTBOX_CONDITION for condition in world.status()["conditions"]
            )

    run(main())


def test_a_rollout_that_was_retried_forgets_why_it_was_aborted() -> None:
    async def main() -> None:
        async with shop() as world:
            await world.engine.abort(KEY, alert("Down"))
            await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
            assert (await command(world, "retry")).result == "done"
            await world.until(
                lambda: world.weight() == 20 and is_paused(world),
                within=60,
                what="the weight again",
            )
            assert (await command(world, "abort")).result == "done"
            await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
            await world.clock.sleep(5)
            last = [e for e in world.bus.events() if e["type"].endswith(".rolledback.v1")][-1]
            assert last["data"]["cause"]["kind"] == "command"

    run(main())


def test_abort_writes_what_clients_and_people_read() -> None:
    async def main() -> None:
        async with shop() as world:
            assert (await world.engine.abort(KEY, alert("Down"))).result == "done"
            status = world.status()
            progressing = next(c for c in status["conditions"] if c["type"] == "Progressing")
            text = "Rollout aborted update to revision 2: alert Down (critical): 5xx above 5 %"
            assert (progressing["status"], progressing["reason"]) == ("False", "RolloutAborted")
            assert progressing["message"] == text
            assert (status["phase"], status["message"]) == ("Degraded", f"RolloutAborted: {text}")
            await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
            await world.clock.sleep(5)
            assert (await world.engine.abort(KEY, alert("Down"))).result == "unchanged"
            events = {event["type"].split(".")[-2]: event["data"] for event in world.bus.events()}
            assert events["aborted"]["cause"]["evidence"] == {"labels": {"alertname": "Down"}}
            assert events["rolledback"]["weights"] == {"before": 20}
            timings = events["rolledback"]["timings"]
            assert list(timings) == ["causeStartedAt", "receivedAt", "decidedAt", "routeWrittenAt"]
            reasons = [event["reason"] for event in world.store.peek_all("Event")]
            assert reasons.count("RolloutAborted") == 1

    run(main())


def test_two_requests_and_one_answer_when_nothing_stands_against_an_abort() -> None:
    """The bound of the promise: intent and route, nothing before or between them."""

    async def main() -> None:
        async with shop(weather=Weather(latency=(0.010, 0.010))) as world:
            await world.clock.sleep(2)
            began = world.clock.monotonic()
            await world.engine.abort(KEY, alert("Down"))
            assert world.clock.monotonic() - began == pytest.approx(0.010)
            await world.until(lambda: world.weight() == 0, within=1, what="weight 0", every=0.001)
            assert world.clock.monotonic() - began <= 0.017

    run(main())


def test_an_abort_whose_route_is_gone_shelters_users_behind_the_service() -> None:
    async def main() -> None:
        async with shop() as world:
            await world.store.delete(KINDS["VirtualService"], "shop", "web")
            assert (await world.engine.abort(KEY, alert("Down"))).result == "done"
            stable = world.status()["stableRS"]
            await world.until(
                lambda: world.selected("web-canary") == stable, within=5, what="the shelter"
            )
            await world.clock.sleep(3)
            degraded = [e for e in world.bus.events() if "degraded" in e["type"]]
            assert "points to stable instead" in degraded[0]["data"]["message"]
            await world.store.create(KINDS["VirtualService"], virtual_service())
            world.checker.remember()

    run(main())


# Alerts.


def test_a_hold_stops_the_steps_and_its_release_lets_them_go_on() -> None:
    async def main() -> None:
        async with shop() as world:
            assert (await world.engine.hold(KEY, HOLD, alert("Noisy"))).result == "done"
            assert (await world.engine.hold(KEY, HOLD, alert("Noisy"))).result == "unchanged"
            await world.clock.sleep(5)
            assert "Noisy" in why(world)
            assert (
                await world.engine.release(KEY, HOLD.fingerprint, HOLD.starts_at)
            ).result == "done"
            assert HOLDS not in annotations(world)

    run(main())


def test_a_person_who_promotes_over_a_hold_is_not_held_by_it_again() -> None:
    async def main() -> None:
        async def holds_again(view: View) -> bool:
            outcome = await world.engine.hold(view.key, HOLD, alert("Noisy"))
            return outcome.result == "refused"

        async with shop() as world:
            world.engine.use_level_check(holds_again)
            await world.engine.hold(KEY, HOLD, alert("Noisy"))
            await world.clock.sleep(1)
            assert (await command(world, "promote")).result == "done"
            await world.until(lambda: world.weight() == 60, within=20, what="the next weight")
            kept = decode_holds(new_set(world)["metadata"]["annotations"][OVERRULED])
            assert [item.reason for item in kept] == ["overruled by ann"]
            assert HOLDS not in annotations(world)

    run(main())


@pytest.mark.parametrize(
    "answer", [False, None], ids=["an alert stands against it", "alerts cannot be told"]
)
def test_nothing_is_raised_before_the_level_check_allows_it(answer: bool | None) -> None:
    allowed = False

    async def level_check(_view: View) -> bool:
        if allowed:
            return True
        if answer is None:
            raise Unavailable("no answer")
        return answer

    async def main() -> None:
        nonlocal allowed
        async with shop(at_weight=None, level_check=level_check) as world:
            await set_image(world, "web:2")
            await world.clock.sleep(30)
            assert world.weight() == 0
            assert "alert" in why(world)
            allowed = True
            await world.until(lambda: world.weight() == 20, within=60, what="the first weight")

    run(main())


def test_first_exposure_is_noted_before_the_first_raise_and_only_then() -> None:
    async def main() -> None:
        async with shop() as world:
            first = new_set(world)["metadata"]["annotations"][FIRST_EXPOSED]
            view = world.engine.view(KEY)
            assert view is not None
            assert view.first_exposed is not None
            assert (view.exposed, view.in_progress, view.canary_weight) == (True, True, 20)
            await command(world, "promote")
            await world.until(lambda: world.weight() == 60, within=20, what="the next weight")
            assert new_set(world)["metadata"]["annotations"][FIRST_EXPOSED] == first

    run(main())

"""The engine with the real decide and router over the local store: what people, alerts and failures do to it."""

import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from agent.api.holds import Hold, decode_holds
from agent.api.meta import Ref
from agent.api.names import DEPLOYMENT, FIRST_EXPOSED, HOLDS, OVERRULED
from agent.cluster.port import KINDS
from agent.engine.port import Outcome, View
from agent.errors import Unavailable
from agent.events.catalogue import Cause, Command, Deployment, Expect, RolloutEvent
from agent.rollout.decide import decide
from agent.rollout.types import Announcement, Decision, Observation, Stage
from agent.traffic.types import Router
from tests.engine.shop import annotations, new_set, shop, why
from tests.simulation.faults import Weather
from tests.simulation.manifests import (
    KEY,
    ROUTE,
    virtual_service,
)
from tests.simulation.scenario import alert, is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World

HOLD = Hold(
    fingerprint="f1",
    starts_at="2026-05-01T09:00:00Z",
    since="2026-05-01T10:00:05Z",
    alert="Noisy",
    reason="it was firing before",
)
PERSON = Cause(kind="command", summary="by a person", actor="ann")


async def command(world: World, name: Command, **options: Any) -> Outcome:
    return await world.engine.command(KEY, name, cause=PERSON, **options)


# Commands.


def test_promote_ends_the_pause_once() -> None:
    async def main() -> None:
        async with shop() as world:
            seen = Expect(step_index=1, pause_start_time=_pause_start(world))
            assert (await command(world, "promote", expect=seen)).result == "done"
            await world.until(lambda: world.weight() == 60, within=10, what="the next step")
            late = await command(world, "promote", expect=seen)
            assert late.result == "refused"
            assert "stepIndex" in late.message
            await world.clock.sleep(5)
            assert world.status()["currentStepIndex"] == 3

    run(main())


def _pause_start(world: World) -> str:
    return str(world.status()["pauseConditions"][0]["startTime"])


def test_i4_a_promote_that_would_skip_a_step_must_ask_for_it() -> None:
    async def main() -> None:
        weather = Weather(latency=(0.001, 0.01))
        async with shop(weather=weather, at_weight=None, ready_seconds=30.0) as world:
            await set_image(world, "web:2")
            await world.clock.sleep(5)
            assert world.status()["currentStepIndex"] == 0
            refused = await command(world, "promote")
            assert (refused.result, "skip: true" in refused.message) == ("refused", True)
            assert (await command(world, "promote", skip=True)).result == "done"
            await world.until(
                lambda: world.status()["currentStepIndex"] == 1,
                within=5,
                what="the step is skipped",
            )

    run(main())


def test_retry_starts_the_same_revision_over() -> None:
    async def main() -> None:
        async with shop() as world:
            assert (await command(world, "retry")).result == "unchanged"
            await world.engine.abort(KEY, alert("Down"))
            await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
            assert (await command(world, "retry")).result == "done"
            await world.until(lambda: world.weight() == 20, within=60, what="the first step again")

    run(main())


def test_undo_brings_the_template_before_back() -> None:
    async def main() -> None:
        async with shop() as world:
            outcome = await command(world, "undo", options={"toRevision": "1"})
            assert outcome.result == "done"
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            assert world.rollout()["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"
            world.checker.violations.clear()  # the spec has changed by the user's own wish

    run(main())


@pytest.mark.parametrize(
    ("images", "revision", "result", "says"),
    [
        ({"web": "web:9"}, "2", "done", ""),
        ({"web": "web:2"}, "2", "unchanged", "already"),
        ({"web": "web:9"}, "1", "refused", "expected 1, it is 2"),
        ({"other": "web:9"}, "2", "refused", "other"),
    ],
    ids=["a new image", "the same image", "another revision than expected", "no such container"],
)
def test_set_images(images: dict[str, str], revision: str, result: str, says: str) -> None:
    async def main() -> None:
        async with shop() as world:
            outcome = await world.engine.set_images(
                KEY, images, expect_revision=revision, cause=PERSON
            )
            assert outcome.result == result
            assert says in outcome.message
            world.checker.violations.clear()  # the spec has changed by the user's own wish

    run(main())


def test_an_unknown_rollout_is_refused() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world:
            key = KEY._replace(name="nobody")
            outcome = await world.engine.command(key, "pause", cause=PERSON)
            assert outcome == Outcome(result="refused", message="there is no such rollout")
            assert (await world.engine.abort(key, alert("Down"))).result == "refused"

    run(main())


# Aborts.


def test_abort_without_an_update_in_progress_is_refused() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world:
            outcome = await world.engine.abort(KEY, alert("Down"))
            assert outcome == Outcome(result="refused", message="no update is in progress")
            assert not world.status().get("abort")

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


# Failures.


def test_when_nobody_takes_announcements_nothing_is_raised_but_an_abort_works() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world:
            world.bus.is_down = True
            for number in range(40):
                await set_image(world, f"web:{number + 2}")
                await world.clock.sleep(0.5)
            world.checker.violations.clear()  # what was coalesced left the outbox unpublished
            await world.clock.sleep(30)
            assert world.weight() == 0
            assert "announcements cannot be delivered" in why(world)
            assert (await world.engine.abort(KEY, alert("Down"))).result == "done"
            world.bus.is_down = False
            await world.until(
                lambda: any("aborted" in e["type"] for e in world.bus.events()),
                within=60,
                what="the abort is announced",
            )
            world.checker.violations.clear()

    run(main())


def test_a_bug_in_one_rollout_puts_it_into_quarantine_where_an_abort_still_works(
    tmp_path: Path,
) -> None:
    broken = False

    def sometimes(observation: Observation, routers: Mapping[str, Router]) -> Decision:
        if broken:
            raise ZeroDivisionError("a defect")
        return decide(observation, routers)

    async def main() -> None:
        nonlocal broken
        async with shop(decide=sometimes, dump_directory=tmp_path / "dumps") as world:
            broken = True
            world.engine.wake(KEY, "test")
            await world.clock.sleep(200)
            assert why(world).startswith("quarantined after an error of the agent")
            said = [e for e in world.bus.events() if "degraded" in e["type"]]
            assert len(said) == 1
            (dump,) = (tmp_path / "dumps").iterdir()
            assert stat.S_IMODE(dump.stat().st_mode) == 0o600
            content = msgspec.json.decode(dump.read_bytes())
            assert content["observation"]["rollout"]["metadata"]["name"] == "web"
            assert (await world.engine.abort(KEY, alert("Down"))).result == "done"
            await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
            broken = False
            assert (await command(world, "retry")).result == "done"
            await world.until(lambda: world.weight() == 20, within=60, what="it goes on")

    run(main())


def test_stopping_lets_announcements_out_first() -> None:
    async def main() -> None:
        async with shop() as world:
            await command(world, "promote")
            await world.until(lambda: world.weight() == 60, within=10, what="the next weight")
            world.engine.stop()
            await world.clock.sleep(8)
            entries = set(world.checker.stored)
            assert entries <= world.checker.published

    run(main())


def test_a_field_that_the_server_prunes_is_named_once_and_makes_no_hot_loop() -> None:
    async def main() -> None:
        weather = Weather(drops=frozenset({"duration", "HPAReplicas"}))
        with structlog.testing.capture_logs() as logs:
            async with shop(weather=weather) as world:
                await world.clock.sleep(5)
                version = world.store.now_version()
                await world.clock.sleep(300)
                assert world.store.now_version() == version
        fields = [entry["field"] for entry in logs if entry["event"] == "cluster.field_pruned"]
        assert sorted(fields) == ["HPAReplicas", "duration"]

    run(main())


def test_facts_of_a_route_s_write_are_stored_after_it_with_its_time() -> None:
    def telling(observation: Observation, routers: Mapping[str, Router]) -> Decision:
        decision = decide(observation, routers)
        if not any(write.stage is Stage.ROUTES_UP for write in decision.writes):
            return decision
        fact = Announcement(transition="held", data=RolloutEvent(namespace="shop", name="web"))
        return msgspec.structs.replace(decision, after_routes=(fact,))

    async def main() -> None:
        async with shop(decide=telling) as world:
            await world.clock.sleep(5)
            (told,) = (e for e in world.bus.events() if "held" in e["type"])
            assert told["data"]["timings"]["routeWrittenAt"] <= told["time"]
            assert world.reached_points()["after-done-status"] == 1

    run(main())


# Evidence.


def test_the_evidence_of_a_deployment_reaches_the_revision_that_it_brought() -> None:
    deployment = Deployment(application="shop", git_revision="abc123", actor="ann")

    async def main() -> None:
        async with shop(at_weight=None) as world:
            await world.engine.note_deployment(KEY, deployment)
            assert DEPLOYMENT in annotations(world)
            await set_image(world, "web:2")
            await world.until(lambda: world.weight() == 20, within=60, what="the first weight")
            text = new_set(world)["metadata"]["annotations"][DEPLOYMENT]
            assert msgspec.json.decode(text, type=Deployment) == deployment
            known = await world.engine.note_deployment(KEY, deployment)
            assert known.result == "unchanged"

    run(main())


@pytest.mark.parametrize("revision", [False, True], ids=["on the Rollout", "on the ReplicaSet"])
def test_annotations_of_ours(revision: bool) -> None:
    async def main() -> None:
        async with shop() as world:
            wanted: dict[str, str | None] = {"serinus.dev/telegram-message": "1"}
            ask: Callable[[], Awaitable[Outcome]] = lambda: world.engine.annotate(  # noqa: E731
                KEY, wanted, revision=revision
            )
            assert [(await ask()).result, (await ask()).result] == ["done", "unchanged"]
            obj = new_set(world) if revision else world.rollout()
            assert obj["metadata"]["annotations"]["serinus.dev/telegram-message"] == "1"

    run(main())


def test_what_can_be_seen() -> None:
    async def main() -> None:
        async with shop() as world:
            assert [view.key for view in world.engine.views("shop")] == [KEY]
            assert list(world.engine.views("elsewhere")) == []
            assert world.engine.find(*ROUTE) == world.store.peek(*ROUTE)
            assert world.engine.find(*Ref("Service", "shop", "nobody")) is None
            assert len(list(world.engine.replica_sets(KEY))) == 2
            await world.clock.sleep(1)
            assert "promote" in why(world)

    run(main())

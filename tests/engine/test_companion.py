"""A companion beside an engine that drives: what it tells, what it writes, what it survives."""

import pytest

from agent.api.names import HOLDS, NOTES, PAUSED_BY_HOLD
from agent.engine.crash_points import COMPANION_POINTS
from agent.engine.port import View
from tests.engine.beside import Beside, beside, merge
from tests.engine.shop import PERSON, annotations, command, shop
from tests.engine.test_engine_alerts import HOLD
from tests.simulation.faults import Weather
from tests.simulation.manifests import KEY
from tests.simulation.scenario import alert, is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World

INTENTS = {("Rollout", "merge_patch"), ("ConfigMap", "merge_patch"), ("ConfigMap", "create")}


async def _promoted(world: World, companion: Beside) -> None:
    """A new version goes all the way, with a person's help at the pauses."""
    await set_image(world, "web:2")
    for weight in (20, 60):
        await world.until(
            lambda weight=weight: world.weight() == weight and bool(world.status().get("pauseConditions")),  # type: ignore[misc]
            within=60, what=f"the pause at {weight}",
        )  # fmt: skip
        await command(world, "promote")
    await world.until(lambda: is_promoted(world), within=60, what="the new version is stable")
    await world.until(
        lambda: "completed" in {told[0] for told in companion.told()}, within=60, what="completed"
    )
    await world.clock.sleep(8)


def _as_the_engine_told(world: World, companion: Beside) -> None:
    """The engine's own announcements are the measure: the same transitions in the same order."""
    from tests.engine.beside import gist

    engine = [gist(event) for event in world.bus.events()]
    told = companion.told()
    assert sorted(map(str, told)) == sorted(map(str, engine[-len(told) :]))


def test_a_companion_tells_what_the_engine_itself_would_tell() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world, beside(world) as companion:
            await world.clock.sleep(5)
            assert companion.told() == [], "nothing of the past is told"
            await _promoted(world, companion)
            transitions = [told[0] for told in companion.told()]
            assert transitions == [
                "started", "weight", "step", "paused", "resumed", "step", "weight", "step", "paused",
                "resumed", "step", "weight", "promoted", "completed", "weight",
            ]  # fmt: skip
            _as_the_engine_told(world, companion)
            assert companion.wrote <= INTENTS
            assert companion.bus.violations() == []

    run(main())


@pytest.mark.parametrize("point", [*COMPANION_POINTS, "abort-before-intent", "abort-after-intent"])
@pytest.mark.parametrize("time", [1, 3])
def test_events_are_complete_and_of_one_content_whatever_dies(point: str, time: int) -> None:
    """I5 beside another engine."""

    async def main() -> None:
        async with shop(at_weight=None) as world, beside(world, (point, time)) as companion:
            await set_image(world, "web:2")
            await world.until(
                lambda: bool(world.status().get("pauseConditions")), within=60, what="the pause"
            )
            await world.deliver(lambda _engine: _abort_by(companion))
            await world.until(lambda: is_rolled_back(world), within=60, what="the rollback")
            await world.until(
                lambda: "rolledback" in {told[0] for told in companion.told()},
                within=60,
                what="the word of it",
            )
            await world.clock.sleep(20)
            told = [item[0] for item in companion.told()]
            assert [told.count(name) for name in ("started", "aborted", "rolledback")] == [1, 1, 1]
            assert told.index("started") < told.index("aborted") < told.index("rolledback")
            assert companion.bus.violations() == []
            assert '"waiting"' not in str(companion.marks()["data"]), "published and taken off"

    run(main())


async def _abort_by(companion: Beside) -> None:
    living = companion.living[0]
    if living is None or not living.cache.synced.is_set():
        from agent.errors import Unavailable

        raise Unavailable("dead at the moment")
    await living.engine.abort(KEY, alert("Down"))


def test_two_replicas_tell_everything_once_under_one_content() -> None:
    async def main() -> None:
        weather = Weather(conflict=0.05, unavailable=0.05, lost_answer=0.05)
        async with (
            shop(at_weight=None) as world,
            beside(world, replicas=2, weather=weather) as companions,
        ):
            await _promoted(world, companions)
            told = [item[0] for item in companions.told()]
            assert (told.count("started"), told.count("completed")) == (1, 1)
            assert told.count("step") == 4
            assert companions.bus.violations() == []

    run(main())


def test_what_waits_of_a_dead_replica_is_published_by_the_other() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world, beside(world, replicas=2) as companions:
            companions.bus.is_down = True
            await set_image(world, "web:2")
            await world.until(
                lambda: '"waiting"' in str(companions.marks()["data"]), within=60, what="stored"
            )
            first = companions.living[0]
            assert first is not None
            first.kill()
            companions.bus.is_down = False
            await world.until(
                lambda: "started" in {told[0] for told in companions.told()},
                within=60,
                what="the word of it",
            )
            assert companions.bus.violations() == []

    run(main())


# Aborts.


def test_an_abort_is_the_intent_and_its_cause_and_the_engine_takes_the_weight_off() -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            assert (await companion.engine.abort(KEY, alert("Down"))).result == "done"
            await world.until(lambda: is_rolled_back(world), within=30, what="the rollback")
            await world.until(
                lambda: "rolledback" in {told[0] for told in companion.told()},
                within=30,
                what="the word of it",
            )
            events = {e["type"].split(".")[-2]: e for e in companion.bus.events()}
            for name in ("aborted", "rolledback"):
                data = events[name]["data"]
                assert data["cause"]["evidence"] == {"labels": {"alertname": "Down"}}
                assert events[name]["causationid"] == "id-Down"
                assert list(data["timings"]) == ["causeStartedAt", "receivedAt", "decidedAt"]
                assert data["new"]["images"] == ["web:2"]
            assert (await companion.engine.abort(KEY, alert("Down"))).result == "unchanged"
            assert companion.wrote <= INTENTS

    run(main())


def test_an_abort_by_hand_after_a_retry_is_not_told_with_the_cause_of_before() -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:

            def rollbacks() -> int:
                return [told[0] for told in companion.told()].count("rolledback")

            await companion.engine.abort(KEY, alert("Down"))
            await world.until(lambda: rollbacks() == 1, within=30, what="the rollback")
            outcome = await companion.engine.command(KEY, "retry", cause=PERSON)
            assert outcome.result == "done"
            await world.until(lambda: world.weight() == 20, within=60, what="the weight again")
            await world.clock.sleep(3)
            await merge(world, {"status": {"abort": True}}, status=True)
            await world.until(lambda: rollbacks() == 2, within=30, what="the second rollback")
            causes = [
                e["data"]["cause"]["summary"]
                for e in companion.bus.events()
                if ".aborted." in e["type"]
            ]
            assert causes == [
                "alert Down (critical): 5xx above 5 %", "abort by a person or a tool",
            ]  # fmt: skip

    run(main())


# Holds.


def _is_paused_by_hold(world: World) -> bool:
    return world.rollout()["spec"].get("paused") is True and PAUSED_BY_HOLD in annotations(world)


def test_a_hold_pauses_as_a_person_would_and_ends_with_its_alerts() -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            assert (await companion.engine.hold(KEY, HOLD, alert("Noisy"))).result == "done"
            assert (await companion.engine.hold(KEY, HOLD, alert("Noisy"))).result == "unchanged"
            assert _is_paused_by_hold(world)
            released = await companion.engine.release(KEY, HOLD.fingerprint, HOLD.starts_at)
            assert released.result == "done"
            assert world.rollout()["spec"]["paused"] is False
            assert {HOLDS, PAUSED_BY_HOLD} & set(annotations(world)) == set()
            await world.clock.sleep(3)
            told = [item[0] for item in companion.told()]
            assert [name for name in told if name in ("held", "released")] == ["held", "released"]
            assert companion.wrote <= INTENTS

    run(main())


def test_a_pause_that_a_person_set_or_took_over_is_not_ended_with_the_hold() -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            await merge(world, {"spec": {"paused": True}})
            await world.clock.sleep(1)
            await companion.engine.hold(KEY, HOLD, alert("Noisy"))
            assert PAUSED_BY_HOLD not in annotations(world)
            await companion.engine.release(KEY, HOLD.fingerprint, HOLD.starts_at)
            assert world.rollout()["spec"]["paused"] is True
            await merge(world, {"spec": {"paused": False}})
            await world.clock.sleep(1)
            await companion.engine.hold(KEY, HOLD, alert("Noisy"))
            outcome = await companion.engine.command(KEY, "pause", cause=PERSON)
            assert "a person's now" in outcome.message
            await companion.engine.release(KEY, HOLD.fingerprint, HOLD.starts_at)
            assert world.rollout()["spec"]["paused"] is True

    run(main())


def test_a_pause_that_another_tool_wrote_after_us_is_left_alone() -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            await companion.engine.hold(KEY, HOLD, alert("Noisy"))
            foreign = [
                {"manager": "kubectl-argo-rollouts", "fieldsV1": {"f:spec": {"f:paused": {}}}}
            ]
            await merge(world, {"metadata": {"managedFields": foreign}})
            await world.clock.sleep(1)
            await companion.engine.release(KEY, HOLD.fingerprint, HOLD.starts_at)
            assert world.rollout()["spec"]["paused"] is True
            assert HOLDS not in annotations(world)

    run(main())


def test_a_person_who_resumes_has_overruled_the_alert() -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            await companion.engine.hold(KEY, HOLD, alert("Noisy"))
            await merge(world, {"spec": {"paused": False}})
            await world.until(
                lambda: HOLDS not in annotations(world), within=10, what="the hold is over"
            )
            assert PAUSED_BY_HOLD not in annotations(world)
            again = await companion.engine.hold(KEY, HOLD, alert("Noisy"))
            assert (again.result, again.message) == (
                "unchanged", "a person has overruled this alert",
            )  # fmt: skip
            assert companion.wrote <= INTENTS

    run(main())


def test_an_abort_ends_the_pause_of_a_hold() -> None:
    """While spec.paused is set Argo moves no pods, and after a change of replicas not even the weight."""

    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            await companion.engine.hold(KEY, HOLD, alert("Noisy"))
            await companion.engine.abort(KEY, alert("Down"))
            await world.until(lambda: is_rolled_back(world), within=30, what="the rollback")
            await world.until(
                lambda: world.rollout()["spec"]["paused"] is False,
                within=10,
                what="it is not paused",
            )
            assert {HOLDS, PAUSED_BY_HOLD} & set(annotations(world)) == set()

    run(main())


# What it remembers about a revision.


def test_notes_about_a_revision_stand_on_the_rollout_and_are_read_as_if_on_its_replica_set() -> (
    None
):
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            done = await companion.engine.annotate(KEY, {"serinus.dev/x": "1"}, revision=True)
            assert done.result == "done"
            new = [
                rs["metadata"]["annotations"]["serinus.dev/x"]
                for rs in companion.engine.replica_sets(KEY)
                if "serinus.dev/x" in rs["metadata"]["annotations"]
            ]
            assert new == ["1"]
            assert '"serinus.dev/x":"1"' in annotations(world)[NOTES]
            view = companion.engine.view(KEY)
            assert view is not None
            assert (view.exposed, view.in_progress, view.canary_weight) == (True, True, 20)
            assert companion.wrote <= INTENTS

    run(main())


def test_active_alerts_are_asked_for_at_the_start_of_a_run_and_after_a_raise() -> None:
    asked: list[tuple[str, int]] = []

    async def look(view: View) -> bool:
        asked.append((view.current_hash, view.canary_weight))
        return True

    async def main() -> None:
        async with shop(at_weight=None) as world, beside(world) as companion:
            companion.engine.use_level_check(look)
            await set_image(world, "web:2")
            await world.until(
                lambda: [weight for _, weight in asked][-1:] == [20], within=60, what="asked"
            )

    run(main())
    assert len(asked) == 2

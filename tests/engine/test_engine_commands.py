"""Commands of people over the real engine and the local store: what they change, and when they are refused."""

import pytest

from agent.cluster.port import KINDS
from agent.engine.port import Outcome
from agent.events.catalogue import Expect
from tests.engine.shop import PERSON, command, shop
from tests.simulation.faults import Weather
from tests.simulation.manifests import (
    KEY,
)
from tests.simulation.scenario import alert, is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World


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


def test_undo_brings_the_whole_template_back_of_which_the_cache_keeps_the_gist() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world:
            containers = world.rollout()["spec"]["template"]["spec"]["containers"]
            rich = [{**containers[0], "env": [{"name": "MODE", "value": "first"}]}]
            for images in (rich, [{**containers[0], "image": "web:9"}]):
                await world.store.merge_patch(
                    KINDS["Rollout"],
                    *KEY,
                    {"spec": {"template": {"spec": {"containers": images}}}},
                )
                await world.clock.sleep(1)
                assert (await command(world, "promote-full")).result == "done"
                await world.until(lambda: is_promoted(world), within=60, what="the version")
            await world.until(
                lambda: all(pods == 0 for pods in old_sets(world)), within=60, what="no old pods"
            )
            await world.clock.sleep(5)  # the cache sees it, too
            outcome = await command(world, "undo", options={"toRevision": "2"})
            assert outcome.result == "done"
            assert world.rollout()["spec"]["template"]["spec"]["containers"] == rich
            world.checker.violations.clear()  # the spec has changed by the user's own wish

    run(main())


def old_sets(world: World) -> list[int]:
    """The pods of all ReplicaSets but the current one."""
    current = world.status()["currentPodHash"]
    return [
        obj.get("status", {}).get("replicas", 0)
        for obj in world.store.peek_all("ReplicaSet")
        if not obj["metadata"]["name"].endswith(current)
    ]


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

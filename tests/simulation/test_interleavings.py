"""The interleavings that the abort path was designed against, one by one.

The worst one: a pass has read the Rollout, finds no abort, and sends its raise; the abort is stored in between.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from agent.api.holds import Hold, decode_holds, encode_holds
from agent.api.meta import Object
from agent.api.names import HOLDS
from agent.cluster.port import KINDS
from tests.simulation.faults import CALM, Weather
from tests.simulation.happenings import at_once
from tests.simulation.manifests import (
    KEY,
    namespace,
    rollout,
    service,
    virtual_service,
    weights_of,
)
from tests.simulation.scenario import alert, is_promoted, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World

STEPS: list[dict[str, Any]] = [
    {"setWeight": 20}, {"pause": {"duration": 2}}, {"setWeight": 60}, {"pause": {"duration": 2}},
    {"setWeight": 90}, {"pause": {}},
]  # fmt: skip


LATE_WATCH = Weather(watch_lag=(1.0, 1.5))
"""The watch tells nobody in time: who takes a raise back must have looked for himself."""


def abort_as_cli(world: World) -> None:
    """`kubectl argo rollouts abort`, stored at this very moment."""
    body = {"status": {"abort": True}}
    at_once(world.store.merge_patch(KINDS["Rollout"], *KEY, body, status=True))
    world.checker.foreign_write()


def retry_as_cli(world: World) -> None:
    """`kubectl argo rollouts retry rollout`, stored at this very moment."""
    body = {"status": {"abort": False}}
    at_once(world.store.merge_patch(KINDS["Rollout"], *KEY, body, status=True))
    world.checker.foreign_write()


def another_revision(world: World) -> None:
    """A push of another image, stored at this very moment."""
    at_once(set_image(world, "web:3"))


def abort_at(number: int) -> Callable[[World], None]:
    """An alert reaches the process of that number at this moment; its abort runs side by side."""

    def happen(world: World) -> None:
        process = world.processes[number]
        assert process is not None
        world.background.append(asyncio.ensure_future(process.engine.abort(KEY, alert("Down"))))

    return happen


async def play(
    point: str,
    time: int,
    happening: Callable[[World], None],
    *,
    crash_at: tuple[tuple[str, int], ...] = (),
    weather: Weather = CALM,
) -> tuple[World, float]:
    """Bring a canary on its way and let something happen at a point; seconds until weight 0 was stored."""
    world = World(7, replicas=2, weather=weather)
    await world.apply(
        namespace(), service("web-stable"), service("web-canary"), virtual_service(),
        rollout(STEPS, replicas=5),
    )  # fmt: skip
    happened: list[float] = []

    def happen() -> None:
        happened.append(world.clock.monotonic())
        happening(world)

    world.when(point, time, happen)
    async with world.alive(*crash_at):
        await world.until(lambda: is_promoted(world), within=60, what="the first version")
        await set_image(world, "web:2")
        await world.until(lambda: bool(happened), within=60, what=f"{point} is reached")
        await world.clock.sleep(0.0)
        await world.until(
            lambda: world.weight() == 0 and _is_over(world), within=10, what="weight 0"
        )
        took = world.clock.monotonic() - happened[0]
        await world.clock.sleep(30)
        assert world.weight() == 0 or not world.status().get("abort")
    await asyncio.gather(*world.background, return_exceptions=True)
    return world, took


def _is_over(world: World) -> bool:
    return bool(world.status().get("abort")) or world.checker.weights[-1:] == [0]


@pytest.mark.parametrize(
    "happening",
    [abort_as_cli, abort_at(1)],
    ids=["stored by a command line", "stored by another replica"],
)
@pytest.mark.parametrize("time", [2, 3])
def test_an_abort_between_a_pass_s_read_and_its_raise(
    happening: Callable[[World], None], time: int
) -> None:
    """I2: the raise lands after the abort and is taken back in the same act."""
    with structlog.testing.capture_logs() as logs:
        world, took = run(play("before-raise", time, happening, weather=LATE_WATCH))
    assert world.violations() == []
    assert world.checker.weights[-1] == 0
    assert took < 0.3
    if happening is abort_as_cli:
        # Later nets would catch it, too; the first one is the raiser's own second look.
        assert [entry["reason"] for entry in logs if entry["event"] == "raise.taken_back"] == [
            "it was aborted"
        ]


def test_a_replica_that_knows_of_no_weight_yet_looks_before_it_believes_so() -> None:
    """I2: the abort comes in where the cache still says weight 0."""
    world, took = run(play("after-raise", 1, abort_at(1), weather=LATE_WATCH))
    assert world.violations() == []
    assert world.checker.weights == [20, 0]
    assert took < 0.3


def test_the_raise_of_a_pass_that_dies_behind_an_abort_is_taken_back_by_its_successor() -> None:
    world, took = run(play("before-raise", 2, abort_as_cli, crash_at=(("after-raise", 2),)))
    assert world.violations() == []
    assert world.crashes == 1
    assert world.checker.weights == [20, 60, 0]
    assert took < 3


def test_the_same_process_aborts_while_its_own_pass_raises() -> None:
    """The epoch ends: the running pass sends nothing more, and what it sent is taken back."""
    world, took = run(play("before-raise", 2, abort_at(0)))
    assert world.violations() == []
    assert world.checker.weights[-1] == 0
    assert took < 0.3


@pytest.mark.parametrize("point", ["after-fence", "after-raise", "after-routes-up"])
def test_an_abort_at_any_other_moment_of_a_raising_pass(point: str) -> None:
    world, took = run(play(point, 8 if point == "after-fence" else 2, abort_at(1)))
    assert world.violations() == []
    assert world.checker.weights[-1] == 0
    assert took < 0.3


@pytest.mark.parametrize("death", [(), (("abort-after-intent", 1),), (("abort-after-route", 1),)])
def test_what_an_abort_finds_raised_but_not_recorded_has_an_end_that_is_told(
    death: tuple[tuple[str, int], ...],
) -> None:
    world, _ = run(play("after-routes-up", 1, abort_at(0), crash_at=death))
    assert world.violations() == []
    assert world.crashes == len(death)
    assert world.checker.weights == [20, 0]
    told = {event["id"]: event for event in world.bus.events()}.values()
    moves = [
        (event["type"].split(".")[-2], event["data"]["weights"])
        for event in told
        if event["type"].split(".")[-2] in ("weight", "rolledback")
    ]
    assert sorted(moves, key=str) == sorted(
        [("weight", {"after": 20}), ("weight", {"before": 20}), ("rolledback", {"before": 20})],
        key=str,
    )


@pytest.mark.parametrize("next_run", [retry_as_cli, another_revision])
@pytest.mark.parametrize("death", [(), (("abort-after-route", 1),)], ids=["", "its process dies"])
def test_a_rollback_is_told_when_the_next_run_begins_before_it_was_recorded(
    next_run: Callable[[World], None], death: tuple[tuple[str, int], ...]
) -> None:
    async def main() -> World:
        world = World(7)
        await world.apply(
            namespace(), service("web-stable"), service("web-canary"), virtual_service(),
            rollout([{"setWeight": 20}, {"pause": {}}], replicas=5),
        )  # fmt: skip
        async with world.alive(*death):
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            await set_image(world, "web:2")
            await world.until(
                lambda: bool(world.status().get("pauseConditions")), within=60, what="the pause"
            )
            world.when("abort-after-route", 1, lambda: next_run(world))
            await world.deliver(lambda engine: engine.abort(KEY, alert("Down")))
            await world.until(
                lambda: world.checker.weights == [20, 0, 20], within=60, what="the next run"
            )
            await world.clock.sleep(5)
        return world

    world = run(main())
    assert world.violations() == []
    assert world.crashes == len(death)
    told = [
        (event["type"].split(".")[-2], event["data"])
        for event in {event["id"]: event for event in world.bus.events()}.values()
    ]
    names = [name for name, _ in told]
    (ended,) = [data for name, data in told if name == "rolledback"]
    assert ended["weights"] == {"before": 20}
    assert ended["new"]["images"] == ["web:2"]
    assert ended["cause"]["evidence"] == {"labels": {"alertname": "Down"}}
    assert "drifted" not in names
    ends = [name for name in names if name in ("aborted", "rolledback", "started")]
    assert ends[-3:] == ["aborted", "rolledback", "started"]
    # A retry begins with the first step, also when no pass has seen the abort.
    assert names[names.index("aborted") :].count("step") == 1


def test_another_revision_between_a_pass_s_read_and_its_raise() -> None:
    """I1: the weight that was raised for the version before is back before anything else is raised."""
    world, _ = run(play("before-raise", 2, another_revision))
    assert world.violations() == []
    first_raise = world.checker.weights.index(60)
    assert world.checker.weights[first_raise + 1] in (0, 20)


def second_route() -> Object:
    """Another VirtualService that the same rollout drives."""
    route = virtual_service()
    return {**route, "metadata": {"name": "web-internal", "namespace": "shop"}}


def test_when_one_of_two_routes_cannot_be_raised_the_other_comes_back() -> None:
    """A failed raise lowers what it raised, and tries again from what is true then."""

    async def main() -> World:
        world = World(7)
        both = [{"name": name, "routes": ["primary"]} for name in ("web", "web-internal")]
        manifest = rollout(STEPS, replicas=5)
        manifest["spec"]["strategy"]["canary"]["trafficRouting"]["istio"] = {
            "virtualServices": both
        }
        await world.apply(
            namespace(), service("web-stable"), service("web-canary"), virtual_service(),
            second_route(), manifest,
        )  # fmt: skip

        def somebody_else_writes_the_second() -> None:
            place = "/spec/http/1/route"
            patch = [
                {"op": "replace", "path": f"{place}/0/weight", "value": 99},
                {"op": "replace", "path": f"{place}/1/weight", "value": 1},
            ]
            at_once(world.store.json_patch(KINDS["VirtualService"], "shop", "web-internal", patch))

        world.when("between-raises", 1, somebody_else_writes_the_second)
        async with world.alive():
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            await set_image(world, "web:2")
            await world.until(
                lambda: bool(world.status().get("pauseConditions")), within=60, what="the pause"
            )
        assert world.reached["between-raises"] >= 2
        other = world.store.peek("VirtualService", "shop", "web-internal")
        assert other is not None
        assert weights_of(other) == (80, 20)
        return world

    world = run(main())
    assert world.violations() == []
    assert world.checker.weights[:3] == [20, 0, 20]


def test_two_holds_at_the_same_moment_are_both_kept() -> None:
    """I4: an intent is made again from what is there when its swap is lost."""
    other = Hold(fingerprint="f2", starts_at="t", since="2026-05-01T09:00:00Z")
    mine = Hold(fingerprint="f1", starts_at="t", since="2026-05-01T09:30:00Z")

    async def main() -> tuple[Hold, ...]:
        world = World(7)
        await world.apply(
            namespace(), service("web-stable"), service("web-canary"), virtual_service(),
            rollout(STEPS, replicas=5),
        )  # fmt: skip
        body = {"metadata": {"annotations": {HOLDS: encode_holds((other,))}}}
        async with world.alive():
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            await set_image(world, "web:2")
            await world.until(lambda: world.weight() == 20, within=60, what="the first weight")
            await world.clock.sleep(1)
            world.when(
                "intent-before-write",
                1,
                lambda: at_once(world.store.merge_patch(KINDS["Rollout"], *KEY, body)),
            )
            assert (await world.engine.hold(KEY, mine, alert("Noisy"))).result == "done"
            return decode_holds(world.rollout()["metadata"]["annotations"][HOLDS])

    assert run(main()) == (other, mine)

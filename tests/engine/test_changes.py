"""What the engine is woken by: only what is ours, also after rollouts changed hands; tasks only while it runs."""

import asyncio

import pytest

from agent.api.meta import Key
from agent.engine.level import Level, no_alerts
from agent.engine.owned import Owned
from agent.engine.port import View
from agent.engine.tasks import Tasks
from agent.errors import Unavailable
from tests.engine.shop import shop
from tests.simulation.manifests import KEY
from tests.simulation.scenario import set_image
from tests.simulation.virtual import run


class Others:
    """agent.engine.ownership.Ownership of a process that drives one namespace."""

    def owns(self, key: Key) -> bool:
        return key.namespace == "ours"

    def on_change(self, callback: object) -> None:
        """Nothing changes hands here."""


class Listed:
    """The part of agent.engine.observe.Objects that is asked for here."""

    def __init__(self, *keys: Key) -> None:
        self._keys = keys

    def list(self, kind: str, namespace: str | None = None) -> list[dict[str, object]]:
        assert (kind, namespace) == ("Rollout", None)
        return [{"metadata": {"namespace": key.namespace, "name": key.name}} for key in self._keys]


def test_owned_rollouts_are_those_of_the_cache_that_no_other_process_drives() -> None:
    cache = Listed(Key("ours", "web"), Key("theirs", "web"), Key("ours", "api"))
    owned = Owned(cache, Others())  # type: ignore[arg-type]
    assert owned.rollout_keys() == (Key("ours", "web"), Key("ours", "api"))
    assert [item["metadata"]["namespace"] for item in owned.rollouts()] == ["ours", "ours"]


def test_no_task_starts_before_the_engine_runs_and_none_after_its_end() -> None:
    async def nothing() -> None:
        raise AssertionError("this must not run")

    async def main() -> None:
        tasks = Tasks()
        assert not tasks.runs
        assert not tasks.clean(nothing())
        with pytest.raises(Unavailable, match="does not run"):
            tasks.abort(nothing())
        done = asyncio.Event()

        async def work() -> None:
            done.set()

        async with asyncio.TaskGroup() as group:
            tasks.use(group)
            assert tasks.clean(work())
            await done.wait()
        tasks.use(None)
        assert not tasks.clean(nothing())

    run(main())


def test_the_end_waits_for_aborts_and_cancels_those_that_take_too_long() -> None:
    async def main() -> None:
        tasks, ended = Tasks(), []

        async def short() -> None:
            await asyncio.sleep(1)
            ended.append("short")

        async def endless() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        async with asyncio.TaskGroup() as group:
            tasks.use(group)
            tasks.abort(short())
            tasks.abort(endless())
            await asyncio.sleep(0)
            await tasks.end(5)
        assert ended == ["short", "cancelled"]

    run(main())


def test_what_the_level_check_cannot_tell_stops_a_raise_but_not_a_retry() -> None:
    async def silent(_view: View) -> bool:
        raise Unavailable("Alertmanager does not answer")

    async def main() -> None:
        level, view = Level(no_alerts), View(key=KEY, rollout={})
        assert await level.check(view)
        level.use(silent)
        await level.look_again(view)
        with pytest.raises(Unavailable):
            await level.check(view)

    run(main())


def test_a_rollout_that_came_over_is_looked_at_at_once() -> None:
    async def main() -> None:
        async with shop(at_weight=None) as world:
            world.rebalance()
            await set_image(world, "web:2")
            await world.clock.sleep(120)
            assert world.weight() == 0
            world.rebalance(0)
            await world.until(lambda: world.weight() == 20, within=5, what="the new owner's raise")

    run(main())

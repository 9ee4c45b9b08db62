"""The engine with the real decide and router over the local store: failures, evidence, and what can be seen."""

import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import structlog

from agent.api.meta import Ref
from agent.api.names import DEPLOYMENT
from agent.events.catalogue import Deployment, RolloutEvent
from agent.rollout.decide import decide
from agent.rollout.types import Announcement, Decision, Observation, Stage
from agent.traffic.types import Router
from tests.engine.shop import annotations, command, new_set, shop, why
from tests.simulation.faults import Weather
from tests.simulation.manifests import (
    KEY,
    ROUTE,
)
from tests.simulation.scenario import alert, is_rolled_back, set_image
from tests.simulation.virtual import run

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
            results = [
                (await world.engine.annotate(KEY, wanted, revision=revision)).result
                for _ in range(2)
            ]
            assert results == ["done", "unchanged"]
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

"""The shipped agent on Gateway API routes of a real API server: an HTTPRoute and a GRPCRoute of one rollout.

Nobody routes by them: who takes up their generations, and says so, is a stand-in for a gateway's controller.
"""

import asyncio
import contextlib
import random
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from agent.clock import SystemClock
from agent.cluster.port import KINDS
from tests.e2e.announcements import promoted
from tests.e2e.bed.run import Run
from tests.e2e.canary import NAME
from tests.e2e.figures import Figure
from tests.e2e.gateway_canary import ADDRESSED, HTTP, GatewayCanary
from tests.e2e.processes import until
from tests.e2e.stage import StandInStage, firing, staged_on
from tests.simulation.gateway import GatewayController

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
DATA: Final = Path(__file__).parent / "data"
PAUSE: Final[dict[str, Any]] = {"pause": {"duration": 1}}
STEPS: Final[list[dict[str, Any]]] = [{"setWeight": 20}, PAUSE, {"setWeight": 60}, PAUSE]
WAITING: Final[list[dict[str, Any]]] = [{"setWeight": 20}, {"setWeight": 60}, {"pause": {}}]
RESYNCS: Final = 10


class Edge:
    """A rollout's stage, the rollout, and who answers for the gateway."""

    def __init__(self, stage: StandInStage) -> None:
        self.stage = stage
        self.canary = GatewayCanary(stage)
        self.gateway = GatewayController(
            stage.cluster,
            SystemClock(),
            random.Random(0),
            kinds=tuple(ADDRESSED),
            namespace=stage.namespace,
            seconds=(0.0, 0.0),
        )

    async def silence(self) -> None:
        """From now on no gateway answers, and what it said so far is gone."""
        self.gateway.is_silent = True
        for kind in ADDRESSED:
            forgotten: dict[str, Any] = {"status": {"parents": []}}
            await self.stage.cluster.merge_patch(
                KINDS[kind], self.stage.namespace, NAME, forgotten, status=True
            )

    async def answer(self, kind: str) -> None:
        """The gateway takes up what one route says now."""
        await self.gateway.answer((await self.canary.routes())[kind])

    async def until_it_waits_for(self, route: str, what: str) -> None:
        """Wait until the last pass has named this wait."""
        key = f"{self.stage.namespace}/{NAME}"

        async def waits() -> bool:
            said = [line["why"] for line in self.stage.said("pass.done") if line["rollout"] == key]
            return bool(said) and f"{route} " in said[-1] and what in said[-1]

        await until(waits, f"{route} {what}", context=self.stage.agent)

    async def alert(self) -> None:
        """Alertmanager's webhook about this rollout."""
        key = f"{self.stage.namespace}/{NAME}"
        body = firing(DATA / "alertmanager-firing-0.34.json", rollout=key)
        assert (await self.stage.alert(body)).status_code == 202


@asynccontextmanager
async def edge(bed: Run, directory: Path, steps: list[dict[str, Any]]) -> AsyncIterator[Edge]:
    """The first version is out, with Git's 90/10 lowered."""
    async with staged_on(bed.part("kubernetes")["kubeconfig"], directory) as stage:
        made = Edge(stage)
        # What a rollout waits for is told at this level.
        stage.configure(log={"level": "debug"})
        controller = asyncio.create_task(made.gateway.run(), name="gateway")
        try:
            await stage.start_agent()
            await made.canary.apply_all(steps)
            await made.canary.until_promoted()
            await made.canary.until_announced("completed")
            yield made
            assert not controller.done(), controller.exception()
        finally:
            controller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await controller


async def test_a_good_version_goes_up_through_its_weights_and_leaves_the_routes_as_they_were(
    bed: Run, tmp_path: Path
) -> None:
    async with edge(bed, tmp_path, STEPS) as shop:
        canary = shop.canary
        known = canary.told.told_once()
        async with canary.observing() as observed:
            await canary.set_image(f"{NAME}:v2")
            await canary.until_announced("promoted")
            await canary.until_promoted()
        assert [seen.weights for seen in observed.values()] == [[20, 60, 100, 0]] * 2
        await canary.until_quiet()
        assert canary.told.told_once() - known == promoted(STEPS)
        await canary.until_users_routes()


async def test_a_bad_version_is_taken_off_all_routes_and_git_does_not_bring_it_back(
    bed: Run, tmp_path: Path, figure: Figure
) -> None:
    async with edge(bed, tmp_path, WAITING) as shop:
        canary = shop.canary
        await canary.set_image(f"{NAME}:v2")
        await canary.until_weight(60)
        paused = await canary.until_phase("Paused")
        assert paused["canary"]["weights"]["verified"] is True
        await shop.alert()
        await canary.until_weight(0)
        await canary.until_phase("Degraded")
        await canary.until_announced("aborted", "rolledback")
        (rolled_back,) = canary.told.of_type("rolledback")
        assert rolled_back["data"]["weights"] == {"before": 60}
        assert rolled_back["data"]["cause"]["kind"] == "alert"
        await canary.until_names_are_stable()
        exposed = []
        async with canary.observing() as observed:
            for number in range(1, RESYNCS + 1):
                for kind, seen in observed.items():
                    await canary.resync(kind)
                    await seen.until_count(2 * number, f"{kind}: re-sync {number} is undone")
        for seen in observed.values():
            assert seen.weights == [10, 0] * RESYNCS, "each is answered by one write, and no other"
            exposed += seen.exposed()
        figure(
            f"{RESYNCS} re-syncs of an HTTPRoute and of a GRPCRoute, exposed ms: "
            f"median {statistics.median(exposed):.1f}, most {max(exposed):.1f}"
        )
        status = await canary.status()
        assert (status["abort"], status["phase"], await canary.weight()) == (True, "Degraded", 0)
        await canary.until_announced("drifted")
        await canary.until_users_routes()


async def test_no_weight_rises_before_each_gateway_has_taken_up_the_last_and_any_may_fall(
    bed: Run, tmp_path: Path
) -> None:
    async with edge(bed, tmp_path, WAITING) as shop:
        canary = shop.canary
        await shop.silence()
        generation = {
            kind: made["metadata"]["generation"] for kind, made in (await canary.routes()).items()
        }
        async with canary.observing() as observed:

            def seen() -> list[list[int]]:
                return [one.weights for one in observed.values()]

            async def until_taken_up(weights: list[int]) -> None:
                """Both gateways are waited for, one after the other, and nothing is written meanwhile."""
                what = "has not answered; is its controller running?"
                for kind in ADDRESSED:
                    if weights:
                        what = f"has not said Accepted of generation {generation[kind] + len(weights)} yet"
                    await shop.until_it_waits_for(kind, what)
                    assert seen() == [weights] * 2
                    await shop.answer(kind)

            await canary.set_image(f"{NAME}:v2")
            await until_taken_up([])
            await canary.until_weight(20)
            await until_taken_up([20])
            await canary.until_weight(60)
            await shop.until_it_waits_for(HTTP, "has not said Accepted")
            assert (await canary.status())["canary"]["weights"]["verified"] is False
            await shop.alert()
            await canary.until_weight(0)
            await canary.until_announced("aborted", "rolledback")
            await until_taken_up([20, 60, 0])
            await canary.until_phase("Degraded")

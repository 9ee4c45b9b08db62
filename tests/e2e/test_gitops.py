"""A Git agent that re-applies the page's 90/10 on a real API server: users of an aborted version are exposed for as
long as it takes the agent to see it and to write."""

import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent.api.meta import Object
from agent.cluster.port import KINDS
from tests.e2e.figures import Figure
from tests.e2e.manifests import NAME, in_namespace, indefinite
from tests.e2e.stage import Stage, staged, staged_on
from tests.e2e.weights import observing

if TYPE_CHECKING:
    from tests.e2e.bed.run import Run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
RESYNCS: Final = 25
ROUTE: Final = KINDS["VirtualService"]


def weight_of(service: Object) -> int:
    _stable, canary = service["spec"]["http"][0]["route"]
    weight: int = canary["weight"]
    return weight


async def resync(stage: Stage, name: str) -> None:
    """Git's weights, over everything, as an apply without any look at the object does it."""
    service = await stage.cluster.get(ROUTE, stage.namespace, name)
    http: list[dict[str, Any]] = service["spec"]["http"]
    stable, canary = http[0]["route"]
    split = [{**stable, "weight": 90}, {**canary, "weight": 10}]
    body = {"spec": {"http": [{**http[0], "route": split}, *http[1:]]}}
    await stage.cluster.merge_patch(ROUTE, stage.namespace, name, body)


@asynccontextmanager
async def on(where: str, request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Stage]:
    """A stage on the real API server, or on the local cluster."""
    if where == "local cluster":
        async with staged(directory) as stage:
            yield stage
        return
    bed: Run = request.getfixturevalue("bed")
    async with staged_on(bed.part("kubernetes")["kubeconfig"], directory) as stage:
        yield stage


@pytest.mark.parametrize("where", ["local cluster", "real API server"])
async def test_a_resync_after_an_abort_exposes_for_one_watch_event(
    where: str, request: pytest.FixtureRequest, tmp_path: Path, figure: Figure
) -> None:
    async with on(where, request, tmp_path) as stage:
        await stage.start_agent()
        await stage.apply(*in_namespace(indefinite(), stage.namespace))
        await stage.until_promoted()
        await stage.set_image(f"{NAME}:v2")
        await stage.until_weight(20)
        await stage.until_phase("Paused")
        abort = {"status": {"abort": True}}
        await stage.cluster.merge_patch(KINDS["Rollout"], stage.namespace, NAME, abort, status=True)
        await stage.until_weight(0)
        await stage.until_phase("Degraded")
        async with observing(stage.cluster, ROUTE, stage.namespace, NAME, weight_of) as observed:
            for number in range(1, RESYNCS + 1):
                await resync(stage, NAME)
                await observed.until_count(2 * number, f"re-sync {number} is undone")
        assert observed.weights == [10, 0] * RESYNCS, (
            "each is answered by one write, and by no other"
        )
        exposed = observed.exposed()
        figure(
            f"exposed after {RESYNCS} re-syncs, ms: median {statistics.median(exposed):.1f}, "
            f"most {max(exposed):.1f}"
        )
        status = await stage.status()
        assert (status["abort"], status["phase"], await stage.weight()) == (True, "Degraded", 0)
        await stage.until_announced("drifted")

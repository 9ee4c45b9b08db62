"""The ledger in a storm: one ConfigMap, many alerts at the same moment."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.api.meta import Object
from agent.clock import LoopClock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import Kind
from agent.errors import Unavailable
from agent.events.catalogue import Alert
from handlers.alert.ledger import ConfigMapLedger

pytestmark = pytest.mark.looptime(start=0)
MANY = 100
AT = datetime(2026, 5, 1, 10, tzinfo=UTC)


class Far(LocalCluster):
    """Every request takes a while; the ConfigMap may be written by another replica meanwhile."""

    def __init__(self) -> None:
        super().__init__(LoopClock(datetime(2026, 5, 1, tzinfo=UTC)))
        self.writes = 0
        self.down = False

    async def get(self, kind: Kind, namespace: str, name: str, **options: Any) -> Object:
        await asyncio.sleep(0.01)
        if self.down:
            raise Unavailable("simulated")
        return await super().get(kind, namespace, name, **options)

    async def create(self, kind: Kind, obj: Object) -> Object:
        return await self._late(super().create(kind, obj))

    async def merge_patch(self, *args: Any, **options: Any) -> Object:
        return await self._late(super().merge_patch(*args, **options))

    async def _late(self, call: Any) -> Object:
        await asyncio.sleep(0.01)
        self.writes += 1
        made: Object = await call
        return made


def an_alert(number: int) -> Alert:
    return Alert(
        fingerprint=f"{number:016x}",
        starts_at="2026-05-01T10:00:00Z",
        labels={"alertname": "Down", "rollout": f"shop/web-{number}"},
    )


def numbers(alerts: tuple[Alert, ...]) -> list[int]:
    return [int(alert.fingerprint, 16) for alert in alerts]


async def test_all_of_a_storm_are_noted_by_a_few_writes() -> None:
    cluster = Far()
    ledger = ConfigMapLedger(cluster, namespace="default")
    await asyncio.gather(*(ledger.fired(an_alert(number), AT) for number in range(MANY)))
    assert numbers(await ledger.active()) == list(range(MANY))
    assert cluster.writes == 2, "the first one, and all that came meanwhile"
    await asyncio.gather(
        *(ledger.resolved(an_alert(number), AT, matched=True) for number in range(MANY))
    )
    assert await ledger.active() == ()
    assert cluster.writes == 4


async def test_two_replicas_lose_nothing_to_each_other() -> None:
    cluster = Far()
    one, two = (ConfigMapLedger(cluster, namespace="default") for _ in range(2))
    calls = [(one, two)[number % 2].fired(an_alert(number), AT) for number in range(MANY)]
    await asyncio.gather(*calls)
    assert sorted(numbers(await one.active())) == list(range(MANY))


async def test_who_waited_for_a_swap_that_failed_hears_of_it_at_once() -> None:
    cluster = Far()
    ledger = ConfigMapLedger(cluster, namespace="default")
    cluster.down = True
    calls = (ledger.fired(an_alert(number), AT) for number in range(MANY))
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, Unavailable) for error in failed)
    assert asyncio.get_running_loop().time() < 0.1, "not one try after the other"
    cluster.down = False
    await ledger.fired(an_alert(7), AT)
    assert numbers(await ledger.active()) == [7], "who was told that it failed sends it again"


async def test_a_cancelled_one_takes_nobody_s_change_with_it() -> None:
    cluster = Far()
    ledger = ConfigMapLedger(cluster, namespace="default")
    first = asyncio.create_task(ledger.fired(an_alert(0), AT))
    await asyncio.sleep(0.001)
    others = [asyncio.create_task(ledger.fired(an_alert(number), AT)) for number in range(1, 5)]
    await asyncio.sleep(0.001)
    first.cancel()
    await asyncio.sleep(0.001)
    # The second one carries all that wait, and is cancelled in the middle of it.
    others[0].cancel()
    await asyncio.gather(*others[1:])
    assert {2, 3, 4} <= set(numbers(await ledger.active()))
    assert [task.cancelled() for task in (first, others[0])] == [True, True]


async def test_of_each_change_in_a_swap_it_is_told_whether_it_counts() -> None:
    ledger = ConfigMapLedger(Far(), namespace="default")
    early, late = AT, AT + timedelta(seconds=1)
    assert await ledger.resolved(an_alert(1), late, matched=True)
    assert await ledger.fired(an_alert(2), late)
    counts = await asyncio.gather(
        ledger.fired(an_alert(0), early),
        ledger.fired(an_alert(1), early),
        ledger.resolved(an_alert(2), early, matched=True),
        ledger.resolved(an_alert(3), early, matched=False),
    )
    assert list(counts) == [True, False, False, True]
    assert numbers(await ledger.active()) == [2, 0]
    told = [(await ledger.is_over(an_alert(number), early)) for number in range(4)]
    assert told == [False, True, False, False]


async def test_a_word_that_comes_again_is_no_write() -> None:
    cluster = Far()
    ledger = ConfigMapLedger(cluster, namespace="default")
    await asyncio.gather(*(ledger.fired(an_alert(number), AT) for number in range(3)))
    await ledger.resolved(an_alert(1), AT, matched=True)
    writes = cluster.writes
    assert await ledger.fired(an_alert(0), AT)
    assert await ledger.resolved(an_alert(1), AT, matched=True)
    assert await ledger.resolved(an_alert(9), AT, matched=False)
    assert (cluster.writes, numbers(await ledger.active())) == (writes, [0, 2])

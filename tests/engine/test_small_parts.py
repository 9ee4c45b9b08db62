"""Timers, sweep, backoff, crash points, interest: the small parts on their own."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from agent.api.meta import Key, Ref
from agent.clock import LoopClock
from agent.engine.backoff import CAP_SECONDS, Backoff
from agent.engine.crash_points import CRASH_POINTS, from_environment, pass_by
from agent.engine.fence import Superseded, Turn
from agent.engine.interest import Interest
from agent.engine.lane import Epoch
from agent.engine.ownership import SoleOwner
from agent.engine.sweep import PERIOD_SECONDS, Sweep, slot
from agent.engine.timers import Timers
from agent.rollout.types import Decision, Observation

EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)
WEB, API = Key("shop", "web"), Key("shop", "api")


def after(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


@pytest.mark.looptime(start=0)
async def test_timers_fire_in_time_and_the_last_one_set_counts() -> None:
    clock = LoopClock(EPOCH)
    fired: list[tuple[float, Key]] = []
    timers = Timers(lambda key, _cause: fired.append((clock.monotonic(), key)), clock)
    task = asyncio.create_task(timers.run())
    timers.set(WEB, after(100))
    timers.set(API, after(50))
    await asyncio.sleep(10)
    timers.set(WEB, after(20))
    timers.set(API, None)
    await asyncio.sleep(200)
    task.cancel()
    assert fired == [(20.0, WEB)]
    assert timers.due_at(WEB) is None


@pytest.mark.looptime(start=0)
async def test_a_time_in_the_past_fires_at_once() -> None:
    clock = LoopClock(EPOCH)
    fired: list[Key] = []
    timers = Timers(lambda key, _cause: fired.append(key), clock)
    timers.set(WEB, after(-5))
    assert timers.fire() == 1
    assert fired == [WEB]
    assert timers.fire() == 0


@pytest.mark.looptime(start=0)
async def test_the_sweep_takes_everything_quiet_once_a_period_and_spreads_it() -> None:
    clock = LoopClock(EPOCH)
    keys = [Key("shop", f"web-{number}") for number in range(600)]
    woken: list[tuple[int, Key]] = []
    last: dict[Key, float] = {}

    def wake(key: Key, _cause: str) -> None:
        last[key] = clock.monotonic()
        woken.append((int(clock.monotonic()), key))

    sweep = Sweep(lambda: keys, last.get, wake, clock)
    task = asyncio.create_task(sweep.run())
    await asyncio.sleep(2 * PERIOD_SECONDS + 0.5)
    task.cancel()
    times = Counter(key for _, key in woken)
    assert set(times) == set(keys)
    assert set(times.values()) == {2}
    assert max(Counter(second for second, _ in woken).values()) < 30


@pytest.mark.looptime(start=0)
async def test_the_sweep_leaves_alone_what_was_looked_at() -> None:
    clock = LoopClock(EPOCH)
    woken: list[Key] = []
    sweep = Sweep(lambda: [WEB], lambda _key: 0.0, lambda key, _cause: woken.append(key), clock)
    await asyncio.sleep(30)
    assert sweep.look([slot(WEB)]) == 0
    await asyncio.sleep(30)
    assert sweep.look([slot(WEB)]) == 1
    assert woken == [WEB]


def test_backoff_grows_to_its_cap_and_starts_over_after_success() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.failed(WEB) for _ in range(200)]
    assert all(0 < wait <= CAP_SECONDS for wait in waits)
    assert max(waits[:2]) <= 0.4
    assert max(waits[20:]) > CAP_SECONDS / 2
    assert min(waits[20:]) < CAP_SECONDS / 4
    assert backoff.failed(API, at_least=7.0) >= 7.0
    backoff.succeeded(WEB)
    assert backoff.failures(WEB) == 0
    assert backoff.failed(WEB) <= 0.2


def test_without_the_variable_crash_points_do_nothing() -> None:
    assert from_environment({}) is pass_by
    for point in CRASH_POINTS:
        pass_by(point)


@pytest.mark.parametrize("value", ["nowhere", "after-fence:0", "after-fence:x", "after-fence:-1"])
def test_a_crash_point_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="SERINUS_CRASH_AT"):
        from_environment({"SERINUS_CRASH_AT": value})


def test_a_crash_point_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda _pid, signal: killed.append(signal))
    reach = from_environment({"SERINUS_CRASH_AT": "after-fence:2"})
    for point in ("after-fence", "before-fence", "after-fence", "after-fence"):
        reach(point)
    assert killed == [9]


def test_interest_follows_what_a_rollout_refers_to() -> None:
    interest = Interest()
    route, name = Ref("VirtualService", "shop", "web"), Ref("Service", "shop", "web")
    obj = {"metadata": {"name": "web", "namespace": "shop"}}
    interest.set(WEB, (route, name))
    interest.set(API, (route,))
    assert list(interest.of(route, obj)) == [WEB, API]
    interest.set(WEB, (name,))
    assert list(interest.of(route, obj)) == [API]
    assert list(interest.of(name, obj)) == [WEB]
    interest.set(WEB, ())
    assert list(interest.of(name, obj)) == []


@pytest.mark.parametrize(
    ("owner", "woken"),
    [
        ({"kind": "Rollout", "name": "web", "controller": True}, [WEB]),
        ({"kind": "Rollout", "name": "web"}, []),
        ({"kind": "Deployment", "name": "web", "controller": True}, []),
    ],
    ids=["its controller", "an owner that does not control it", "somebody else's"],
)
def test_interest_in_what_a_rollout_owns(owner: dict[str, object], woken: list[Key]) -> None:
    obj = {"metadata": {"name": "web-1", "namespace": "shop", "ownerReferences": [owner]}}
    assert list(Interest().of(Ref("ReplicaSet", "shop", "web-1"), obj)) == woken


def test_a_sole_owner_owns_everything() -> None:
    assert SoleOwner().owns(WEB)
    assert SoleOwner().holds()


@pytest.mark.parametrize("reason", ["its epoch has ended", "another process drives"])
def test_a_pass_may_not_write_when(reason: str) -> None:
    rollout = {"metadata": {"name": "web", "namespace": "shop"}}
    owned = {WEB}
    turn = Turn(
        key=WEB,
        epoch=Epoch(),
        observation=Observation(now=EPOCH, rollout=rollout),
        decision=Decision(status={}),
        owns=owned.__contains__,
    )
    turn.check()
    if reason == "its epoch has ended":
        turn.epoch.ended = True
    else:
        owned.clear()
    with pytest.raises(Superseded):
        turn.check()

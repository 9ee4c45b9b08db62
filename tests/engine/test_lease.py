"""One owner by a lease, on a virtual clock: who takes it, keeps it, loses it, and that there are never two."""

import asyncio
import random
from datetime import datetime, timedelta

import pytest

from agent.clock import LoopClock
from agent.cluster.local.store import LocalCluster
from agent.errors import Forbidden, NotFound, Unavailable
from tests.engine.electing import (
    EPOCH,
    LEASE,
    WEB,
    Machine,
    Replica,
    calm,
    running,
    spec,
    until_owner,
)
from tests.simulation.virtual import run

pytestmark = pytest.mark.looptime(start=0)


@pytest.fixture
async def store() -> LocalCluster:
    return LocalCluster(LoopClock(EPOCH))


async def test_the_first_one_takes_it_as_client_go_would_write_it(store: LocalCluster) -> None:
    one = Replica(store, "one")
    async with running(one):
        assert one.owner.owns(WEB)
        assert one.owner.holds()
        written = spec(store)
        assert written["acquireTime"] == written["renewTime"]
        assert len(written["renewTime"]) == len("2026-05-01T10:00:00.000000Z")
        assert {name: written[name] for name in written if not name.endswith("Time")} == {
            "holderIdentity": "one",
            "leaseDurationSeconds": 15,
            "leaseTransitions": 0,
        }
        await asyncio.sleep(60)
        assert spec(store)["renewTime"] > "2026-05-01T10:00:58"
        assert spec(store)["acquireTime"] == written["acquireTime"]
        ((when, owns),) = one.heard
        assert owns
        assert when < 0.1
        assert 28 <= one.line.writes <= 33, "one write a renewal"


async def test_others_wait_and_take_over_at_once_after_an_orderly_stop(store: LocalCluster) -> None:
    one, two = Replica(store, "one"), Replica(store, "two")
    async with running(one, two):
        await asyncio.sleep(60)
        assert (one.owner.holds(), two.owner.holds()) == (True, False)
        assert two.line.writes == 0
        assert two.owner.missing() == "", "who is not the owner is ready, too"
        await one.stop()
        assert "holderIdentity" not in spec(store)
        assert await until_owner(two) < 2.5
        assert spec(store)["leaseTransitions"] == 1
        assert (one.changes, two.changes) == (["acquired", "released"], ["acquired"])


async def test_one_that_is_killed_is_followed_after_the_duration_and_not_before(
    store: LocalCluster,
) -> None:
    one, two = Replica(store, "one"), Replica(store, "two")
    async with running(one, two):
        await asyncio.sleep(60)
        await one.kill()
        assert 12 < await until_owner(two) <= 15 + 2.5
        assert spec(store)["holderIdentity"] == "two"


async def test_an_owner_without_an_api_server_stops_before_another_may_begin(
    store: LocalCluster,
) -> None:
    one, two = Replica(store, "one"), Replica(store, "two")
    async with running(one, two):
        await asyncio.sleep(60)
        renewed = datetime.fromisoformat(spec(store)["renewTime"])
        one.line.error = Unavailable("simulated")
        await until_owner(two)
        lost, owns = one.heard[-1]
        assert not owns
        lived = EPOCH + timedelta(seconds=lost) - renewed
        assert timedelta(seconds=9.5) < lived <= timedelta(seconds=10.1)
        assert two.heard[-1][0] - lost > 3, "nobody drives for a while"
        one.line.error = None
        await asyncio.sleep(30)
        assert (one.owner.holds(), two.owner.holds()) == (False, True)
        assert one.changes == ["acquired", "lost"]


async def test_an_answer_that_was_long_on_its_way_prolongs_nothing(store: LocalCluster) -> None:
    """Others have seen the renewal when it was written."""
    one = Replica(store, "one")
    async with running(one):
        await asyncio.sleep(60)
        one.line.answer_seconds, writes = 6, one.line.writes
        while one.line.writes == writes:
            await asyncio.sleep(0.01)
        one.line.error = Unavailable("simulated")
        await asyncio.sleep(1)
        renewed = datetime.fromisoformat(spec(store)["renewTime"])
        async with asyncio.timeout(30):
            while one.owner.holds():
                await asyncio.sleep(0.01)
        lived = EPOCH + timedelta(seconds=one.heard[-1][0]) - renewed
        assert lived <= timedelta(seconds=10.1)


async def test_nobody_takes_over_while_nobody_reaches_the_api_server(store: LocalCluster) -> None:
    one, two = Replica(store, "one"), Replica(store, "two")
    async with running(one, two):
        await asyncio.sleep(20)
        one.line.error = two.line.error = Unavailable("simulated")
        await asyncio.sleep(120)
        assert not one.owner.holds()
        assert not two.owner.holds()
        one.line.error = two.line.error = None
        await asyncio.sleep(20)
        assert one.owner.holds() != two.owner.holds()


async def test_a_paused_owner_does_not_own_when_it_goes_on(store: LocalCluster) -> None:
    one, two = Replica(store, "one"), Replica(store, "two")
    async with running(one, two):
        await asyncio.sleep(60)
        one.machine.stop()
        await until_owner(two)
        assert not one.owner.owns(WEB), "at its very first question"
        one.machine.go()
        await asyncio.sleep(60)
        assert (one.owner.holds(), two.owner.holds()) == (False, True)
        assert one.changes == ["acquired", "lost"]


@pytest.mark.parametrize("hours", [-5, 5])
async def test_another_machine_s_time_means_nothing(store: LocalCluster, hours: int) -> None:
    off = Replica(store, "off", machine=Machine(skew=timedelta(hours=hours)))
    right = Replica(store, "right")
    async with running(off, right):
        await asyncio.sleep(60)
        assert (off.owner.holds(), right.owner.holds()) == (True, False)
        await off.kill()
        assert 12 < await until_owner(right) <= 17.5


async def test_a_renewal_whose_answer_is_lost_loses_nothing(store: LocalCluster) -> None:
    one = Replica(store, "one")
    async with running(one):
        for _ in range(10):
            one.line.loses_answers = True
            await asyncio.sleep(4)
            one.line.loses_answers = False
            await asyncio.sleep(4)
        assert one.changes == ["acquired"]


async def test_who_finds_another_s_name_on_its_lease_stops_at_once(store: LocalCluster) -> None:
    one = Replica(store, "one")
    async with running(one):
        await asyncio.sleep(10)
        patch = {"spec": {"holderIdentity": "a person's choice"}}
        await store.merge_patch(LEASE, "ops", "serinus", patch)
        await asyncio.sleep(2.5)
        assert not one.owner.holds()
        assert await until_owner(one) <= 17.5, "nobody of that name renews it"


async def test_a_lease_that_was_deleted_is_made_again(store: LocalCluster) -> None:
    one = Replica(store, "one")
    async with running(one):
        await asyncio.sleep(10)
        await store.delete(LEASE, "ops", "serinus")
        await asyncio.sleep(2.5)
        assert one.owner.holds()
        assert spec(store)["holderIdentity"] == "one"
        assert one.changes == ["acquired"]


async def test_a_lease_without_a_duration_lasts_as_long_as_ours(store: LocalCluster) -> None:
    await store.create(
        LEASE,
        {
            "metadata": {"name": "serinus", "namespace": "ops"},
            "spec": {"holderIdentity": "somebody", "leaseTransitions": 7},
        },
    )
    one = Replica(store, "one")
    async with running(one):
        assert 14 < 1 + await until_owner(one) <= 15.1
        assert spec(store)["leaseTransitions"] == 8


async def test_a_pod_that_starts_again_takes_its_own_lease_back_at_once(
    store: LocalCluster,
) -> None:
    one, again = Replica(store, "pod_uid"), Replica(store, "pod_uid")
    async with running(one):
        await asyncio.sleep(10)
        await one.kill()
        before = spec(store)
    async with running(again):
        assert again.owner.holds()
        after = spec(store)
        assert (after["leaseTransitions"], after["acquireTime"]) == (0, before["acquireTime"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            Forbidden("leases is forbidden"),
            ("is forbidden", "get, create and patch", "ops", "none"),
        ),
        (NotFound("namespaces ops not found"), ("not found", "ownership.namespace")),
        (Unavailable("refused"), ("lease ops/serinus", "refused")),
    ],
)
async def test_what_is_in_the_way_is_said_until_it_is_not(
    store: LocalCluster, error: Exception, words: tuple[str, ...]
) -> None:
    one = Replica(store, "one")
    assert "not looked at yet" in one.owner.missing()
    one.line.error = error
    async with running(one):
        await asyncio.sleep(60)
        assert not one.owner.holds()
        for word in words:
            assert word in one.owner.missing()
        one.line.error = None
        await asyncio.sleep(5)
        assert (one.owner.missing(), one.owner.holds()) == ("", True)
        one.line.error = error
        await asyncio.sleep(60)
        assert one.owner.missing() == "", "the doors stay open: aborts need no owner"


async def test_what_another_took_meanwhile_is_not_released(store: LocalCluster) -> None:
    one = Replica(store, "one")
    one.start()
    await asyncio.sleep(10)
    await store.merge_patch(LEASE, "ops", "serinus", {"spec": {"holderIdentity": "two"}})
    await one.stop()
    assert spec(store)["holderIdentity"] == "two"


async def test_a_stop_is_not_held_up_by_an_api_server_that_is_silent(store: LocalCluster) -> None:
    one = Replica(store, "one")
    one.start()
    await asyncio.sleep(10)
    one.line.latency = 1000
    began = asyncio.get_running_loop().time()
    await one.stop()
    assert asyncio.get_running_loop().time() - began <= 3.1


async def test_where_no_election_is_needed_there_is_none(store: LocalCluster) -> None:
    answers: list[bool | Exception] = [Unavailable("starting"), True]

    async def alone() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    one = Replica(store, "one", unless=alone)
    async with running(one):
        await asyncio.sleep(1000)
        assert one.owner.owns(WEB)
        ((when, _),) = one.heard
        assert 2 <= when < 2.5, "after the second question"
    assert store.peek("Lease", "ops", "serinus") is None


@pytest.mark.parametrize("seed", range(40))
def test_never_two_whatever_happens(seed: int) -> None:
    """Clocks that are hours off and up to 1.4 times as fast; pauses, outages, deaths, lost and late answers."""
    run(chaos(seed))


async def chaos(seed: int) -> None:
    random.seed(seed)
    rng = random.Random(seed)
    store = LocalCluster(LoopClock(EPOCH))
    everybody: list[Replica] = []
    together: list[float] = []

    def another() -> Replica:
        machine = Machine(
            skew=timedelta(hours=rng.uniform(-9, 9)), rate=rng.choice([1, 1, 1.2, 1.4])
        )
        replica = Replica(store, f"r{rng.random()}", rng, machine=machine)
        replica.line.latency = rng.choice([0.01, 0.5, 3.0])
        # Owners become more at no other moment.
        replica.owner.on_change(look)
        everybody.append(replica)
        replica.start()
        return replica

    def look() -> None:
        owners = sum(replica.owner.holds() for replica in everybody)
        if owners > 1:
            together.append(asyncio.get_running_loop().time())

    replicas = [another() for _ in range(3)]
    for _ in range(40):
        await asyncio.sleep(rng.uniform(0.1, 12))
        place = rng.randrange(3)
        replica = replicas[place]
        what = rng.choice(["pause", "outage", "lost answers", "stop", "kill", "calm"])
        if what == "pause":
            replica.machine.stop()
        elif what == "outage":
            replica.line.error = Unavailable("simulated")
        elif what == "lost answers":
            replica.line.loses_answers = True
        elif what in ("stop", "kill"):
            replica.machine.go()
            await (replica.stop() if what == "stop" else replica.kill())
            replicas[place] = another()
        else:
            calm(replica)
    for replica in replicas:
        calm(replica)
    await asyncio.sleep(60)
    owners = [replica.owner.holds() for replica in replicas]
    for replica in replicas:
        await replica.stop()
    assert together == []
    assert owners.count(True) == 1

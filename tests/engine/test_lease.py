"""One owner by a lease, on a virtual clock: who takes it, keeps it, loses it, and that there are never two."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import pytest

from agent.api.meta import Key, Object
from agent.clock import LoopClock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, Kind
from agent.engine.lease import LeaseOwner, Terms
from agent.errors import Forbidden, NotFound, Unavailable
from tests.simulation.virtual import run

pytestmark = pytest.mark.looptime(start=0)
T = TypeVar("T")

EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)
LEASE = KINDS["Lease"]
WEB = Key("shop", "web")
TERMS = Terms(name="serinus", namespace="ops", identity="")


class Machine:
    """A clock of its own: it may be hours off, run faster, and the process on it may stand still."""

    def __init__(self, *, skew: timedelta = timedelta(0), rate: float = 1.0) -> None:
        self._loop = LoopClock(EPOCH + skew)
        self._rate = rate
        self._moves = asyncio.Event()
        self._moves.set()

    def now(self) -> datetime:
        return self._loop.now()

    def monotonic(self) -> float:
        return self._loop.monotonic() * self._rate

    async def sleep(self, seconds: float) -> None:
        await self._loop.sleep(seconds / self._rate)
        await self.moves()

    def stop(self) -> None:
        """As SIGSTOP does."""
        self._moves.clear()

    def go(self) -> None:
        """As SIGCONT does."""
        self._moves.set()

    async def moves(self) -> None:
        """Wait while it stands still; a deadline that passes meanwhile is noticed afterwards only."""
        while not self._moves.is_set():
            try:
                await self._moves.wait()
            except asyncio.CancelledError:
                await self._moves.wait()
                raise


class Line(LocalCluster):
    """One process's line to the cluster of all."""

    def __init__(self, store: LocalCluster, machine: Machine, rng: random.Random) -> None:
        self._store = store
        self._machine = machine
        self._rng = rng
        self.latency = 0.01
        self.error: Exception | None = None
        self.loses_answers = False
        self.answer_seconds = 0.0
        self.writes = 0

    async def get(self, kind: Kind, namespace: str, name: str, **options: Any) -> Object:
        return await self._over(lambda: self._store.get(kind, namespace, name))

    async def create(self, kind: Kind, obj: Object) -> Object:
        self.writes += 1
        return await self._over(lambda: self._store.create(kind, obj), writes=True)

    async def merge_patch(self, *args: Any, **options: Any) -> Object:
        self.writes += 1
        del options["urgent"]
        return await self._over(lambda: self._store.merge_patch(*args, **options), writes=True)

    async def _over(self, call: Callable[[], Awaitable[T]], *, writes: bool = False) -> T:
        if (error := self.error) is not None:
            await self._machine.sleep(self._delay())
            raise error
        # What was sent is carried out, although the sender may stop waiting for it.
        answer = await asyncio.shield(asyncio.ensure_future(self._arriving(call)))
        await self._machine.sleep(self._delay() + self.answer_seconds)
        if writes and self.loses_answers:
            raise Unavailable("simulated: the answer was lost")
        return answer

    async def _arriving(self, call: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(self._delay())
        return await call()

    def _delay(self) -> float:
        return self._rng.uniform(0, self.latency)


class Replica:
    """A process that wants the lease."""

    def __init__(
        self,
        store: LocalCluster,
        name: str,
        rng: random.Random | None = None,
        *,
        machine: Machine | None = None,
        **options: Any,
    ) -> None:
        self.machine = machine or Machine()
        self.line = Line(store, self.machine, rng or random.Random(name))
        self.changes: list[str] = []
        terms = msgspec.structs.replace(TERMS, identity=name)
        self.owner = LeaseOwner(
            self.line, self.machine, terms, counted=self.changes.append, **options
        )
        self.heard: list[tuple[float, bool]] = []
        now = asyncio.get_running_loop().time
        self.owner.on_change(lambda: self.heard.append((now(), self.owner.owns(WEB))))
        self._task: asyncio.Task[None] | None = None
        self._end = asyncio.Event()

    def start(self) -> None:
        self._end.clear()
        self._task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group, self.owner.campaigning(group):
            await self._end.wait()

    async def stop(self) -> None:
        """SIGTERM."""
        self._end.set()
        assert self._task is not None
        await self._task
        self._task = None

    async def kill(self) -> None:
        """SIGKILL: nothing it does reaches the cluster any more."""
        self.line.error = Unavailable("simulated: dead")
        self.machine.go()
        await self.stop()
        self.changes.clear()


@pytest.fixture
async def store() -> LocalCluster:
    return LocalCluster(LoopClock(EPOCH))


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    for replica in replicas:
        replica.start()
        await asyncio.sleep(1)
    try:
        yield
    finally:
        for replica in replicas:
            if replica._task is not None:
                await replica.stop()


def spec(store: LocalCluster) -> dict[str, Any]:
    lease = store.peek("Lease", "ops", "serinus")
    assert lease is not None
    found: dict[str, Any] = lease["spec"]
    return found


async def until_owner(replica: Replica, within: float = 30) -> float:
    """Seconds until it drives."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(within):
        while not replica.owner.holds():
            await asyncio.sleep(0.01)
    return asyncio.get_running_loop().time() - began


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


def calm(replica: Replica) -> None:
    replica.machine.go()
    replica.line.error = None
    replica.line.loses_answers = False
    replica.line.latency = 0.05

"""The records of one Kafka partition that are under way, in virtual time."""

import asyncio

import pytest

from agent.bus.kafka.lanes import PartitionLanes
from agent.bus.metrics import BusMeter
from agent.bus.port import Record
from agent.errors import Unavailable

pytestmark = pytest.mark.looptime(start=0)


def a_record(offset: int, key: bytes | None = b"k") -> Record:
    return Record(topic="t", key=key, value=b"v", partition=0, offset=offset)


class Given:
    """Lanes over a receiver that takes a second, except for what it is told to refuse."""

    def __init__(self, limit: int = 100, parallel: int = 16) -> None:
        self.taken: list[tuple[float, int]] = []
        self.began: list[int] = []
        self.failing: dict[int, list[Exception]] = {}
        self.progress = 0
        self.lanes = PartitionLanes(
            self.receive, self._progressed, limit=limit, parallel=parallel, meter=BusMeter()
        )

    def _progressed(self) -> None:
        self.progress += 1

    async def receive(self, record: Record) -> None:
        self.began.append(record.offset)
        failures = self.failing.get(record.offset)
        if failures:
            raise failures.pop(0)
        await asyncio.sleep(1)
        self.taken.append((asyncio.get_running_loop().time(), record.offset))


async def test_records_of_a_key_come_one_after_the_other_and_keys_side_by_side() -> None:
    given = Given()
    for offset, key in enumerate([b"a", b"b", b"a", None, b"b", None]):
        given.lanes.put(a_record(offset, key), 0)
    await asyncio.sleep(10)
    assert given.taken == [(1, 0), (1, 1), (1, 3), (2, 2), (2, 4), (2, 5)]
    assert (given.lanes.mark, given.lanes.free, given.lanes.oldest) == (6, 100, None)


async def test_only_so_many_at_a_time() -> None:
    given = Given(parallel=2)
    for offset in range(4):
        given.lanes.put(a_record(offset, b"%d" % offset), 0)
    await asyncio.sleep(10)
    assert [at for at, _ in given.taken] == [1, 1, 2, 2]


async def test_what_is_later_holds_back_its_key_and_the_mark_but_no_other_key() -> None:
    given = Given()
    given.failing[0] = [Unavailable("later", retry_after_seconds=5)]
    for offset, key in enumerate([b"a", b"a", b"b"]):
        given.lanes.put(a_record(offset, key), float(offset))
    await asyncio.sleep(3)
    assert given.taken == [(1, 2)]
    assert (given.lanes.mark, given.lanes.oldest) == (0, 0.0)
    await asyncio.sleep(10)
    assert given.taken == [(1, 2), (6, 0), (7, 1)]
    assert given.lanes.mark == 3


async def test_a_bug_of_the_receiver_loses_no_record() -> None:
    given = Given()
    given.failing[0] = [KeyError("bug"), KeyError("bug")]
    given.lanes.put(a_record(0), 0)
    await asyncio.sleep(5)
    assert given.began == [0, 0, 0]
    assert [offset for _, offset in given.taken] == [0]


async def test_no_more_is_taken_than_there_is_room_for() -> None:
    given = Given(limit=2)
    given.lanes.put(a_record(0), 0)
    await given.lanes.room()
    given.lanes.put(a_record(1), 0)
    assert given.lanes.free == 0
    await given.lanes.room()
    assert asyncio.get_running_loop().time() == 1


async def test_a_stop_waits_for_what_has_begun_and_begins_nothing_more() -> None:
    given = Given()
    for offset in range(3):
        given.lanes.put(a_record(offset), 0)
    given.failing[3] = [Unavailable("later", retry_after_seconds=100)]
    given.lanes.put(a_record(3, b"other"), 0)
    await asyncio.sleep(0.5)
    assert await given.lanes.stop(5)
    assert asyncio.get_running_loop().time() == 1
    assert (given.began, given.taken, given.lanes.mark) == ([0, 3], [(1, 0)], 1)
    given.lanes.put(a_record(4), 0)
    await asyncio.sleep(5)
    assert given.began == [0, 3]


async def test_what_does_not_end_in_time_is_cut_off_and_not_done() -> None:
    given = Given()
    given.lanes.put(a_record(0), 0)
    await asyncio.sleep(0)
    assert not await given.lanes.stop(0.5)
    assert (given.taken, given.lanes.mark) == ([], 0)


async def test_an_offset_that_is_passed_over_counts_as_done() -> None:
    given = Given()
    given.lanes.skip(7)
    assert (given.lanes.mark, given.progress) == (8, 1)


async def test_offsets_that_are_nobodys_are_committed_with_what_is_before_them() -> None:
    given = Given()
    given.lanes.put(a_record(5), 0)
    given.lanes.passed(9)
    assert given.lanes.mark == 5, "not past what is under way"
    await asyncio.sleep(2)
    assert (given.lanes.mark, given.progress) == (9, 1)
    given.lanes.passed(12)
    assert (given.lanes.mark, given.progress) == (12, 2)
    given.lanes.passed(12)
    assert given.progress == 2, "nothing to commit"


async def test_what_comes_while_it_stops_is_not_passed_over() -> None:
    given = Given()
    given.lanes.put(a_record(5), 0)
    await asyncio.sleep(2)
    await given.lanes.stop(1)
    given.lanes.put(a_record(6), 0)
    given.lanes.passed(7)
    assert given.lanes.mark == 6


async def test_an_idle_partition_stops_at_once() -> None:
    assert await Given().lanes.stop(1)

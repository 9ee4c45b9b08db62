"""High-water marks: written down, bounded, and shared by compare-and-swap."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.meta import Key
from agent.clock import LoopClock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.engine.companion import marks as subject
from agent.engine.companion.marks import Mark, bounded, decode, encode, is_news, member_of
from agent.engine.companion.store import NAME, MarkStore
from agent.engine.outbox import Entry
from agent.errors import Conflict
from agent.rollout.sighting import Sighting


def resting(name: str, version: int = 1) -> Mark:
    seen = Sighting(uid="u", version=str(version), current="a", stable="a")
    return Mark(rollout=f"shop/{name}", seen=seen)


def moving(name: str, *transitions: str, size: int = 1000) -> Mark:
    seen = Sighting(uid="u", version="5", current="b", stable="a")
    waiting = tuple(
        Entry(id=f"{name}-{n}", type=f"dev.serinus.rollout.{kind}.v1", event="x" * size)
        for n, kind in enumerate(transitions)
    )
    return Mark(rollout=f"shop/{name}", seen=seen, waiting=waiting)


def test_a_mark_is_read_as_it_was_written() -> None:
    for mark in (resting("web"), moving("web", "started", "weight"), Mark(rollout="shop/gone")):
        read = decode(encode(mark))
        assert (read.rollout, read.seen, read.waiting) == (mark.rollout, mark.seen, mark.waiting)
        assert read.key == Key.of({"metadata": {"namespace": "shop", "name": mark.key.name}})
        assert not is_news(read, mark)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"rollout":"a/b","v":2}', '{"rollout":5,"v":1}'])
def test_what_is_no_mark_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="mark"):
        decode(text)


def test_a_member_has_a_name_that_a_config_map_can_have_and_no_other_rollout() -> None:
    assert member_of(Key("shop", "web")) == "shop_web"
    assert len(member_of(Key("n" * 63, "r" * 253))) <= 253
    assert member_of(Key("a", "b-c")) != member_of(Key("a-b", "c"))


def test_a_version_in_which_nothing_changed_is_not_stored() -> None:
    assert not is_news(decode(encode(resting("web", 1))), resting("web", 2))
    assert is_news(None, resting("web"))
    assert is_news(resting("web"), moving("web"))
    assert is_news(resting("web"), Mark(rollout="shop/web"))


def _sizes(marks: dict[Key, Mark]) -> int:
    return sum(len(member_of(key)) + len(encode(mark)) for key, mark in marks.items())


def _after(marks: dict[Key, Mark], changes: dict[Key, Mark | None]) -> dict[Key, Mark]:
    return {key: mark for key, mark in {**marks, **changes}.items() if mark is not None}


def test_rollouts_at_rest_are_forgotten_first_the_oldest_of_them_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks = {mark.key: mark for mark in (resting(f"r{n}", n) for n in range(10))}
    marks |= {mark.key: mark for mark in (moving("m1"), moving("m2"))}
    monkeypatch.setattr(subject, "MAX_BYTES", _sizes(marks) + 100)
    new = moving("new", "started", "weight", size=200)
    after = _after(marks, bounded(marks, {new.key: new}))
    assert after[new.key] == new
    assert {Key("shop", "m1"), Key("shop", "m2")} <= set(after)
    left = sorted(key.name for key in after if key.name.startswith("r"))
    assert left == [f"r{n}" for n in range(10 - len(left), 10)]
    assert len(left) < 10


def test_what_tells_of_a_rollback_is_dropped_by_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    full = moving("web", "started", *["weight"] * 8, "aborted", "rolledback")
    monkeypatch.setattr(subject, "MAX_BYTES", 3000)
    after = _after({}, bounded({}, {full.key: full}))
    assert [entry.transition for entry in after[full.key].waiting] == ["aborted", "rolledback"]


@given(st.lists(st.integers(0, 12), max_size=12), st.integers(500, 20_000))
def test_bounds_are_kept_as_far_as_anything_may_go(counts: list[int], most: int) -> None:
    made = [moving(f"w{n}", *["weight"] * count, size=300) for n, count in enumerate(counts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "MAX_BYTES", most)
        after = _after({}, bounded({}, {mark.key: mark for mark in made}))
    assert len(after) == len(made), "no rollout on its way is forgotten"
    assert _sizes(after) <= most or not any(mark.waiting for mark in after.values())


async def test_a_swap_on_what_another_replica_has_written_is_lost() -> None:
    cluster = LocalCluster(LoopClock(datetime(2026, 5, 1, tzinfo=UTC)))
    one, other = MarkStore(cluster, "serinus"), MarkStore(cluster, "serinus")
    await one.load()
    await other.load()
    web, api = resting("web"), resting("api")
    await one.swap({web.key: web})
    with pytest.raises(Conflict):
        await other.swap({api.key: api})
    await other.load()
    assert set(other.marks) == {web.key}
    await other.swap({api.key: api})
    with pytest.raises(Conflict):
        await one.swap({web.key: None})
    await one.load()
    await one.swap({web.key: None})
    await other.load()
    assert set(other.marks) == {api.key}


async def test_members_that_are_no_marks_are_left_alone() -> None:
    cluster = LocalCluster(LoopClock(datetime(2026, 5, 1, tzinfo=UTC)))
    body = {"metadata": {"name": NAME, "namespace": "serinus"}, "data": {"x": "{", "y_z": "hello"}}
    await cluster.create(KINDS["ConfigMap"], body)
    store = MarkStore(cluster, "serinus")
    await store.load()
    assert store.marks == {}
    await store.swap({Key("shop", "web"): resting("web")})
    found = await cluster.get(KINDS["ConfigMap"], "serinus", NAME)
    assert set(found["data"]) == {"x", "y_z", "shop_web"}


async def test_marks_are_forgotten_but_for_those_whose_announcements_wait() -> None:
    cluster = LocalCluster(LoopClock(datetime(2026, 5, 1, tzinfo=UTC)))
    store = MarkStore(cluster, "serinus")
    waits, web = moving("api", "started"), resting("web")
    assert await store.forget()
    await store.swap({web.key: web, waits.key: waits})
    assert not await store.forget()
    assert set(store.marks) == {waits.key}
    await store.swap({waits.key: resting("api")})
    assert await store.forget()

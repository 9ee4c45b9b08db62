"""What may be committed while records are done out of order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bus.offsets import LowWater


@pytest.mark.parametrize(
    ("taken", "done", "mark"),
    [
        ([], [], None),
        ([5], [], 5),
        ([5], [5], 6),
        ([5, 6, 7], [7, 6], 5),
        ([5, 6, 7], [5, 7], 6),
        ([5, 9], [5], 9),
        ([5, 9], [5, 9], 10),
    ],
    ids=[
        "nothing before anything was taken",
        "not what is under way",
        "what is done",
        "nothing behind one that is under way",
        "up to the first that is under way",
        "offsets that are nobody's are passed over",
        "one past the last",
    ],
)
def test_the_mark_is(taken: list[int], done: list[int], mark: int | None) -> None:
    water = LowWater()
    for offset in taken:
        water.taken(offset)
    for offset in done:
        water.done(offset)
    assert water.mark == mark
    assert water.under_way == len(taken) - len(done)


def test_what_was_not_taken_is_passed_and_never_what_is_under_way() -> None:
    water = LowWater()
    water.passed(3)
    assert water.mark == 3
    water.taken(5)
    water.passed(8)
    assert water.mark == 5
    water.done(5)
    assert water.mark == 8
    water.passed(4)
    assert water.mark == 8, "it never falls"
    with pytest.raises(ValueError, match="offset 7 was taken before"):
        water.taken(7)


def test_an_offset_is_taken_once_and_done_once() -> None:
    water = LowWater()
    water.taken(5)
    with pytest.raises(ValueError, match="offset 5 was taken before"):
        water.taken(5)
    water.done(5)
    with pytest.raises(KeyError):
        water.done(5)


@given(st.lists(st.integers(0, 1000), unique=True, min_size=1), st.randoms())
def test_no_record_that_is_not_done_is_ever_committed(offsets: list[int], random: object) -> None:
    water = LowWater()
    for offset in sorted(offsets):
        water.taken(offset)
    open_ = set(offsets)
    random.shuffle(offsets)  # type: ignore[attr-defined]  # hypothesis types its Random as object
    marks = [water.mark or 0]
    for offset in offsets:
        water.done(offset)
        open_.remove(offset)
        mark = water.mark
        assert mark is not None
        assert not any(other < mark for other in open_)
        marks.append(mark)
    assert marks == sorted(marks)
    assert marks[-1] == max(offsets) + 1

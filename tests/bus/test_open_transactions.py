"""Which open transactions are told of."""

from agent.bus.kafka.open_transactions import TOLD_AFTER_SECONDS, OpenTransactions


def test_one_that_stays_open_is_told_once() -> None:
    open_ = OpenTransactions()
    assert open_.overdue({3: 17}, 100) == []
    assert open_.overdue({3: 17}, 100 + TOLD_AFTER_SECONDS - 1) == []
    assert open_.overdue({3: 17}, 100 + TOLD_AFTER_SECONDS) == [3]
    assert open_.overdue({3: 17}, 200) == []


def test_one_after_the_other_is_no_open_one() -> None:
    open_ = OpenTransactions()
    assert [open_.overdue({3: number}, float(number)) for number in range(40)] == [[]] * 40


def test_the_next_one_is_told_again_and_partitions_are_told_apart() -> None:
    open_ = OpenTransactions()
    open_.overdue({1: 5, 2: 9}, 0)
    assert open_.overdue({1: 5, 2: 9}, 10) == [1, 2]
    assert open_.overdue({2: 9}, 11) == []
    assert open_.overdue({1: 7, 2: 9}, 12) == []
    assert open_.overdue({1: 7, 2: 9}, 22) == [1]


def test_the_same_place_held_back_again_is_a_new_one() -> None:
    open_ = OpenTransactions()
    open_.overdue({1: 5}, 0)
    assert open_.overdue({1: 5}, 10) == [1]
    assert open_.overdue({}, 11) == []
    assert open_.overdue({1: 5}, 12) == []
    assert open_.overdue({1: 5}, 22) == [1]

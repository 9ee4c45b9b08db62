"""What is remembered of alerts: of two words about one firing the one that came in later counts."""

from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import msgspec
import pytest

from agent.api.holds import Hold
from agent.events.catalogue import Alert
from handlers.alert.memory import (
    MAX_BYTES,
    MAX_FIRING,
    MAX_OVER,
    Firing,
    Memory,
    Over,
    read_memory,
)

BEGIN = datetime(2026, 5, 1, 10, tzinfo=UTC)
ALERT = Alert(fingerprint="f", starts_at="2026-05-01T10:00:00Z", labels={"alertname": "Down"})
OTHER = msgspec.structs.replace(ALERT, fingerprint="g")
LATER = msgspec.structs.replace(ALERT, starts_at="2026-05-01T10:00:00.5Z")

Word = tuple[bool, int]
"""Whether it fires, and the second at which that came in."""


def at(second: int) -> datetime:
    return BEGIN + timedelta(seconds=second)


def heard(memory: Memory, word: Word, alert: Alert = ALERT) -> Memory:
    """The memory after a word, which may count or not."""
    fires, second = word
    if fires:
        made = memory.fires(alert, at(second))
    else:
        made = memory.ends(alert, at(second), remember=True)
    return memory if made is None else made


def fires(memory: Memory) -> list[Alert]:
    return [item.alert for item in memory.firing]


@pytest.mark.parametrize("last", [True, False], ids=["fires", "is over"])
def test_whatever_the_order_of_arrival_the_last_word_counts(last: bool) -> None:
    words = [(True, 0), (False, 10), (True, 20), (last, 30)]
    for order in permutations(words):
        memory = Memory()
        for word in order:
            memory = heard(memory, word)
        assert (fires(memory) == [ALERT], memory.over == ()) == (last, last), order
        # And once more, as a bus does that was not told that they were taken.
        for again in product(words, repeat=2):
            kept = heard(heard(memory, again[0]), again[1])
            assert fires(kept) == fires(memory), (order, again)


def test_of_two_words_at_the_same_moment_the_one_that_arrives_last_counts() -> None:
    both = heard(heard(Memory(), (False, 1)), (True, 1))
    assert fires(both) == [ALERT]
    assert fires(heard(both, (False, 1))) == []


@pytest.mark.parametrize("other", [OTHER, LATER], ids=["another one", "it fires anew"])
def test_other_firings_are_other_things(other: Alert) -> None:
    memory = heard(heard(heard(Memory(), (True, 0)), (True, 0), other), (False, 1))
    assert fires(memory) == [other]
    assert memory.is_over(ALERT, at(0))
    assert not memory.is_over(other, at(0))


def test_an_instant_may_be_spelled_in_several_ways() -> None:
    spelled = msgspec.structs.replace(ALERT, starts_at="2026-05-01T12:00:00.000+02:00")
    assert fires(heard(heard(Memory(), (True, 0)), (False, 1), spelled)) == []


def test_what_is_no_time_is_the_same_as_itself() -> None:
    soon = msgspec.structs.replace(ALERT, starts_at="soon")
    memory = heard(heard(heard(Memory(), (True, 0)), (True, 0), soon), (False, 1), soon)
    assert fires(memory) == [ALERT]


def test_holds_of_an_alert_that_is_over_have_ended() -> None:
    holds = [
        Hold(fingerprint=alert.fingerprint, starts_at=alert.starts_at, since="", alert="Down")
        for alert in (ALERT, OTHER, LATER)
    ]
    memory = heard(heard(Memory(), (False, 0)), (True, 0), OTHER)
    assert memory.ended(holds) == holds[:1]


def test_an_end_without_a_beginning_is_remembered_only_when_it_may_matter() -> None:
    assert Memory().ends(ALERT, at(0), remember=False) == Memory()
    assert heard(Memory(), (False, 0)).over != ()


def test_what_does_not_fit_is_the_oldest() -> None:
    memory = Memory()
    for number in range(MAX_FIRING + MAX_OVER):
        alert = msgspec.structs.replace(ALERT, fingerprint=str(number))
        memory = heard(heard(memory, (True, number), alert), (number % 2 == 0, number), alert)
    assert (len(memory.firing), len(memory.over)) == (MAX_FIRING, MAX_OVER)
    wide = msgspec.structs.replace(ALERT, annotations={"summary": "x" * (MAX_BYTES // 3)})
    for number in range(3):
        alert = msgspec.structs.replace(wide, fingerprint=f"wide-{number}")
        memory = heard(memory, (True, number), alert)
    memory = memory.bounded()
    assert [alert.fingerprint for alert in fires(memory)] == ["wide-1", "wide-2"]
    assert len(memory.over) == MAX_OVER
    memory = heard(memory, (False, 9)).bounded()
    assert len(memory.over) == MAX_OVER
    assert memory.is_over(ALERT, at(0))


def test_it_is_stored_and_read() -> None:
    memory = heard(heard(Memory(), (True, 0)), (False, 1), OTHER)
    assert memory == Memory(
        (Firing(at(0), ALERT),), (Over(at(1), OTHER.fingerprint, OTHER.starts_at),)
    )
    assert read_memory(msgspec.json.encode(memory).decode()) == memory


@pytest.mark.parametrize(
    "text",
    [
        "?",
        "[]",
        '{"over": [{"told": "yesterday", "fingerprint": "f", "startsAt": "2026-05-01T10:00:00Z"}]}',
        '{"over": [{"told": "2026-05-01T10:00:00", "fingerprint": "f", "startsAt": "2026-05-01T10:00:00Z"}]}',
    ],
    ids=["no JSON", "a list", "no time", "no zone"],
)
def test_what_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_memory(text)

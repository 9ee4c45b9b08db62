"""Aborts that the engine beside us does not carry out, from what it stores."""

from typing import Any

import pytest

from agent.events.catalogue import Cause
from agent.rollout.sighting import Look, waits_for_abort
from tests.rollout.sightings import a_look, names, walk

ALERT = Cause(kind="alert", summary="alert Down", event_id="e1")
DECIDED = "2026-05-01T10:00:00.500Z"
EARLY, LATE = "2026-05-01T10:00:20Z", "2026-05-01T10:00:20.500Z"
NOTED = "2026-05-01T10:00:01Z"


def at(now: str, **fields: Any) -> Look:
    """A version whose abort we have asked for, looked at then."""
    state: dict[str, Any] = {
        "version": 3,
        "weight": 20,
        "abort": True,
        "decided_at": DECIDED,
        "cause": ALERT,
    }
    return a_look(now=now, **{**state, **fields})


EXPOSED = a_look(version=2, weight=20)


def test_it_is_told_once_when_it_is_late_with_cause_and_weight() -> None:
    told = walk(EXPOSED, at(EARLY), at(LATE), at("2026-05-01T10:05:00Z"))
    assert names(told) == ["aborted", "unheeded"]
    data = told[1].announcement.data
    assert data.cause == ALERT
    assert data.weights is not None
    assert (data.weights.before, data.weights.after) == (20, 20)
    assert data.timings is not None
    assert data.timings.decided_at == DECIDED


def test_what_comes_of_it_later_is_told_as_ever() -> None:
    told = walk(EXPOSED, at(LATE), at(LATE, version=4, weight=0, abortedAt=NOTED))
    assert names(told) == ["aborted", "unheeded", "weight", "rolledback"]


def test_the_next_attempt_s_is_another_one() -> None:
    again = "2026-05-01T11:00:00Z"
    told = walk(
        EXPOSED,
        at(LATE),
        a_look(version=5, weight=20),
        at("2026-05-01T11:00:20Z", version=6, decided_at=again),
    )
    assert names(told) == ["aborted", "unheeded", "started", "aborted", "unheeded"]
    first, second = (item for item in told if item.announcement.transition == "unheeded")
    assert first.identity != second.identity


@pytest.mark.parametrize(
    "look",
    [
        at(EARLY),
        at(LATE, abort=False),
        at(LATE, decided_at=None),
        at(LATE, weight=0, abortedAt=NOTED),
        at(LATE, stable="b"),
        a_look(version=3, weight=20, abort=True, decided_at=DECIDED),
    ],
    ids=["early", "no abort", "not ours", "carried out", "promoted meanwhile", "without a time"],
)
def test_it_is_not_told_of(look: Look) -> None:
    assert "unheeded" not in names(walk(EXPOSED, look))


def test_an_engine_that_has_noted_it_but_cannot_move_the_weight_has_not_carried_it_out() -> None:
    assert names(walk(EXPOSED, at(LATE, abortedAt=NOTED))) == ["aborted", "unheeded"]


def test_without_weights_the_engine_s_note_says_that_it_acts() -> None:
    assert "unheeded" in names(walk(EXPOSED, at(LATE, weight=None)))
    assert "unheeded" not in names(walk(EXPOSED, at(LATE, weight=None, abortedAt=NOTED)))


def test_with_dynamic_stable_scale_the_weight_follows_the_stable_pods() -> None:
    assert waits_for_abort(a_look(abort=True, weight=20, dynamic=True).rollout)
    noted = a_look(abort=True, weight=20, dynamic=True, abortedAt=NOTED)
    assert not waits_for_abort(noted.rollout)


@pytest.mark.parametrize("text", ["soon", "2026-05-01T10:00:00", "9999-12-31T23:59:59Z"])
def test_a_note_that_somebody_wrote_by_hand_is_no_time(text: str) -> None:
    assert names(walk(EXPOSED, at(LATE, decided_at=text))) == ["aborted"]

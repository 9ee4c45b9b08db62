"""What is told of a rollout that another engine drives, from what it stores."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.events.catalogue import Cause
from agent.rollout.sighted import follow
from agent.rollout.sighting import Look
from tests.rollout.sightings import PAUSE, a_look, a_run, names, progressing, walk

REST = a_look(version=1, current="a", stable="a", revision="1", currentStepIndex=4)
ALERT = Cause(kind="alert", summary="alert Down", event_id="e1")


def test_what_is_seen_first_is_taken_as_it_is() -> None:
    assert walk(a_look(abort=True, weight=20)) == []
    other = a_look(version=9, weight=60)
    seen, _ = follow(None, REST)
    assert follow(seen.__class__(uid="another", current="x", stable="x"), other)[1] == ()


def test_a_good_version_from_its_start_to_its_end() -> None:
    told = walk(
        REST,
        a_look(version=2, currentStepIndex=0),
        a_look(version=3, currentStepIndex=1, weight=20, **PAUSE),
        a_look(version=4, currentStepIndex=2, weight=20),
        a_look(version=5, currentStepIndex=3, weight=60),
        a_look(version=6, currentStepIndex=4, weight=100),
        a_look(version=7, currentStepIndex=4, weight=100, stable="b"),
        a_look(version=8, currentStepIndex=4, weight=0, stable="b"),
    )
    assert names(told) == [
        "started", "weight", "step", "paused", "step", "resumed", "weight", "step", "weight", "step",
        "promoted", "completed", "weight",
    ]  # fmt: skip
    steps = [item.announcement.data.step for item in told if item.announcement.transition == "step"]
    assert [(step.index, step.text) for step in steps if step] == [
        (0, "setWeight: 20"), (1, "pause"), (2, "setWeight: 60"), (3, "pause"),
    ]  # fmt: skip
    old = told[-2].announcement.data.old
    assert old is not None
    assert old.images == ["web:a"]


def test_what_happened_while_nobody_looked_is_told_as_far_as_it_can_be_seen() -> None:
    late = a_look(version=9, currentStepIndex=3, weight=60, **PAUSE)
    assert names(walk(REST, late)) == ["started", "weight", "step", "step", "step", "paused"]
    promoted = a_look(version=9, currentStepIndex=4, stable="b")
    assert names(walk(REST, promoted)) == ["started", "promoted", "completed"]
    aborted = a_look(version=9, currentStepIndex=0, abort=True, weight=0)
    assert names(walk(REST, aborted)) == ["started", "aborted"]


def test_a_first_deployment_is_completed_and_nothing_else() -> None:
    empty = a_look(version=1, current="", stable="", revision="", weight=None)
    deployed = a_look(version=2, current="a", stable="a", revision="1", currentStepIndex=4)
    under_way = a_look(version=2, current="a", stable="", revision="1", currentStepIndex=0)
    assert names(walk(empty, deployed)) == ["completed"]
    assert names(walk(empty, under_way, deployed)) == ["completed"]


def test_an_abort_and_what_becomes_of_it() -> None:
    told = walk(
        REST,
        a_look(version=2, currentStepIndex=1, weight=20),
        a_look(version=3, currentStepIndex=1, weight=20, abort=True, cause=ALERT),
        a_look(version=4, currentStepIndex=0, weight=0, abort=True, cause=ALERT),
    )
    assert names(told)[-3:] == ["aborted", "weight", "rolledback"]
    assert [item.announcement.data.cause for item in told[-3:]] == [ALERT, None, ALERT]


def _cause(**fields: Any) -> Cause:
    told = walk(REST, a_look(version=2), a_look(version=3, abort=True, **fields))
    (aborted,) = [item for item in told if item.announcement.transition == "aborted"]
    cause = aborted.announcement.data.cause
    assert cause is not None
    return cause


FAILED = {
    "canary": {"currentStepAnalysisRunStatus": {"name": "r", "status": "Failed", "message": "bad"}}
}


@pytest.mark.parametrize(
    ("fields", "kind", "summary"),
    [
        pytest.param({}, "command", "abort by a person or a tool", id="nothing is left of who did it"),
        pytest.param({"cause": ALERT, **FAILED}, "alert", "alert Down", id="our own intent"),
        pytest.param(FAILED, "analysis", "analysis r is Failed: bad", id="an analysis that failed"),
        pytest.param(
            {"conditions": [progressing("RolloutAborted", "Rollout aborted update to revision 2: Metric x")]},
            "analysis", "Metric x", id="what Argo says",
        ),
        pytest.param(
            {"conditions": [progressing("RolloutAborted", 'Rollout aborted update to revision 2: ReplicaSet "w" has timed out progressing.')]},
            "deadline", 'ReplicaSet "w" has timed out progressing.', id="a deadline",
        ),
        pytest.param(
            {"conditions": [progressing("RolloutAborted", "Rollout aborted update to revision 2")]},
            "command", "abort by a person or a tool", id="Argo says nothing",
        ),
    ],
)  # fmt: skip
def test_why_it_was_aborted(fields: dict[str, Any], kind: str, summary: str) -> None:
    cause = _cause(weight=None, **fields)
    assert (cause.kind, cause.summary) == (kind, summary)


def test_a_retry_is_a_run_of_its_own() -> None:
    first = [
        a_look(version=2, currentStepIndex=1, weight=20),
        a_look(version=3, currentStepIndex=0, weight=0, abort=True),
    ]
    again = [
        a_look(version=4, currentStepIndex=0, weight=0),
        a_look(version=5, currentStepIndex=1, weight=20),
        a_look(version=6, currentStepIndex=0, weight=0, abort=True),
    ]
    told = walk(REST, *first, *again)
    assert names(told) == [
        "started", "weight", "step", "aborted", "weight", "rolledback",
        "started", "weight", "step", "aborted", "weight", "rolledback",
    ]  # fmt: skip
    assert len({item.identity for item in told}) == len(told)
    cause = told[6].announcement.data.cause
    assert cause is not None
    assert cause.summary == "retry"


def test_going_back_to_the_stable_version_starts_nothing() -> None:
    told = walk(REST, a_look(version=2, weight=20), a_look(version=3, current="a", revision="3"))
    assert names(told) == ["started", "weight", "weight"]


def test_a_leap_to_the_end_completes_no_steps() -> None:
    in_window = a_look(version=2, currentStepIndex=4, weight=100)
    assert "step" not in names(walk(REST, in_window))
    full = a_look(version=3, currentStepIndex=4, weight=20, promoteFull=True)
    assert "step" not in names(walk(REST, a_look(version=2, currentStepIndex=0), full))


def test_a_step_that_is_done_a_second_time_is_told_a_second_time() -> None:
    told = walk(
        REST, a_look(version=2, currentStepIndex=2), a_look(version=3, currentStepIndex=0),
        a_look(version=4, currentStepIndex=1),
    )  # fmt: skip
    assert names(told) == ["started", "step", "step", "step"]
    assert len({item.identity for item in told}) == len(told)


def test_a_weight_that_comes_and_goes_is_told_every_time() -> None:
    looks = [a_look(version=2 + n, currentStepIndex=1, weight=20 * (n % 2)) for n in range(6)]
    told = walk(REST, *looks)
    assert names(told).count("weight") == 5
    assert len({item.identity for item in told}) == len(told)


def _spec_paused(at: str) -> dict[str, str]:
    return {"type": "Paused", "status": "True", "lastTransitionTime": at}


def test_pauses_of_steps_and_of_people() -> None:
    by_hand: dict[str, Any] = {"paused": True, "conditions": [_spec_paused("2026-05-01T11:00:00Z")]}
    unacknowledged = a_look(version=2, paused=True)
    told = walk(
        REST, unacknowledged, a_look(version=3, **by_hand), a_look(version=4, **by_hand, **PAUSE),
        a_look(version=5, paused=False, **PAUSE), a_look(version=6),
    )  # fmt: skip
    assert names(told) == ["started", "paused", "resumed", "paused", "resumed"]


def test_the_pause_of_a_hold_is_told_as_a_hold() -> None:
    hold = '[{"fingerprint":"f","startsAt":"t","since":"s","alert":"Noisy","reason":"r"}]'
    held: dict[str, Any] = {
        "paused": True,
        "annotations": {"serinus.dev/holds": hold, "serinus.dev/paused-by-hold": "2026"},
        "conditions": [_spec_paused("2026-05-01T11:00:00Z")],
    }
    told = walk(REST, a_look(version=2), a_look(version=3, **held), a_look(version=4))
    assert names(told) == ["started", "held", "released"]
    cause = told[1].announcement.data.cause
    assert cause is not None
    assert cause.summary == "held by Noisy"


def test_an_analysis_is_told_once_and_only_when_it_is_of_this_revision() -> None:
    old = a_run("old", "Failed", revision="1")
    running, ended = a_run("one", "Running"), a_run("one", "Successful")
    failed = a_run("two", "Failed", message="bad")
    told = walk(
        REST, a_look(version=2, runs=(old, running)), a_look(version=2, runs=(old, ended)),
        a_look(version=3, runs=()), a_look(version=4, runs=(ended, failed)),
    )  # fmt: skip
    assert names(told) == ["started", "analysis", "analysis"]
    causes = [item.announcement.data.cause for item in told[1:]]
    assert [cause.summary for cause in causes if cause] == [
        "analysis one is Successful", "analysis two is Failed: bad",
    ]  # fmt: skip


def test_a_deadline_and_a_bad_spec() -> None:
    timed_out = [progressing("ProgressDeadlineExceeded", "too slow")]
    invalid = [{"type": "InvalidSpec", "status": "True", "reason": "InvalidSpec", "message": "no"}]
    told = walk(
        REST, a_look(version=2), a_look(version=3, conditions=timed_out),
        a_look(version=4, conditions=timed_out), a_look(version=5, conditions=invalid),
    )  # fmt: skip
    assert names(told) == ["started", "degraded", "invalid"]


def _statuses() -> st.SearchStrategy[Look]:
    return st.builds(
        a_look,
        current=st.sampled_from(["a", "b", "c"]),
        stable=st.sampled_from(["a", "b"]),
        revision=st.sampled_from(["2", "3"]),
        weight=st.sampled_from([None, 0, 20, 60]),
        currentStepIndex=st.sampled_from([None, 0, 1, 2, 4, 9]),
        currentStepHash=st.sampled_from(["s", "t"]),
        abort=st.booleans(),
        promoteFull=st.booleans(),
        paused=st.sampled_from([None, True]),
        conditions=st.sampled_from(
            [[], [progressing("RolloutAborted", "x: y")], [_spec_paused("2026-05-01T11:00:00Z")]]
        ),
        runs=st.sampled_from(
            [(), (a_run("one", "Failed"),), (a_run("two", "Error", current="c"),)]
        ),
    )


@given(st.lists(_statuses(), max_size=8))
def test_any_way_is_told_the_same_with_and_without_restarts_and_nothing_twice(
    looks: list[Look],
) -> None:
    told = walk(*looks, restarts=False)
    assert told == walk(*looks)
    # A version that is seen a second time tells nothing new.
    assert told == walk(*(look for look in looks for _ in range(2)))
    for item in told:
        assert item.announcement.data.name == "web"
        assert all(isinstance(part, str) for part in item.identity)

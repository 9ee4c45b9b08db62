"""The outbox: frozen bytes, stable ids, bounds."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.names import OUTBOX_CONDITION
from agent.engine import outbox
from agent.events.catalogue import Cause, RolloutEvent, Transition
from agent.rollout.types import Announcement

NOW = datetime(2026, 5, 1, 10, 0, 0, 123000, tzinfo=UTC)
STAMP = outbox.Stamp(
    source="serinus/test", uid="uid-1", resource_version="4711", correlation_id="run-1", now=NOW
)


def announcement(transition: Transition = "weight", **data: Any) -> Announcement:
    return Announcement(
        transition=transition, data=RolloutEvent(namespace="shop", name="web", **data)
    )


def freeze(
    *transitions: Transition, version: str = "4711", **data: Any
) -> tuple[outbox.Entry, ...]:
    stamp = msgspec.structs.replace(STAMP, resource_version=version)
    return outbox.freeze([announcement(item, **data) for item in transitions], stamp)


def test_an_entry_is_a_cloud_event_with_its_context() -> None:
    cause = Cause(kind="alert", summary="alert Down", event_id="alert-1")
    (entry,) = freeze("aborted", cause=cause)
    event = msgspec.json.decode(entry.event)
    assert event == {
        "specversion": "1.0",
        "id": entry.id,
        "source": "serinus/test",
        "type": "dev.serinus.rollout.aborted.v1",
        "subject": "shop/web",
        "time": "2026-05-01T10:00:00.123Z",
        "datacontenttype": "application/json",
        "partitionkey": "shop/web",
        "sequence": "00000000000000004711",
        "correlationid": "run-1",
        "causationid": "alert-1",
        "data": {
            "namespace": "shop",
            "name": "web",
            "cause": {"kind": "alert", "summary": "alert Down", "eventId": "alert-1"},
        },
    }


def test_the_cause_of_an_abort_outlives_what_was_announced_of_it() -> None:
    cause = Cause(kind="alert", summary="alert Down", evidence={"labels": {"a": "b"}})
    status = outbox.with_entries({}, freeze("aborted", cause=cause), NOW, cause)
    told = outbox.with_entries(status, (), NOW, outbox.cause_of(status))
    assert (outbox.stored(told), outbox.cause_of(told)) == ((), cause)
    assert outbox.with_entries(told, (), NOW) == {"conditions": []}
    assert outbox.cause_of({}) is None


def test_the_cause_that_is_kept_is_bounded_as_the_announced_one_is() -> None:
    long = Cause(kind="alert", evidence={"a": "x" * 100, "b": "y" * outbox.MAX_EVIDENCE_BYTES})
    status = outbox.with_entries({}, freeze("aborted", cause=long), NOW, long)
    (entry,) = outbox.stored(status)
    kept = outbox.cause_of(status)
    assert kept is not None
    assert kept.evidence == {"truncated": True, "a": "x" * 100}
    assert msgspec.json.decode(entry.event)["data"]["cause"]["evidence"] == kept.evidence


def test_i5_ids_depend_on_what_was_observed_and_on_nothing_else() -> None:
    assert freeze("step", "step") == freeze("step", "step")
    ids = {
        entry.id
        for entries in (freeze("step", "step"), freeze("weight"), freeze("step", version="4712"))
        for entry in entries
    }
    assert len(ids) == 4


def test_the_condition_exists_only_while_entries_wait() -> None:
    other = {"type": "Progressing", "status": "True"}
    status = {"conditions": [other], "phase": "Healthy"}
    waiting = outbox.with_entries(status, freeze("step"), NOW)
    assert [item["type"] for item in waiting["conditions"]] == ["Progressing", OUTBOX_CONDITION]
    assert outbox.stored(waiting) == freeze("step")
    assert outbox.with_entries(waiting, (), NOW) == status
    assert status["conditions"] == [other]


def test_the_condition_keeps_place_and_transition_time() -> None:
    later = datetime(2026, 5, 1, 11, tzinfo=UTC)
    status = outbox.with_entries({}, freeze("step"), NOW)
    status = {"conditions": [*status["conditions"], {"type": "Healthy"}]}
    grown = outbox.with_entries(status, freeze("step", "weight"), later)
    assert [item["type"] for item in grown["conditions"]] == [OUTBOX_CONDITION, "Healthy"]
    assert grown["conditions"][0]["lastTransitionTime"] == "2026-05-01T10:00:00Z"
    assert grown["conditions"][0]["lastUpdateTime"] == "2026-05-01T11:00:00Z"
    assert outbox.with_entries(grown, freeze("step", "weight"), later) is grown


@pytest.mark.parametrize(
    "message",
    ["not json", '{"v":2,"entries":[]}', '{"v":1,"entries":[{"id":"x"}]}'],
    ids=["no JSON", "a newer version", "an entry without its members"],
)
def test_a_content_that_is_not_ours_is_refused(message: str) -> None:
    status = {"conditions": [{"type": OUTBOX_CONDITION, "message": message}]}
    with pytest.raises(ValueError, match=OUTBOX_CONDITION):
        outbox.stored(status)


def test_progress_coalesces_when_room_runs_out_and_the_newest_stays() -> None:
    entries: tuple[outbox.Entry, ...] = freeze("started")
    for version in range(60):
        entries, _ = outbox.add(entries, freeze("weight", version=str(version)))
    assert len(entries) < outbox.MAX_ENTRIES
    assert entries[0].transition == "started"
    assert entries[-1].id == freeze("weight", version="59")[0].id


def test_a_rollback_finds_room_in_a_full_outbox() -> None:
    entries: tuple[outbox.Entry, ...] = ()
    for version in range(60):
        entries, _ = outbox.add(entries, freeze("weight", version=str(version)))
    assert outbox.is_full(entries)
    grown, dropped = outbox.add(entries, freeze("aborted", version="100"))
    assert dropped == 0
    assert grown == (*entries, *freeze("aborted", version="100"))


def test_i4_the_same_id_is_not_added_twice() -> None:
    entries = freeze("step")
    assert outbox.add(entries, freeze("step")) == (entries, 0)


def test_evidence_is_cut_and_says_so() -> None:
    evidence = {f"label{number:03}": "x" * 100 for number in range(200)}
    (entry,) = freeze("aborted", cause=Cause(kind="alert", evidence=evidence))
    kept = msgspec.json.decode(entry.event)["data"]["cause"]["evidence"]
    assert kept["truncated"] is True
    assert 5 < len(kept) < 30
    assert len(msgspec.json.encode(kept)) <= outbox.MAX_EVIDENCE_BYTES


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["started", "step", "weight", "paused", "aborted", "rolledback"]),
            st.text(max_size=6000),
        ),
        max_size=50,
    )
)
def test_the_bounds_hold_and_nothing_about_a_rollback_is_lost(
    added: list[tuple[Transition, str]],
) -> None:
    entries: tuple[outbox.Entry, ...] = ()
    rollbacks = [item for item in added if item[0] in outbox.RESERVED][:3]
    added = [item for item in added if item[0] not in outbox.RESERVED] + rollbacks
    for version, (transition, text) in enumerate(added):
        new = freeze(transition, version=str(version), message=text)
        entries, _ = outbox.add(entries, new)
        assert entries[-1] == new[0]
        assert len(entries) <= outbox.MAX_ENTRIES
        assert len(outbox.encode(entries)) <= outbox.MAX_BYTES
    kept = [entry.transition for entry in entries if entry.transition in outbox.RESERVED]
    assert kept == [transition for transition, _ in rollbacks]


def test_confirmed_entries_leave_and_the_others_stay() -> None:
    first, second = freeze("step", "weight")
    assert outbox.without((first, second), frozenset({first.id})) == (second,)


def test_a_run_has_one_correlation_and_a_retry_another() -> None:
    def rollout(started: str, pod_hash: str = "abc") -> dict[str, Any]:
        status = {"currentPodHash": pod_hash, "duration": {"rolloutStartedAt": started}}
        return {"metadata": {"uid": "u"}, "status": status}

    ids = {
        outbox.correlation_id(rollout(started, pod_hash))
        for started in ("t1", "t2")
        for pod_hash in ("a", "b")
    }
    assert len(ids) == 4
    assert outbox.correlation_id(rollout("t1")) == outbox.correlation_id(rollout("t1"))

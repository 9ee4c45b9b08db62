"""Ephemeral pod metadata."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.rollout import PodMetadata
from agent.rollout.pod_metadata import record, sync

CANARY = PodMetadata(labels={"role": "canary"}, annotations={"note": "a<b"})
STABLE = PodMetadata(labels={"role": "stable"})


def test_roles_are_swapped_and_others_stay() -> None:
    first = sync({"app": "web"}, {"mesh": "on"}, None, CANARY)
    assert first.modified
    assert first.labels == {"app": "web", "role": "canary"}
    assert first.annotations == {"mesh": "on", "note": "a<b"}
    assert first.recorded == ('{"labels":{"role":"canary"},"annotations":{"note":"a\\u003cb"}}')
    second = sync(first.labels, first.annotations, first.recorded, STABLE)
    assert second.labels == {"app": "web", "role": "stable"}
    assert second.annotations == {"mesh": "on"}
    assert second.recorded == '{"labels":{"role":"stable"}}'
    third = sync(second.labels, second.annotations, second.recorded, None)
    assert third == (True, {"app": "web"}, {"mesh": "on"}, None)


def test_what_is_there_changes_nothing() -> None:
    recorded = record(STABLE)
    assert sync({"role": "stable"}, None, recorded, STABLE) == (
        False,
        {"role": "stable"},
        {},
        recorded,
    )


@pytest.mark.parametrize("recorded", ["", "null", "{", "[]", '{"labels": 5}', '"text"'])
def test_a_record_that_cannot_be_read_takes_nothing_out(recorded: str) -> None:
    assert sync({"role": "x"}, {}, recorded, None) == (False, {"role": "x"}, {}, recorded)


names = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)


@given(names, names, names)
def test_taking_out_what_was_put_in_leaves_the_rest(
    own: dict[str, str], first: dict[str, str], second: dict[str, str]
) -> None:
    put = sync(own, {}, None, PodMetadata(labels=first))
    swapped = sync(
        put.labels, {}, put.recorded if put.modified else None, PodMetadata(labels=second)
    )
    gone = sync(swapped.labels, {}, swapped.recorded, None)
    assert {key: own[key] for key in own if key not in {*first, *second}} == {
        key: gone.labels[key] for key in gone.labels if key not in {*first, *second}
    }
    if put.modified and swapped.modified:
        assert not gone.labels.keys() & second.keys()

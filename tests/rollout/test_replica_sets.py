"""Reading ReplicaSets."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rollout.replica_sets import ReplicaSetView, available, by_hash, view, wanted


def test_everything_is_read() -> None:
    obj = {
        "metadata": {
            "name": "web-abc",
            "creationTimestamp": "2024-05-01T10:00:00Z",
            "labels": {"rollouts-pod-template-hash": "abc", "app": "web"},
            "annotations": {
                "rollout.argoproj.io/revision": "12",
                "scale-down-deadline": "2024-05-01T12:00:30+02:00",
            },
        },
        "spec": {
            "replicas": 4,
            "template": {"spec": {"containers": [{"image": "web:2"}, {"name": "x"}]}},
        },
        "status": {"replicas": 5, "readyReplicas": 3, "availableReplicas": 2},
    }
    item = view(obj)
    assert (item.name, item.hash, item.revision) == ("web-abc", "abc", 12)
    assert (item.replicas, item.status_replicas, item.ready, item.available) == (4, 5, 3, 2)
    assert item.created == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert item.scale_down_deadline == datetime(2024, 5, 1, 10, 0, 30, tzinfo=UTC)
    assert item.images == ("web:2", "")
    assert item.labels["app"] == "web"
    assert item.raw is obj


@pytest.mark.parametrize("obj", [{}, {"metadata": None, "spec": None, "status": None}])
def test_an_empty_one_wants_one_pod(obj: dict[str, None]) -> None:
    item = view(obj)
    assert (item.replicas, item.status_replicas, item.available, item.revision) == (1, 0, 0, 0)
    assert item.created is None
    assert item.images == ()


def test_no_pods_wanted_is_not_one() -> None:
    assert view({"spec": {"replicas": 0}}).replicas == 0


@given(st.text(), st.text())
def test_unreadable_annotations_count_as_absent(revision: str, deadline: str) -> None:
    annotations = {"rollout.argoproj.io/revision": revision, "scale-down-deadline": deadline}
    item = view({"metadata": {"annotations": annotations}})
    assert item.revision >= 0


def test_sums_and_search() -> None:
    one = ReplicaSetView(name="a", hash="a", replicas=2, available=1)
    two = ReplicaSetView(name="b", hash="b", replicas=3, available=3)
    assert (wanted([one, two]), available([one, two])) == (5, 4)
    assert by_hash([one, two], "b") is two
    assert by_hash([one, two], "c") is None
    assert by_hash([ReplicaSetView(name="c")], "") is None
    assert two.is_available
    assert not one.is_available
    assert not ReplicaSetView(name="c", replicas=0).is_available

"""One move of a basic canary: never too many pods, never too few available; and when a step is done."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.decode import read
from agent.api.rollout import Rollout, TrafficWeights
from agent.rollout import replicas, sizing
from agent.rollout.replica_sets import ReplicaSetView


def rollout_of(total: int, weight: int, surge: int, unavailable: int, **status: Any) -> Rollout:
    canary = {"steps": [{"setWeight": weight}], "maxSurge": surge, "maxUnavailable": unavailable}
    state = {"stableRS": "old", "currentPodHash": "new", **status}
    return read(
        Rollout, {"spec": {"replicas": total, "strategy": {"canary": canary}}, "status": state}
    )


def pods(name: str, wanted: int, available: int, there: int | None = None) -> ReplicaSetView:
    count = wanted if there is None else there
    return ReplicaSetView(
        name=name, hash=name, replicas=wanted, available=available, status_replicas=count
    )


@pytest.mark.parametrize(
    ("new", "old", "others", "limits", "expected"),
    [
        pytest.param((0, 0), (10, 10), 0, (1, 0), (1, 10), id="the canary first takes the surge"),
        pytest.param((1, 1), (10, 10), 0, (1, 0), (1, 9), id="then stable makes room"),
        pytest.param((1, 1), (9, 9), 0, (1, 0), (2, 9), id="and so on"),
        pytest.param((1, 0), (10, 10), 0, (1, 0), (1, 10), id="an unready canary takes nothing from stable"),
        pytest.param((0, 0), (10, 10), 0, (0, 3), (0, 7), id="without surge stable goes first"),
        pytest.param((5, 5), (3, 3), 3, (1, 1), (5, 3), id="older pods hold everything back"),
        pytest.param((8, 8), (2, 2), 0, (1, 0), (8, 3), id="going down, stable grows first"),
    ],
)  # fmt: skip
def test_one_move(
    new: tuple[int, int],
    old: tuple[int, int],
    others: int,
    limits: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    rollout = rollout_of(10, 50, *limits)
    older = [pods("older", others, others)]
    assert sizing.basic_sizes(rollout, pods("new", *new), pods("old", *old), older) == expected


def test_without_another_stable_the_canary_gets_everything() -> None:
    rollout = rollout_of(4, 25, 1, 0)
    new = pods("new", 1, 1)
    assert sizing.basic_sizes(rollout, new, None, []) == (4, 0)
    assert sizing.basic_sizes(rollout, new, new, []) == (4, 0)
    assert sizing.basic_sizes(rollout, pods("new", 6, 6), None, []) == (4, 0)


counts = st.integers(0, 12)
state = st.fixed_dictionaries(
    {
        "total": st.integers(1, 10),
        "weight": st.integers(0, 100),
        "surge": st.integers(0, 4),
        "unavailable": st.integers(0, 4),
        "new": st.tuples(counts, counts),
        "old": st.tuples(counts, counts),
        "older": st.integers(0, 3),
        "abort": st.booleans(),
    }
)


def two_revisions(case: dict[str, Any]) -> dict[str, Any]:
    """The same without older pods, and with no more available than wanted."""
    wanted = {name: tuple(sorted(case[name], reverse=True)) for name in ("new", "old")}
    return {**case, **wanted, "older": 0}


alone = state.map(two_revisions)


def move(case: dict[str, Any]) -> tuple[Rollout, ReplicaSetView, ReplicaSetView, tuple[int, int]]:
    rollout = rollout_of(
        case["total"], case["weight"], case["surge"], case["unavailable"], abort=case["abort"]
    )
    new, old = (pods(name, *case[name]) for name in ("new", "old"))
    older = [pods("older", case["older"], case["older"])]
    return rollout, new, old, sizing.basic_sizes(rollout, new, old, older)


@given(state)
def test_a_move_never_exceeds_surge(case: dict[str, Any]) -> None:
    rollout, new, old, sizes = move(case)
    most = case["total"] + replicas.max_surge(rollout)
    before = new.replicas + old.replicas + case["older"]
    assert sum(sizes) + case["older"] <= max(most, before)


@given(alone)
def test_a_move_never_takes_available_pods_below_the_limit(case: dict[str, Any]) -> None:
    rollout, new, old, sizes = move(case)
    floor = case["total"] - replicas.max_unavailable(rollout)
    # Kubernetes takes unready pods away first, so that what is left is available as far as it was.
    after = min(sizes[0], new.available) + min(sizes[1], old.available)
    before = new.available + old.available
    growing = sizes[0] >= new.replicas
    # The pods of the side that gives way are not waited for when they are unready: that would never end.
    ignored = (old.replicas - old.available) if growing else (new.replicas - new.available)
    assert after >= min(floor, before) - ignored


@given(alone)
def test_moves_come_to_an_end_at_the_ideal_sizes(case: dict[str, Any]) -> None:
    rollout = rollout_of(case["total"], case["weight"], case["surge"], case["unavailable"])
    new, old = pods("new", case["new"][0], case["new"][0]), pods("old", *(case["old"][0],) * 2)
    for _ in range(60):
        sizes = sizing.basic_sizes(rollout, new, old, [])
        if (new.replicas, old.replicas) == sizes:
            break
        new, old = pods("new", *(sizes.canary,) * 2), pods("old", *(sizes.stable,) * 2)
    goal = replicas.ideal_sizes(case["total"], case["weight"], 100, replicas.max_surge(rollout))
    assert (new.replicas, old.replicas) == goal
    assert sizing.at_desired(rollout, new, old, [], None)


def routed(**fields: Any) -> Rollout:
    canary = {"steps": [{"setWeight": 50}], "trafficRouting": {}, **fields}
    status = {"stableRS": "old", "currentPodHash": "new"}
    spec = {"replicas": 4, "strategy": {"canary": canary}}
    return read(Rollout, {"spec": spec, "status": status})


@pytest.mark.parametrize(
    ("rollout", "new", "old", "older", "done"),
    [
        pytest.param(routed(), pods("new", 2, 2), pods("old", 4, 0), 1, True, id="stable needs its pods, not their readiness; older ones get no traffic"),
        pytest.param(routed(), pods("new", 2, 1), pods("old", 4, 4), 0, False, id="the canary must be ready"),
        pytest.param(routed(), pods("new", 2, 2), pods("old", 4, 4, there=3), 0, False, id="stable misses a pod"),
        pytest.param(routed(), pods("new", 2, 2), None, 0, False, id="there is no stable"),
        pytest.param(routed(), None, pods("old", 4, 4), 0, False, id="there is no canary"),
        pytest.param(routed(dynamicStableScale=True), pods("new", 2, 2), pods("old", 9, 0, there=1), 0, True, id="a dynamic stable is not looked at"),
        pytest.param(routed(replicaProgressThreshold={"type": "Pods", "value": 1}), pods("new", 2, 1), pods("old", 4, 4), 0, True, id="a threshold is enough"),
        pytest.param(rollout_of(4, 50, 1, 0), pods("new", 2, 2), pods("old", 2, 2), 1, False, id="without a router older pods get traffic"),
    ],
)  # fmt: skip
def test_at_desired(
    rollout: Rollout,
    new: ReplicaSetView | None,
    old: ReplicaSetView | None,
    older: int,
    done: bool,
) -> None:
    weights = read(TrafficWeights, {"canary": {"weight": 50}, "stable": {"weight": 50}})
    others = [pods("older", 0, older)]
    assert sizing.at_desired(rollout, new, old, others, weights) is done

"""Counts of pods: limits, weights, ideal and routed sizes, thresholds, previews."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.decode import read
from agent.api.rollout import ReplicaProgressThreshold, Rollout, TrafficWeights
from agent.rollout import replicas
from agent.rollout.replica_sets import ReplicaSetView
from agent.rollout.replicas import CanarySize, Sizes, int_or_percent


def canary(status: dict[str, Any] | None = None, replicas: int = 10, **fields: Any) -> Rollout:
    spec = {"replicas": replicas, "strategy": {"canary": fields}}
    state = {"stableRS": "old", "currentPodHash": "new", **(status or {})}
    return read(Rollout, {"spec": spec, "status": state})


def pods(name: str, wanted: int, available: int | None = None, **fields: Any) -> ReplicaSetView:
    ready = wanted if available is None else available
    return ReplicaSetView(name=name, hash=name, replicas=wanted, available=ready, **fields)


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [(4, 10, 4, 4), ("10%", 15, 2, 1), ("10", 15, 2, 1), ("0%", 9, 0, 0), ("-10%", 15, -1, -2), ("150%", 3, 5, 4)],
)  # fmt: skip
def test_int_or_percent(value: int | str, total: int, up: int, down: int) -> None:
    assert int_or_percent(value, total, round_up=True) == up
    assert int_or_percent(value, total, round_up=False) == down


@pytest.mark.parametrize("value", ["", "%", "ten", "1.5%", "1_0%", " 5%"])
def test_texts_that_are_no_percentage_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="invalid value"):
        int_or_percent(value, 10, round_up=True)


@given(st.integers(0, 300), st.integers(0, 10_000))
def test_percentages_enclose_the_exact_share(percent: int, total: int) -> None:
    down = int_or_percent(f"{percent}%", total, round_up=False)
    up = int_or_percent(f"{percent}%", total, round_up=True)
    assert down <= percent * total / 100 <= up <= down + 1


@pytest.mark.parametrize(
    ("rollout", "surge", "unavailable"),
    [
        pytest.param(canary(replicas=8), 2, 2, id="a quarter by default"),
        pytest.param(canary(replicas=2), 1, 0, id="rounded up and down"),
        pytest.param(canary(maxSurge=0, maxUnavailable="5%"), 0, 1, id="both zero leave one unavailable"),
        pytest.param(canary(maxSurge="x", maxUnavailable=3), 0, 0, id="an unreadable limit counts as zero"),
        pytest.param(canary(maxUnavailable=99), 3, 10, id="no more unavailable than there are"),
        pytest.param(canary(replicas=0, maxSurge=2), 2, 0, id="no pods"),
    ],
)  # fmt: skip
def test_limits_of_a_canary(rollout: Rollout, surge: int, unavailable: int) -> None:
    assert replicas.max_surge(rollout) == surge
    assert replicas.max_unavailable(rollout) == unavailable


STEPS = [{"pause": {}}, {"setWeight": 10}, {"pause": {}}, {"setWeight": 40}]


@pytest.mark.parametrize(
    ("status", "weight"),
    [
        pytest.param({}, 0, id="before the first setWeight"),
        pytest.param({"currentStepIndex": 2}, 10, id="the last one passed"),
        pytest.param({"currentStepIndex": 3}, 40, id="at its step"),
        pytest.param({"currentStepIndex": 4}, 100, id="behind the steps"),
        pytest.param({"currentStepIndex": 3, "abort": True}, 0, id="aborted"),
    ],
)
def test_current_set_weight(status: dict[str, Any], weight: int) -> None:
    assert replicas.current_set_weight(canary(status, steps=STEPS)) == weight


SCALES = [{"setCanaryScale": {"weight": 30}}, {"setWeight": 5}, {"setCanaryScale": {"replicas": 2}}, {"setCanaryScale": {"matchTrafficWeight": True}}]  # fmt: skip


@pytest.mark.parametrize(
    ("rollout", "size"),
    [
        pytest.param(canary(steps=SCALES, trafficRouting={}), CanarySize(None, 30), id="by weight"),
        pytest.param(canary({"currentStepIndex": 1}, steps=SCALES, trafficRouting={}), CanarySize(None, 30), id="until superseded"),
        pytest.param(canary({"currentStepIndex": 2}, steps=SCALES, trafficRouting={}), CanarySize(2, 0), id="by pods"),
        pytest.param(canary({"currentStepIndex": 3}, steps=SCALES, trafficRouting={}), CanarySize(None, 5), id="given up by matchTrafficWeight"),
        pytest.param(canary({"currentStepIndex": 4}, steps=SCALES, trafficRouting={}), CanarySize(None, 100), id="behind the steps"),
        pytest.param(canary({"currentStepIndex": 2}, steps=SCALES), CanarySize(None, 5), id="without a router it does not count"),
        pytest.param(canary({"currentStepIndex": 2, "abort": True}, steps=SCALES, trafficRouting={}), CanarySize(None, 0), id="not after an abort"),
        pytest.param(canary({"currentStepIndex": 2, "abort": True}, steps=SCALES, trafficRouting={}, abortScaleDownDelaySeconds=0), CanarySize(2, 0), id="but when the canary is to stay"),
        pytest.param(canary({"promoteFull": True}, steps=SCALES, trafficRouting={}), CanarySize(None, 100), id="full promotion"),
        pytest.param(canary({"stableRS": ""}, steps=SCALES, trafficRouting={}), CanarySize(None, 100), id="first deploy"),
        pytest.param(canary({"stableRS": "new"}, steps=SCALES, trafficRouting={}), CanarySize(None, 100), id="promoted"),
    ],
)  # fmt: skip
def test_canary_size(rollout: Rollout, size: CanarySize) -> None:
    assert replicas.canary_size(rollout, None, None) == size


@pytest.mark.parametrize(
    ("stable", "canary_pods", "delay", "weight"),
    [
        pytest.param(3, 7, None, 50, id="one setWeight down"),
        pytest.param(5, 7, None, 50, id="the canary's own pods hold the weight up"),
        pytest.param(5, 5, None, 25, id="and the next"),
        pytest.param(8, 2, None, 0, id="below the smallest"),
        pytest.param(5, 7, 60, 25, id="a canary kept for a delay does not hold it up"),
        pytest.param(5, 7, 0, 50, id="one kept for ever does"),
    ],
)
def test_after_an_abort_the_weight_follows_a_growing_stable(
    stable: int, canary_pods: int, delay: int | None, weight: int
) -> None:
    steps = [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"setWeight": 75}]
    fields = {} if delay is None else {"abortScaleDownDelaySeconds": delay}
    rollout = canary(
        {"abort": True}, steps=steps, trafficRouting={}, dynamicStableScale=True, **fields
    )
    sets = pods("new", canary_pods), pods("old", 10, stable)
    assert replicas.canary_target_weight(rollout, *sets) == weight


@given(st.integers(1, 200), st.integers(0, 100), st.integers(0, 3))
def test_ideal_sizes_are_near_the_weight_and_add_up(total: int, weight: int, surge: int) -> None:
    sizes = replicas.ideal_sizes(total, weight, 100, surge)
    assert sizes.canary >= 0
    assert sizes.stable >= 0
    assert sum(sizes) in ({total, total + 1} if surge else {total})
    if sizes == (0, total) and _leaves_the_canary_out(total, weight, surge):
        return
    # Two options lie a pod apart, so that the better is within one pod of the wish (two with few pods,
    # where neither side may be left out).
    assert abs(sizes.canary - sum(sizes) * weight / 100) <= 2
    if weight == 0:
        assert sizes.canary == 0
    if weight == 100:
        assert sizes.stable == 0


def _leaves_the_canary_out(total: int, weight: int, surge: int) -> bool:
    """Whether the larger canary would take all pods, and the smaller one loses the tie to it: then neither counts."""
    return surge == 0 and total > 1 and 2 * total * weight == (2 * total - 1) * 100


@pytest.mark.parametrize(("total", "weight"), [(2, 75), (5, 90), (10, 95), (25, 98), (50, 99)])
def test_without_surge_argo_leaves_the_canary_out_at_a_tied_weight(total: int, weight: int) -> None:
    """Case ideal-r10-w95-of-100-surge0 of the vectors; there are no others of up to 200 pods."""
    assert replicas.ideal_sizes(total, weight, 100, 0) == (0, total)


@given(st.integers(2, 100), st.integers(1, 99))
def test_with_surge_neither_side_is_left_out(total: int, weight: int) -> None:
    sizes = replicas.ideal_sizes(total, weight, 100, 1)
    assert min(sizes) >= 1


def routed(recorded: tuple[int, int] | None, status: dict[str, Any], **fields: Any) -> Sizes:
    weights = None
    if recorded is not None:
        parts = {"canary": {"weight": recorded[0]}, "stable": {"weight": recorded[1]}}
        weights = read(TrafficWeights, parts)
    return replicas.routed_sizes(canary(status, trafficRouting={}, **fields), None, None, weights)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param(routed(None, {}, steps=[{"setWeight": 31}]), (4, 10), id="rounded up, stable stays whole"),
        pytest.param(routed((0, 100), {}, steps=[{"setWeight": 70}], dynamicStableScale=True), (7, 10), id="stable waits for traffic to leave"),
        pytest.param(routed((70, 30), {}, steps=[{"setWeight": 70}], dynamicStableScale=True), (7, 3), id="and follows then"),
        pytest.param(routed((70, 30), {}, steps=[{"setWeight": 20}], dynamicStableScale=True), (2, 8), id="stable grows ahead of its traffic"),
        pytest.param(routed((70, 30), {"abort": True}, steps=[{"setWeight": 70}], dynamicStableScale=True), (7, 10), id="the canary keeps what traffic it still has after an abort"),
        pytest.param(routed(None, {}, steps=[{"setWeight": 1}], minPodsPerReplicaSet=3), (3, 10), id="at least the minimum"),
        pytest.param(routed(None, {}, steps=[{"setWeight": 1}], minPodsPerReplicaSet=30), (10, 10), id="which is no more than all"),
        pytest.param(routed(None, {}, steps=[{"setWeight": 0}], minPodsPerReplicaSet=3), (0, 10), id="none stays none"),
    ],
)  # fmt: skip
def test_routed_sizes(sizes: Sizes, expected: tuple[int, int]) -> None:
    assert sizes == expected


@given(
    total=st.integers(0, 50),
    weight=st.integers(0, 100),
    recorded=st.integers(0, 100),
    abort=st.booleans(),
)
def test_no_version_gets_fewer_pods_than_its_recorded_traffic_needs(
    total: int, weight: int, recorded: int, abort: bool
) -> None:
    rollout = canary(
        {"abort": abort},
        replicas=total,
        steps=[{"setWeight": weight}],
        trafficRouting={},
        dynamicStableScale=True,
    )
    parts = {"canary": {"weight": recorded}, "stable": {"weight": 100 - recorded}}
    sizes = replicas.routed_sizes(rollout, None, None, read(TrafficWeights, parts))
    assert sizes.stable >= math.ceil(total * (100 - recorded) / 100)
    if abort:
        assert sizes.canary >= math.ceil(total * recorded / 100)


@pytest.mark.parametrize(
    ("type_", "value", "wanted", "available", "met"),
    [
        pytest.param("Percent", 50, 4, 2, True, id="half"),
        pytest.param("Percent", 51, 4, 2, False, id="less than asked"),
        pytest.param("Percent", 10, 0, 0, True, id="nothing desired"),
        pytest.param("Pods", 2, 4, 2, True, id="pods"),
        pytest.param("Pods", 3, 4, 2, False, id="too few pods"),
        pytest.param("Percent", -1, 4, 2, False, id="a negative threshold asks for all"),
    ],
)
def test_threshold(type_: str, value: int, wanted: int, available: int, met: bool) -> None:
    threshold = ReplicaProgressThreshold(type=type_, value=value)
    assert replicas.threshold_met(threshold, pods("new", wanted, available), wanted) is met


def test_without_a_replica_set_no_threshold_is_met() -> None:
    assert not replicas.threshold_met(None, None, 0)


@pytest.mark.parametrize(
    ("status", "size"),
    [
        pytest.param({"currentPodHash": "new", "blueGreen": {"activeSelector": "old"}}, 2, id="before promotion"),
        pytest.param({"currentPodHash": "new", "blueGreen": {"activeSelector": "new"}}, 6, id="promoted"),
        pytest.param({"currentPodHash": "new", "blueGreen": {"activeSelector": "gone"}}, 6, id="no active version"),
        pytest.param({"currentPodHash": "new", "promoteFull": True, "blueGreen": {"activeSelector": "old"}}, 6, id="full promotion"),
        pytest.param({"currentPodHash": "new", "blueGreen": {"activeSelector": "old", "scaleUpPreviewCheckPoint": True}}, 6, id="resumed"),
        pytest.param({"currentPodHash": "old", "blueGreen": {"activeSelector": "old", "scaleUpPreviewCheckPoint": True}}, 2, id="a newer version starts again"),
        pytest.param({"currentPodHash": "new", "pauseConditions": [{"reason": "BlueGreenPause", "startTime": "2024-05-01T10:00:00Z"}], "blueGreen": {"activeSelector": "old", "scaleUpPreviewCheckPoint": True}}, 2, id="still paused"),
    ],
)  # fmt: skip
def test_preview_size(status: dict[str, Any], size: int) -> None:
    spec = {"replicas": 6, "strategy": {"blueGreen": {"previewReplicaCount": 2}}}
    rollout = read(Rollout, {"spec": spec, "status": status})
    new = pods("new", 1)
    assert replicas.preview_size(rollout, new, [new, pods("old", 6)]) == size


def test_without_a_preview_count_the_preview_is_whole() -> None:
    rollout = read(Rollout, {"spec": {"replicas": 6, "strategy": {"blueGreen": {}}}})
    assert replicas.preview_size(rollout, pods("new", 0), []) == 6

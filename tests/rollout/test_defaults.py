"""Settings in force when the spec leaves them out."""

from typing import Any

import pytest

from agent.api.decode import read
from agent.api.rollout import Rollout
from agent.rollout import defaults


def rollout(strategy: dict[str, Any], **spec: Any) -> Rollout:
    return read(Rollout, {"spec": {"strategy": strategy, **spec}})


ROUTED: dict[str, Any] = {"canary": {"trafficRouting": {}}}


def routed(**fields: Any) -> Rollout:
    return rollout({"canary": {"trafficRouting": {}, **fields}})


@pytest.mark.parametrize(
    ("given", "delay", "abort_delay", "explicit"),
    [
        pytest.param(rollout({"canary": {}}), 0, 0, False, id="a canary without a router has no delays"),
        pytest.param(rollout({"canary": {"abortScaleDownDelaySeconds": 5, "scaleDownDelaySeconds": 6}}), 0, 0, False, id="not even when they are given"),
        pytest.param(routed(), 30, 30, False, id="thirty seconds"),
        pytest.param(routed(scaleDownDelaySeconds=7, abortScaleDownDelaySeconds=8), 7, 8, True, id="as given"),
        pytest.param(routed(scaleDownDelaySeconds=0, abortScaleDownDelaySeconds=0), 0, None, True, id="zero after an abort is never"),
        pytest.param(rollout({"blueGreen": {}}), 30, 30, False, id="blue-green, by default"),
        pytest.param(rollout({"blueGreen": {"abortScaleDownDelaySeconds": 9}, **ROUTED}), 30, 9, True, id="blue-green wins over canary"),
    ],
)  # fmt: skip
def test_scale_down_delays(
    given: Rollout, delay: int, abort_delay: int | None, explicit: bool
) -> None:
    assert defaults.scale_down_delay_seconds(given) == delay
    assert defaults.abort_scale_down_delay_seconds(given) == abort_delay
    assert defaults.abort_scale_down_delay_is_explicit(given) is explicit


def test_nothing_given() -> None:
    empty = Rollout()
    assert defaults.replicas(empty) == 1
    assert defaults.revision_history_limit(empty) == 10
    assert defaults.progress_deadline_seconds(empty) == 600
    assert defaults.run_history_limits(empty) == (5, 5)
    assert defaults.max_surge(empty) == defaults.max_unavailable(empty) == "25%"
    assert defaults.max_traffic_weight(empty) == 100
    assert defaults.auto_promotion_enabled(empty)
    assert not defaults.is_routed(empty)


def test_zero_is_a_setting() -> None:
    analysis = {"successfulRunHistoryLimit": 0}
    zero = rollout(
        {"canary": {"maxSurge": 0, "maxUnavailable": 0}},
        replicas=0,
        revisionHistoryLimit=0,
        progressDeadlineSeconds=0,
        analysis=analysis,
    )
    assert defaults.replicas(zero) == 0
    assert defaults.revision_history_limit(zero) == 0
    assert defaults.progress_deadline_seconds(zero) == 0
    assert defaults.run_history_limits(zero) == (0, 5)
    assert defaults.max_surge(zero) == defaults.max_unavailable(zero) == 0


def test_settings_of_either_strategy() -> None:
    assert defaults.max_traffic_weight(routed(trafficRouting={"maxTrafficWeight": 1000})) == 1000
    blue_green = rollout({"blueGreen": {"maxUnavailable": 3, "autoPromotionEnabled": False}})
    assert defaults.max_unavailable(blue_green) == 3
    assert not defaults.auto_promotion_enabled(blue_green)

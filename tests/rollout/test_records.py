"""Names of notification triggers."""

import pytest

from agent.rollout.records import notification_trigger


@pytest.mark.parametrize(
    ("reason", "trigger"),
    [
        ("RolloutCompleted", "on-rollout-completed"),
        ("RolloutStepCompleted", "on-rollout-step-completed"),
        ("TrafficWeightUpdated", "on-traffic-weight-updated"),
        ("Paused", "on-paused"),
        ("HTTPRouteNotFound", "on-http-route-not-found"),
        ("Step2Done", "on-step2-done"),
        ("already-kebab", "on-already-kebab"),
        ("", "on-"),
    ],
)
def test_notification_trigger(reason: str, trigger: str) -> None:
    assert notification_trigger(reason) == trigger

"""Suite notification-triggers: the trigger's name for an event's reason."""

from typing import Any

from agent.rollout.records import notification_trigger
from tests.conformance.compare import differences


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return differences(expect, {"trigger": notification_trigger(given["reason"])})
